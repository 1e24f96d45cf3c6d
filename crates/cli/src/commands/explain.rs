//! `bitbudget explain`.

use crate::args::ExplainArgs;
use crate::files::check;
use crate::model::{Request, compiled};
use crate::output::{bytes, json, print, say, show_table, small, table};
use crate::report::{Inputs, quoted};
use crate::threads::{settle, threads};
use anyhow::{Result, bail};
use bitbudget::{Explained, Firing, Priced, Storing, TensorExplained, explain};
use comfy_table::Table;
use serde::Serialize;

/// The effect of rewriting.
#[derive(Serialize)]
struct Record {
    peak: usize,
    peak_without_rewriting: usize,
    /// Estimated from work and bytes that are touched.
    step_seconds: f64,
    step_seconds_without_rewriting: f64,
    rules: Vec<RuleRecord>,
    /// Rules that change rounding, where they are not allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_allowed: Vec<&'static str>,
    /// Tensors that are stored nowhere.
    computed_in_passing: RuleRecord,
    tensors: Vec<TensorRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
struct RuleRecord {
    rule: &'static str,
    fired: usize,
    saved_bytes: i64,
    saved_seconds: f64,
    nodes: Vec<String>,
}

#[derive(Serialize)]
struct TensorRecord {
    name: String,
    kind: &'static str,
    shape: String,
    format: String,
    /// Bytes in the format that it has.
    bytes: u64,
    storage: Storage,
    /// The steps that compute it in passing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    computed_by: Vec<String>,
    choices: Vec<ChoiceRecord>,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Storage {
    Kept,
    Recomputed,
    ComputedInPassing,
}

#[derive(Serialize)]
struct ChoiceRecord {
    format: String,
    recomputed: bool,
    /// Whether a rectifier's gradient reads its input, which has another format than its output.
    from_input: bool,
    cost: f64,
    memory: f64,
    chosen: bool,
}

pub(crate) fn run(args: &ExplainArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let machine = args.machine.machine().unwrap_or_default();
    let threads = threads(args.machine.threads);
    let request = Request { quiet: args.quiet, threads, machine, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let threads = settle(args.machine, &mut compiled, args.quiet)?;
    let explained = explain(&compiled, threads)?;
    let mut record = record(&explained);
    if let Some(name) = &args.tensor {
        record.tensors.retain(|tensor| tensor.name == *name);
        if record.tensors.is_empty() {
            let model = quoted(&args.model.to_string_lossy());
            bail!("there is no tensor `{name}`; `bitbudget explain {model} --json -` lists them");
        }
    }
    if let Some(path) = &args.json {
        json(path, &record)?;
    }
    if args.quiet || outputs.on_standard_output {
        return Ok(());
    }
    match &args.tensor {
        Some(_) => record.tensors.iter().try_for_each(tensor),
        None => overview(&record),
    }
}

fn record(explained: &Explained) -> Record {
    let rule = |firing: &Firing| RuleRecord {
        rule: firing.rule,
        fired: firing.fired,
        saved_bytes: firing.bytes,
        saved_seconds: firing.seconds,
        nodes: firing.nodes.clone(),
    };
    let tensor = |tensor: &TensorExplained| TensorRecord {
        name: tensor.name.clone(),
        kind: tensor.kind,
        shape: tensor.shape.clone(),
        format: tensor.format.to_string(),
        bytes: tensor.bytes,
        storage: match tensor.storing {
            Storing::Kept => Storage::Kept,
            Storing::Recomputed => Storage::Recomputed,
            Storing::InPassing => Storage::ComputedInPassing,
        },
        computed_by: tensor.computed_by.clone(),
        choices: tensor.choices.iter().map(choice).collect(),
    };
    Record {
        peak: explained.peak,
        peak_without_rewriting: explained.plain_peak,
        step_seconds: explained.seconds,
        step_seconds_without_rewriting: explained.plain_seconds,
        rules: explained.rules.iter().map(rule).collect(),
        not_allowed: explained.reassociations.clone(),
        computed_in_passing: rule(&explained.derived),
        tensors: explained.tensors.iter().map(tensor).collect(),
        note: explained.note.clone(),
    }
}

fn choice(priced: &Priced) -> ChoiceRecord {
    let Priced { format, again, from_input, cost, memory, chosen } = *priced;
    ChoiceRecord { format: format.to_string(), recomputed: again, from_input, cost, memory, chosen }
}

/// The rules, and what they did.
fn overview(record: &Record) -> Result<()> {
    let ms = |seconds: f64| format!("{:.1} ms", 1000.0 * seconds);
    say(format!(
        "{} at the peak of a training step instead of {}; about {} a step instead of {}, by work and bytes\n",
        bytes(record.peak as f64),
        bytes(record.peak_without_rewriting as f64),
        ms(record.step_seconds),
        ms(record.step_seconds_without_rewriting)
    ))?;
    let mut table = table(&["rule", "fired", "nodes", "saved at the peak", "saved a step"], 1);
    let fired = record.rules.iter().filter(|rule| rule.fired > 0);
    for rule in fired.chain([&record.computed_in_passing]) {
        let saved =
            format!("{}{}", if rule.saved_bytes < 0 { "-" } else { "" }, bytes(rule.saved_bytes.unsigned_abs() as f64));
        let row = [rule.fired.to_string(), rule.nodes.len().to_string(), saved, ms(rule.saved_seconds)];
        table.add_row([rule.rule.to_string()].into_iter().chain(row));
    }
    show_table(table)?;
    let never: Vec<&str> = record.rules.iter().filter(|rule| rule.fired == 0).map(|rule| rule.rule).collect();
    if !never.is_empty() {
        say(format!("\nnever fired: {}", never.join(", ")))?;
    }
    if !record.not_allowed.is_empty() {
        let names = record.not_allowed.join(", ");
        say(format!("\nnot allowed, since they change rounding: {names}; --allow-reassociation allows them"))?;
    }
    for rule in record.rules.iter().chain([&record.computed_in_passing]).filter(|rule| !rule.nodes.is_empty()) {
        say(format!("\n{}: {}", rule.rule, rule.nodes.join(", ")))?;
    }
    record.note.as_ref().map_or(Ok(()), |note| say(format!("\nnote: {note}")))
}

/// One tensor with its choices, the best first.
fn tensor(record: &TensorRecord) -> Result<()> {
    let storage = match record.storage {
        Storage::Kept => "kept while something reads it".to_string(),
        Storage::Recomputed => "recomputed in the backward pass".to_string(),
        Storage::ComputedInPassing => {
            format!("stored nowhere: computed in passing by {}", record.computed_by.join("; "))
        }
    };
    say(format!(
        "{} of `{}`, {}, {}, {}: {storage}",
        record.kind,
        record.name,
        record.shape,
        record.format,
        bytes(record.bytes as f64)
    ))?;
    if record.choices.is_empty() {
        return say(
            "  no choice was priced: no integer program was solved here (a trainer file does not keep one), or it takes no \
             memory to speak of\n",
        );
    }
    show_table(choices(record))?;
    print("")
}

fn choices(record: &TensorRecord) -> Table {
    let mut table = table(&["choice", "", "cost", "memory", "together"], 2);
    let mut sorted: Vec<&ChoiceRecord> = record.choices.iter().collect();
    sorted.sort_by(|a, b| (!a.chosen).cmp(&!b.chosen).then((a.cost + a.memory).total_cmp(&(b.cost + b.memory))));
    for (place, choice) in sorted.into_iter().enumerate() {
        let again = if choice.recomputed { ", recomputed" } else { "" };
        let term = if choice.from_input { ", rectifier's gradient from its input" } else { "" };
        let name = format!("{}{again}{term}", choice.format);
        let note = match (choice.chosen, place) {
            (true, _) => "chosen",
            (false, 1) => "runner-up",
            _ => "",
        };
        let number = small;
        let row = [number(choice.cost), number(choice.memory), number(choice.cost + choice.memory)];
        table.add_row([name, note.to_string()].into_iter().chain(row));
    }
    table
}
