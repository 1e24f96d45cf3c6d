//! `bitbudget train`.

mod records;

use crate::advice::{Command, Formats, Setup};
use crate::args::{PromotionWhen, SettingsArgs, TrainArgs};
use crate::budget::lines;
use crate::commands::assign::totals;
use crate::data;
use crate::divergence::{Diverged, explained, unsaved, warning};
use crate::files::{check, check_folder, rehearse, save};
use crate::memory::{MemoryRecord, Resident};
use crate::model::{Request, compiled_from};
use crate::output::{counted, remark, say, small, together, whole};
use crate::progress::{Progress, measured, metric};
use crate::report::Inputs;
use crate::threads::{executor, settle_on, threads};
use anyhow::{Context, Result, bail};
use bitbudget::summary::summary;
use bitbudget::{Compiled, SaveAs, Session, fingerprint, updates};
use bitbudget_train::batches::TrainOptions;
use bitbudget_train::divergence::{Ended, Growth, Losses};
use bitbudget_train::examples::Examples;
use bitbudget_train::metrics::{FinalRecord, Metrics};
use bitbudget_train::run::{Length, Settings};
use records::Records;
use std::path::Path;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let seed = args.settings.seed;
    let inputs = Inputs { data: Some(&args.data), ..Inputs::new(&args.model, &args.assignment) };
    let outputs = [
        ("--save", args.save.as_deref()),
        ("--metrics", args.metrics.as_deref()),
        ("--html", args.page.html.as_deref()),
        ("--json", args.json.as_deref()),
    ];
    let outputs = check(&outputs, &inputs.files())?;
    args.tensorboard.as_deref().map_or(Ok(()), check_folder)?;
    let updates = updates(args.settings.loss_scale);
    let threads = threads(args.device.threads);
    let (data, quiet, machine) = (Some(&args.data), args.quiet, args.device.machine());
    let request = Request { data, seed: Some(seed), quiet, updates, threads, machine, ..Request::default() };
    let (mut compiled, options) = compiled_from(&args.model, &args.assignment, &args.optimizer, request, None)?;
    let threads = settle_on(&args.device, &mut compiled, args.quiet)?;
    compiled.check_training(compiled.assignment.batch)?;
    check_promotion(args, &compiled)?;
    let settings = settings(&args.settings, length(args));
    let epochs = train_options(&args.settings, compiled.assignment.batch);
    let mut examples = data::Examples::load(&args.data, args.fitting, &compiled.interface()?, seed)?;
    // What does not fit is refused before any file is made.
    examples.check(&epochs, &settings)?;
    rehearsed(args, &compiled)?;
    let mut records = Records::begin(args, &inputs, compiled.assignment.low_ratio_elements(), threads)?;
    for note in examples.notes().iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    let formats = match (&args.assignment.assignment, options) {
        (Some(path), _) => Formats::Assignment(path),
        (None, None) => Formats::Trainer(&args.model),
        (None, Some(options)) => Formats::Options {
            command: Command::Train,
            method: options.method,
            budget: options.budget.is_some(),
            promotion: settings.promotion.is_some(),
        },
    };
    let examples = examples.epochs(epochs)?;
    let resident = Resident::start();
    let mut session = Session::on(executor(&args.device, threads)?, compiled);
    let setup = Setup { settings: &settings, formats };
    let Trained { record, growth, memory } = run_of(args, &mut session, &*examples, setup, &mut records, &resident)?;
    let before = session.compiled();
    // By the parameters before the first step, which saving replaces.
    let warning = warning(&record, growth, before, setup).filter(|_| !args.quiet);
    let compiled = session.end()?;
    let saved = match &args.save {
        Some(path) if !record.diverged => trained(path, &compiled).and_then(|bytes| save(path, &bytes)),
        _ => Ok(()),
    };
    let written = records.finish(&compiled, threads, &record, &memory);
    let written = together([saved].into_iter().chain(written));
    if let Some(divergence) = record.divergence {
        // That is what the command ends with, whatever else failed.
        written.unwrap_or_else(|error| remark("error", whole(&error)));
        return Err(Diverged(divergence.message + &unsaved(args.save.as_deref())).into());
    }
    written?;
    if let Some(warning) = warning {
        remark("warning", warning);
    }
    if !args.quiet && !outputs.on_standard_output {
        say(report(&compiled, &record))?;
        if let Some(solved) = &compiled.solved {
            say(lines(solved, compiled.assignment.recomputed.len()))?;
        }
        say(memory.line())?;
    }
    Ok(())
}

/// Refuses a promotion that is asked for where no tensor can have a wider format.
fn check_promotion(args: &TrainArgs, compiled: &Compiled) -> Result<()> {
    let given = args.settings.given.of::<SettingsArgs>(|id| id == "promotion");
    let PromotionWhen { threshold, promotion } = args.settings.promotion;
    match given.is_empty() || threshold.is_none() || compiled.can_promote(promotion) {
        true => Ok(()),
        false => bail!(
            "--promotion has no effect: with method {}, no tensor has a format that can be widened; leave it out",
            compiled.assignment.method
        ),
    }
}

/// How long to train.
fn length(args: &TrainArgs) -> Length {
    match (args.epochs, args.steps) {
        (_, Some(steps)) => Length::Steps(steps),
        (epochs, None) => Length::Epochs(epochs.unwrap_or(5)),
    }
}

/// Refuses what cannot be saved before it is trained.
fn rehearsed(args: &TrainArgs, compiled: &Compiled) -> Result<()> {
    let Some(path) = &args.save else { return Ok(()) };
    rehearse(path, &trained(path, compiled)?)?;
    if let Some(note) = ending_note(path).filter(|_| !args.quiet) {
        remark("note", note);
    }
    Ok(())
}

