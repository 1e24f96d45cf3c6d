//! `bitbudget compare`.

mod parallel;
mod progress;
mod setup;
mod state;
mod table;
mod train;

use crate::args::CompareArgs;
use crate::divergence::Diverged;
use crate::effect;
use crate::files::{check, check_folder, save};
use crate::output::{counted, json, remark};
use anyhow::Result;
use bitbudget::comparison::{Assigned, CaseRecord, Comparison, Timing, Trained, TrainingRecord, comparison};
use bitbudget_report::comparison::page;
use bitbudget_train::metrics::has_hardly_trained;
use parallel::in_parallel;
use progress::{Kind, Progress};
use setup::Setup;
use state::Entry;

pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    let outputs = [("--html", args.html.as_deref()), ("--csv", args.csv.as_deref()), ("--json", args.json.as_deref())];
    let outputs = check(&outputs, &setup::inputs(args))?;
    effect::check_comparison(args)?;
    check_folder(&setup::folder(args))?;
    let setup = Setup::new(args)?;
    let jobs = usize::from(args.jobs);
    let seeds: Vec<u64> = setup.seeds();
    let progress = Progress::new(setup.cases.len(), setup.cases.len() * seeds.len(), jobs, args.quiet);
    let assigned = in_parallel(jobs, &setup.cases, |case| {
        let (entry, kept) = setup.assigned(case)?;
        let refused = matches!(entry.record.assigned, Assigned::DoesNotFit(_));
        progress.done(Kind::Assignment, &case.name(), &table::outcome(&entry.record), entry.seconds, kept);
        if refused {
            progress.dropped(Kind::Training, seeds.len());
        }
        Ok(entry)
    })?;
    let fitting = assigned.iter().enumerate().filter_map(|(at, entry)| match &entry.record.assigned {
        Assigned::Fits(fitting) => Some((at, fitting)),
        Assigned::DoesNotFit(_) => None,
    });
    let trainings: Vec<_> =
        fitting.flat_map(|(at, fitting)| seeds.iter().map(move |&seed| (at, fitting, seed))).collect();
    let trained = in_parallel(jobs, &trainings, |&(at, fitting, seed)| {
        let (entry, kept) = train::trained(&setup, fitting, seed)?;
        let name = format!("{}, seed {seed}", setup.cases[at].name());
        progress.done(Kind::Training, &name, &table::trained(&entry.record), entry.seconds, kept);
        Ok((at, entry))
    })?;
    progress.finish();
    let comparison = together(&setup, assigned, trained);
    if let Some(path) = &args.html {
        save(path, page(&comparison)?.as_bytes())?;
    }
    if let Some(path) = &args.json {
        json(path, &if args.timings { comparison.clone() } else { comparison.without_timings() })?;
    }
    if let Some(path) = &args.csv {
        save(path, table::csv(&comparison)?.as_bytes())?;
    }
    if !args.quiet && !outputs.on_standard_output {
        table::show(&comparison)?;
    }
    if !args.quiet {
        skipping(&comparison);
    }
    judged(&comparison, args.quiet)
}

/// Says how many trainings skipped half of their steps or more, so that they have hardly trained.
fn skipping(comparison: &Comparison) {
    let hardly = |training: &&TrainingRecord| match training.trained {
        Trained::Finished { steps, skipped, .. } => has_hardly_trained(skipped, steps),
        Trained::Diverged { .. } => false,
    };
    let mut named = comparison.cases.iter().flat_map(|case| {
        let budget = case.budget.as_ref().map_or(String::new(), |budget| format!(" {budget}"));
        let name = move |training: &TrainingRecord| format!("{}{budget}, seed {}", case.method, training.seed);
        case.trainings.iter().filter(hardly).map(name)
    });
    let Some(first) = named.next() else { return };
    let trainings = counted(1 + named.count() as u64, "training", "trainings");
    remark(
        "warning",
        format!("{trainings} skipped half of the steps or more and hardly trained; the first is {first}"),
    );
}

/// Says how many trainings diverged.
///
/// # Errors
/// If all did.
fn judged(comparison: &Comparison, quiet: bool) -> Result<()> {
    let trainings: usize = comparison.cases.iter().map(|case| case.trainings.len()).sum();
    let diverged: usize = comparison.cases.iter().map(|case| case.diverged).sum();
    let mut messages = comparison.cases.iter().flat_map(|case| {
        let budget = case.budget.as_ref().map_or(String::new(), |budget| format!(" {budget}"));
        let named = move |training: &TrainingRecord| match &training.trained {
            Trained::Diverged { message } => {
                Some(format!("{}{budget}, seed {}: {message}", case.method, training.seed))
            }
            Trained::Finished { .. } => None,
        };
        case.trainings.iter().filter_map(named)
    });
    match (diverged, messages.next()) {
        (_, Some(first)) if diverged == trainings => {
            let all =
                if trainings == 1 { "the only training".to_string() } else { format!("all {trainings} trainings") };
            Err(Diverged(format!("{all} diverged, so there is nothing to compare; {first}")).into())
        }
        (_, Some(first)) if !quiet => {
            remark("note", format!("{diverged} of {trainings} trainings diverged; {first}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The records of all cases side by side.
fn together(
    setup: &Setup,
    assigned: Vec<Entry<CaseRecord>>,
    trained: Vec<(usize, Entry<TrainingRecord>)>,
) -> Comparison {
    let mut cases: Vec<(CaseRecord, Vec<TrainingRecord>)> = Vec::new();
    let mut timings = Vec::new();
    for (at, entry) in assigned.into_iter().enumerate() {
        let of = || trained.iter().filter(|(case, _)| *case == at).map(|(_, entry)| entry);
        let mut steps: Vec<f64> = of().filter_map(|entry| entry.step_seconds).collect();
        steps.sort_by(f64::total_cmp);
        timings.push(Timing {
            assign_seconds: entry.seconds,
            training_seconds: of().map(|entry| entry.seconds).collect(),
            step_seconds: steps.get(steps.len() / 2).copied(),
        });
        cases.push((entry.record, of().map(|entry| entry.record.clone()).collect()));
    }
    comparison(setup.question.clone(), &cases, timings)
}
