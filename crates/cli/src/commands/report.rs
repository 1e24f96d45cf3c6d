//! `bitbudget report`.

use crate::args::ReportArgs;
use crate::files::{check, read, read_text};
use crate::model::{Request, compiled};
use crate::output::{counted, json, remark};
use crate::report::{Inputs, MeasuredMemory, Run, rerun, save_page};
use crate::threads::{settle, threads};
use anyhow::{Context, Error, Result, bail};
use bitbudget::fingerprint;
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
    let metrics = args.metrics.as_deref().map(|path| Ok::<_, Error>((path, run_of(path)?))).transpose()?;
    if let (Some((path, run)), Some((record, outcome))) = (&metrics, args.record.as_deref().zip(outcome.as_ref())) {
        check_same_run(path, run, record, &outcome.record)?;
    }
    let (quiet, threads) = (args.quiet, threads(args.machine.threads));
    let machine = args.machine.machine().unwrap_or_default();
    let request = Request { seed: args.seed, quiet, threads, machine, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let threads = settle(args.machine, &mut compiled, quiet)?;
    let network = fingerprint(&compiled.forward);
    let ends = [
        metrics.as_ref().and_then(|(path, run)| Some((*path, run.end.as_ref()?))),
        args.record.as_deref().zip(outcome.as_ref().map(|outcome| &outcome.record)),
    ];
    for (path, end) in ends.into_iter().flatten() {
        if let Some(note) = check_network(path, end, &network, &args.model)?.filter(|_| !quiet) {
            remark("note", note);
        }
    }
    let run = run_with(metrics, outcome.as_ref().map(|outcome| outcome.record.clone()))?;
    let training = run.map(|run| run.training(None, compiled.assignment.low_ratio_elements())).transpose()?;
    let mut report = bitbudget::report(&compiled, threads, training)?;
    if let Some(outcome) = outcome {
        outcome.memory.put(&mut report);
    }
    report.rerun = rerun(&inputs, args.seed, threads)?;
    save_page(args.page.html.as_deref(), &report)?;
    args.json.as_deref().map_or(Ok(()), |path| json(path, &report))
}

/// The run that metrics tell of.
fn run_of(path: &Path) -> Result<Run> {
    let mut run = Run::default();
    for (at, line) in read_text(path)?.lines().enumerate() {
        let record: Record = serde_json::from_str(line)
            .with_context(|| format!("{}: line {} is not from `bitbudget train --metrics`", path.display(), at + 1))?;
        run.see(&record);
    }
    Ok(run)
}

/// The run that metrics and a final record tell of, if there is one.
fn run_with(metrics: Option<(&Path, Run)>, record: Option<FinalRecord>) -> Result<Option<Run>> {
    let (path, mut run) = match metrics {
        Some((path, run)) => (Some(path), run),
        None => (None, Run::default()),
    };
    run.end = record.or(run.end);
    match (&run.end, path) {
        (None, Some(path)) => {
            bail!("{} has no final record, so the run did not end; let it end, or leave --metrics out", path.display())
        }
        (None, None) => Ok(None),
        (Some(_), _) => Ok(Some(run)),
    }
}

/// Refuses metrics and a record of two runs.
fn check_same_run(metrics: &Path, run: &Run, path: &Path, record: &FinalRecord) -> Result<()> {
    let (of_metrics, of_record) = (metrics.display(), path.display());
    let steps = run.end.as_ref().map_or(run.steps(), |end| end.steps);
    if steps != record.steps {
        bail!(
            "{of_metrics} and {of_record} are of different runs: one has {}, the other {}; give the files that one \
             `bitbudget train` wrote",
            counted(steps, "step", "steps"),
            record.steps
        );
    }
    let differs = |end: &FinalRecord| {
        let numbers = |r: &FinalRecord| (r.train_loss.to_bits(), r.seconds.to_bits(), r.skipped);
        end.network != record.network || (numbers(end) != numbers(record) && end.train_loss.is_finite())
    };
    if run.end.as_ref().is_some_and(differs) {
        bail!(
            "{of_metrics} and {of_record} are of different runs: their final records differ; give the files that one \
             `bitbudget train` wrote"
        );
    }
    Ok(())
}

/// Refuses a run of another network; a note where the file does not say which it was.
fn check_network(path: &Path, end: &FinalRecord, expected: &str, model: &Path) -> Result<Option<String>> {
    let (path, model) = (path.display(), model.display());
    match &end.network {
        Some(found) if found == expected => Ok(None),
        Some(found) => bail!(
            "{path} is of a run of another network than {model} (fingerprint {found}, not {expected}); give the network \
             that was trained"
        ),
        None => Ok(Some(format!("{path} does not say which network was trained; it is taken to be {model}"))),
    }
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?)
        .with_context(|| format!("{} is not a record of `bitbudget train --json`", path.display()))
}