/// How a run ended.
struct Trained {
    record: FinalRecord,
    /// How its loss grew, if it grew far.
    growth: Option<Growth>,
    memory: MemoryRecord,
}

/// The memory of a run with its evaluations: an evaluation without rounding can need more than a training step.
fn memory(session: &mut Session) -> Result<MemoryRecord> {
    let predicted = session.predicted_for_run()?.total();
    Ok(MemoryRecord { predicted, ..MemoryRecord::predicted(session.compiled(), session.threads()) })
}

/// Trains; how that ended and, if it diverged, why.
fn run_of(
    args: &TrainArgs,
    session: &mut Session,
    examples: &dyn Examples,
    setup: Setup<'_>,
    records: &mut Records<'_>,
    resident: &Resident,
) -> Result<Trained> {
    let mut progress = Progress::new(steps(setup.settings, examples)?, args.quiet);
    let mut losses = Losses::default();
    let ended = session.train(examples, setup.settings, args.settings.promotion.promotion, &mut |record| {
        progress.show(record);
        losses.see(record);
        records.see(record)
    });
    progress.finish();
    let ended = ended?;
    let memory = memory(session)?.measured(session, resident.growth());
    let record = match ended {
        Ended::Finished(record) => *record,
        Ended::Diverged(divergence) => {
            let why = explained(&divergence, session, setup);
            FinalRecord { divergence: Some(why), ..divergence.record }
        }
    };
    let record = FinalRecord { network: Some(fingerprint(&session.compiled().forward)), ..record };
    Ok(Trained { record, growth: losses.growth(), memory })
}

/// How epochs go through the examples, in batches of so many.
pub(crate) fn train_options(given: &SettingsArgs, batch: usize) -> TrainOptions {
    TrainOptions { batch, seed: given.seed, shuffle: !given.no_shuffle, augment: given.augment }
}

/// How to train.
pub(crate) fn settings(given: &SettingsArgs, length: Length) -> Settings {
    Settings {
        length,
        learning_rate: given.lr,
        schedule: given.lr_schedule,
        loss_scale: given.loss_scale,
        promotion: given.promotion.threshold,
        seed: given.seed,
        ..Settings::default()
    }
}

/// The number of steps of a run, for the progress bar.
fn steps(settings: &Settings, examples: &dyn Examples) -> bitbudget_train::Result<u64> {
    Ok(match settings.length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => epochs.saturating_mul(examples.steps()?),
    })
}

/// The ending of a file in lower case.
fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The note about a file whose ending does not tell its kind.
fn ending_note(path: &Path) -> Option<String> {
    ending(path).filter(|ending| !["onnx", "safetensors", "trainer"].contains(&ending.as_str()))?;
    let shown = path.display();
    Some(format!("{shown} will be a trainer file; a name that ends in .onnx or .safetensors gives a file of that kind"))
}

/// A trained network as the file that its name asks for.
fn trained(path: &Path, compiled: &Compiled) -> Result<Vec<u8>> {
    let (kind, name) = match ending(path).as_deref() {
        Some("onnx") => (SaveAs::Onnx, "ONNX"),
        Some("safetensors") => (SaveAs::Safetensors, "safetensors"),
        _ => (SaveAs::Trainer, "a trainer file"),
    };
    let cannot = || format!("cannot write {}: the network cannot be written as {name}", path.display());
    compiled.file(kind).with_context(cannot)
}

fn report(compiled: &Compiled, record: &FinalRecord) -> String {
    let summary = summary(&compiled.assignment, &compiled.training);
    let is_rounded = compiled.is_rounded();
    let (promoted, low): (Vec<_>, Vec<_>) = record.promotions.iter().partition(|promotion| promotion.is_promoted());
    let low: Vec<String> = low.iter().map(|p| format!("{} ({:.1}%)", p.tensor, 100.0 * p.overflow)).collect();
    format!(
        "{}, train {}\n{} in {:.1} s, {} promoted{}, {} skipped ({:.1}%){}",
        tested(record, is_rounded),
        measured(record.train_loss, record.train_accuracy, record.train_metrics),
        counted(record.steps, "step", "steps"),
        record.seconds,
        counted(promoted.len() as u64, "tensor", "tensors"),
        if low.is_empty() {
            String::new()
        } else {
            format!("; {} overflowed, but nothing wider fits the budget", low.join(", "))
        },
        record.skipped,
        100.0 * record.skipped_share,
        totals(&summary)
    )
}

/// The metrics on test examples, if there are any; where the loss has none, itself.
fn tested(record: &FinalRecord, is_rounded: bool) -> String {
    let Some(loss) = record.test_loss else { return "no test examples".to_string() };
    let metrics = Metrics { accuracy: record.test_accuracy, ..record.test_metrics };
    let exact = Metrics { accuracy: record.test_accuracy_fp32, ..record.test_metrics_fp32 };
    let one = |(name, value): (&'static str, f64)| {
        let exact = exact.named().find(|(other, _)| is_rounded && *other == name);
        // The number is the last word of a metric.
        let exact =
            exact.map(|(_, exact)| metric(name, exact)).and_then(|text| Some(text.rsplit_once(' ')?.1.to_string()));
        metric(name, value) + &exact.map_or(String::new(), |exact| format!(" ({exact} when evaluated in fp32)"))
    };
    let all: Vec<String> = metrics.named().map(one).collect();
    match all.is_empty() {
        true => format!("test loss {}", small(loss)),
        false => format!("test {}", all.join(", ")),
    }
}
