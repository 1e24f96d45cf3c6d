//! Advice for fields of a plan that are missing, or whose values are of another type.

use super::error::PlanError;
use super::kind::FileKind;
use serde_json::Value;

/// A field that files must have.
struct Field {
    /// The table that it belongs to, `tensors` for the line of each tensor; nothing for the top of the file.
    table: &'static str,
    name: &'static str,
    /// Its text.
    meaning: &'static str,
    /// A value, as TOML and JSON write it; nothing for a table.
    example: &'static str,
}

const fn field(table: &'static str, name: &'static str, meaning: &'static str, example: &'static str) -> Field {
    Field { table, name, meaning, example }
}

const FIELDS: [Field; 26] = [
    field("", "version", "the version of the file's layout", "1"),
    field("", "network", "the network's name", r#""squeezenet""#),
    field("", "method", "how formats are chosen", r#""demote""#),
    field("", "batch", "the examples per step", "128"),
    field("", "low_ratio", "the least share of low elements, 0 to 1", "0.5"),
    field("", "seed", "the seed of random choices", "0"),
    field("", "high", "the format of high tensors", r#""1-6-9""#),
    field("", "low_forward", "the format of low parameters and outputs", r#""1-4-3""#),
    field("", "low_backward", "the format of low gradients of outputs", r#""1-5-2""#),
    field("", "low_parameter_gradient", "the format of low gradients of parameters", r#""1-6-9""#),
    field("", "tensors", "the table of formats, with a line per tensor, as `bitbudget assign -o` writes it", ""),
    field("budget", "limit", "the largest peak memory", r#""40%""#),
    field("budget", "formats", "the formats of parameters and outputs", r#"["fp32", "1-4-3"]"#),
    field("budget", "backward_formats", "the formats of gradients", r#"["fp32", "1-5-2"]"#),
    field("budget", "may_recompute", "whether tensors may be recomputed", "true"),
    field("budget", "granularity", "the unit of choice", r#""tensor""#),
    field("budget", "time_weight", "the cost of a percent of a step's time", "1.0"),
    field("budget", "solver", "the solver", r#""embedded""#),
    field("budget", "solve_seconds", "the seconds of the search", "10.0"),
    field("optimizer", "rule", "the update rule", r#""sgd""#),
    field("optimizer", "momentum", "the momentum of sgd", "0.9"),
    field("optimizer", "weight_decay", "the weight decay", "0.0005"),
    field("tensors", "operator", "the operator that computes it", r#""conv""#),
    field("tensors", "shape", "its shape", r#""[N,12]""#),
    field("tensors", "forward", "its format", r#""fp32""#),
    field("tensors", "backward", "the format of its gradient", r#""fp32""#),
];

/// An error that names the field, its table, and what to write, if `message` is that of a missing field in `text`, or of a value
/// of another type.
pub(super) fn explained(message: &str, text: &str, kind: FileKind) -> Option<PlanError> {
    let file = value(text, kind)?;
    match message.split_once("missing field `").and_then(|(_, rest)| rest.split_once('`')) {
        Some((name, _)) => {
            FIELDS.iter().filter(|field| field.name == name).find_map(|field| field.missing(&file, kind))
        }
        None if message.contains("invalid type") => {
            FIELDS.iter().filter(|field| field.table != "tensors").find_map(|field| field.mistyped(&file, kind))
        }
        None => None,
    }
}

/// A file's data, whatever they mean.
fn value(text: &str, kind: FileKind) -> Option<Value> {
    match kind {
        FileKind::Toml => toml::from_str(text).ok(),
        FileKind::Json => serde_json::from_str(text).ok(),
    }
}

/// The type of a value, as users call it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

impl Field {
    /// The error if a file lacks the field.
    fn missing(&self, file: &Value, kind: FileKind) -> Option<PlanError> {
        let lacks = |table: &Value| table.get(self.name).is_none();
        let Field { table, name, .. } = self;
        let (place, place_in_words) = match *table {
            "" => lacks(file).then(|| (format!("`{name}`"), "at the top of the file".to_string())),
            "tensors" => {
                let (tensor, _) = file.get("tensors")?.as_object()?.iter().find(|(_, row)| lacks(row))?;
                let place = (format!("tensor `{tensor}`"), format!("in the line of tensor `{tensor}` under [tensors]"));
                Some(place)
            }
            table => lacks(file.get(table)?).then(|| (format!("`{table}.{name}`"), format!("under [{table}]"))),
        }?;
        let reason = format!("the field `{name}` is missing {place_in_words}");
        Some(PlanError::Field { place, reason, help: self.help(kind) })
    }

    /// The error if a file has the field, outside of the lines of tensors, with a value of another type.
    fn mistyped(&self, file: &Value, kind: FileKind) -> Option<PlanError> {
        let Field { table, name, example, .. } = self;
        let (found, place, under) = match *table {
            "" => (file.get(name)?, format!("`{name}`"), String::new()),
            table => (file.get(table)?.get(name)?, format!("`{table}.{name}`"), format!(" under [{table}]")),
        };
        let (is, expected) = (type_of(found), type_of(&serde_json::from_str(example).ok()?));
        let reason = format!("`{name}`{under} is {is}, not {expected}");
        (is != expected).then(|| PlanError::Field { place, reason, help: self.help(kind) })
    }

    /// What to write.
    fn help(&self, kind: FileKind) -> String {
        let Field { name, meaning, example, .. } = self;
        match kind {
            _ if example.is_empty() => format!("write {meaning}"),
            FileKind::Toml => format!("write {meaning}, as in `{name} = {example}`"),
            FileKind::Json => format!("write {meaning}, as in `\"{name}\": {example}`"),
        }
    }
}
