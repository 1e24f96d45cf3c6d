//! The texts of plans.

use super::kind::FileKind;
use super::text::Rows;
use super::{Plan, PlanError, fields};
use serde::Serialize;
use std::collections::BTreeMap;

/// The comment at the head of a TOML file.
const HEAD: &str = "\
# A precision assignment of bitbudget. `--assignment THIS` uses the formats under [tensors] and the nodes under `recompute`
# as they stand here, edited or not. `bitbudget assign NET --from THIS -o THIS` solves again with the settings, `exclude` and [pin].
";

impl Plan {
    /// The plan in a file's text.
    ///
    /// # Errors
    /// If it is not a plan, or one of another version; [`compile_as`](crate::compile_as) checks tensors and patterns.
    pub fn read(text: &str, kind: FileKind) -> Result<Plan, PlanError> {
        let plan: Result<Plan, String> = match kind {
            FileKind::Toml => toml::from_str(text).map_err(|e| e.to_string()),
            FileKind::Json => serde_json::from_str(text).map_err(|e| e.to_string()),
        };
        let plan = plan.map_err(|message| match (kind.misnamed(text), fields::explained(&message, text, kind)) {
            (Some(fault), _) => PlanError::Syntax(fault.to_string()),
            (None, Some(error)) => error,
            (None, None) => PlanError::Syntax(message),
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// If a number is too large for the file.
    pub fn write(&self, kind: FileKind) -> Result<String, PlanError> {
        match kind {
            FileKind::Toml => self.toml().map_err(|e| PlanError::Write(e.to_string())),
            FileKind::Json => match serde_json::to_string_pretty(self) {
                Ok(text) => Ok(format!("{text}\n")),
                Err(e) => Err(PlanError::Write(e.to_string())),
            },
        }
    }

    /// One line per tensor, which the serializer would spread over five.
    fn toml(&self) -> Result<String, toml::ser::Error> {
        let settings = Plan { tensors: Rows::default(), ..self.clone() };
        let mut text = format!("{HEAD}{}", toml::to_string_pretty(&settings)?);
        for (name, row) in &self.tensors.0 {
            let mut line = String::new();
            BTreeMap::from([(name, row)]).serialize(toml::ser::ValueSerializer::new(&mut line))?;
            text += line.trim_start_matches("{ ").strip_suffix(" }").unwrap_or(&line);
            text.push('\n');
        }
        Ok(text)
    }
}
