//! `bitbudget report`.

use crate::args::ReportArgs;
use crate::files::{check, read, read_text};
use crate::model::{Request, compiled};
use crate::output::json;
use crate::report::{Inputs, MeasuredMemory, Run, rerun, save_page};
use crate::threads::{settle, threads};
use anyhow::{Context, Result, bail};
use bitbudget_train::metrics::{FinalRecord, Record};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The parts of a record of `bitbudget train --json` that are shown.
#[derive(Deserialize)]
struct Outcome {
    #[serde(flatten)]
    record: FinalRecord,
    memory: MeasuredMemory,
}

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let run = [("metrics file", &args.metrics), ("record", &args.record)];
    let run = run.iter().filter_map(|(what, path)| Some((*what, path.as_ref()?.clone())));
    let outputs = [("--html", args.page.html.as_deref()), ("--json", args.json.as_deref())];
    check(&outputs, &inputs.files().into_iter().chain(run).collect::<Vec<_>>())?;
    // A record that cannot be read is refused before anything takes long.
    let outcome: Option<Outcome> = args.record.as_deref().map(parsed).transpose()?;
    let run = run_of(args.metrics.as_deref(), outcome.as_ref().map(|outcome| outcome.record.clone()))?;
    let (quiet, threads) = (args.quiet, threads(args.threads));
    let request = Request { seed: args.seed, quiet, threads, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let threads = settle(args.threads, &mut compiled, quiet)?;
    let training = run.map(|run| run.training(None, compiled.assignment.low_ratio_elements())).transpose()?;
    let mut report = bitbudget::report(&compiled, threads, training)?;
    if let Some(outcome) = outcome {
        outcome.memory.put(&mut report);
    }
    report.rerun = rerun(&inputs, args.seed, threads)?;
    save_page(args.page.html.as_deref(), &report)?;
    args.json.as_deref().map_or(Ok(()), |path| json(path, &report))
}

/// The run that metrics and a final record tell of, if there is one.
fn run_of(metrics: Option<&Path>, record: Option<FinalRecord>) -> Result<Option<Run>> {
    let mut run = Run::default();
    if let Some(path) = metrics {
        let text = read_text(path)?;
        for (at, line) in text.lines().enumerate() {
            let record: Record = serde_json::from_str(line).with_context(|| {
                format!("{}: line {} is not from `bitbudget train --metrics`", path.display(), at + 1)
            })?;
            run.see(&record);
        }
    }
    run.end = record.or(run.end);
    match (&run.end, metrics) {
        (None, Some(path)) => {
            bail!("{} has no final record, so the run did not end; let it end, or leave --metrics out", path.display())
        }
        (None, None) => Ok(None),
        (Some(_), _) => Ok(Some(run)),
    }
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?)
        .with_context(|| format!("{} is not a record of `bitbudget train --json`", path.display()))
}
