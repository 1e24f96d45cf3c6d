//! `bitbudget train`.

use crate::args::{SettingsArgs, TrainArgs};
use crate::budget::{SolverRecord, lines, record as solver_record};
use crate::commands::assign::totals;
use crate::data::{check_batches, dataset};
use crate::divergence::{Diverged, explained, unsaved};
use crate::files::{Folder, Growing, check, check_folder, rehearse, save};
use crate::memory::{MemoryRecord, Resident};
use crate::model::{Request, check_training, compiled, executor, network, threads, updates};
use crate::output::{json, remark, say, together};
use crate::progress::Progress;
use crate::report::{Inputs, MeasuredMemory, Run, rerun, save_page};
use anyhow::{Context, Result, bail};
use bitbudget::{Compiled, Promoted, Promotion};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Executor, Footprint, Values};
use bitbudget_ir::{Graph, Model, NodeId, Op};
use bitbudget_precision::summary::summary;
use bitbudget_program::Program;
use bitbudget_train::batches::TrainOptions;
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use bitbudget_train::data::Dataset;
use bitbudget_train::divergence::Ended;
use bitbudget_train::metrics::{self, FinalRecord, Record};
use bitbudget_train::run::{Length, Overflow, Programs, Settings};
use bitbudget_train::tensorboard::Events;
use serde::Serialize;
use std::collections::BTreeMap;
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
    let threads = threads(&args.device);
    let request = Request { seed: Some(seed), quiet: args.quiet, updates, threads, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    check_training(&compiled, compiled.assignment.batch)?;
    let length = match (args.epochs, args.steps) {
        (_, Some(steps)) => Length::Steps(steps),
        (epochs, None) => Length::Epochs(epochs.unwrap_or(5)),
    };
    let settings = settings(&args.settings, length, compiled.assignment.batch)?;
    let mut dataset = dataset(&args.data, args.fitting, &network(&compiled.training)?, seed)?;
    // What does not fit is refused before any file is made.
    check_batches(&mut dataset, &settings)?;
    if let Some(path) = &args.save {
        // What cannot be saved is refused before it is trained.
        rehearse(path, &trained(path, &compiled)?)?;
        if let Some(note) = ending_note(path).filter(|_| !args.quiet) {
            remark("note", note);
        }
    }
    let mut metrics = args.metrics.as_deref().map(Growing::create).transpose()?;
    let low_ratio = compiled.assignment.low_ratio_elements();
    let mut events = args.tensorboard.as_deref().map(|folder| event_file(folder, low_ratio)).transpose()?;
    if !args.quiet {
        for note in &dataset.notes {
            remark("note", note);
        }
    }
    // Files are hashed as they are read, not as they are when the run is over.
    let mut page = match &args.page.html {
        Some(_) => Some((Run::default(), rerun(&inputs, Some(seed), threads)?)),
        None => None,
    };
    let resident = Resident::start();
    let mut executor = executor(&args.device)?;
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device())?;
    values.progress = compiled.progress;
    let mut progress = Progress::new(steps(&settings, &dataset), args.quiet);
    let programs = programs(&compiled);
    let fp32 = compiled.evaluate_fp32()?;
    let record = bitbudget_train::run::train(
        &mut executor,
        &mut values,
        programs,
        &fp32,
        &dataset,
        &settings,
        &mut |tensors| promote(&mut compiled, tensors, args.settings.promotion.promotion),
        &mut |record| {
            progress.show(record);
            if let Some((file, events)) = &mut events {
                file.append(&events.record(record));
            }
            if let Some((run, _)) = &mut page {
                run.see(record);
            }
            metrics.as_mut().map_or(Ok(()), |metrics| append(metrics, record))
        },
    );
    progress.finish();
    let record = match record? {
        Ended::Finished(record) => record,
        Ended::Diverged(divergence) => {
            let scaling = settings.loss_scale;
            let why = explained(&divergence, &compiled, &mut executor, &mut values, scaling);
            return Err(Diverged(why + &unsaved(args.save.as_deref())).into());
        }
    };
    let evaluations = dataset.test.as_ref().map(|_| [&compiled.evaluate, &fp32]);
    let memory = memory(&compiled, evaluations, &executor).measured(&executor, &values, resident.growth());
    let saved = args.save.as_ref().map_or(Ok(()), |path| {
        (compiled.values, compiled.progress) = (values.download()?, values.progress);
        save(path, &trained(path, &compiled)?)
    });
    let metrics = metrics.map_or(Ok(()), |mut metrics| {
        append(&mut metrics, &Record::Final(record.clone()))?;
        metrics.finish()
    });
    let events = events.map_or(Ok(()), |(file, _)| file.finish());
    let page = page.map_or(Ok(()), |(mut run, rerun)| {
        run.end = Some(record.clone());
        let training = run.training(Some(format!("{}{}", args.data, args.fitting.fitting())), low_ratio)?;
        let mut report = bitbudget::report(&compiled, executor.threads(), Some(training))?;
        MeasuredMemory::from(&memory).put(&mut report);
        report.rerun = rerun;
        save_page(args.page.html.as_deref(), &report)
    });
    let written = args.json.as_ref().map_or(Ok(()), |path| {
        let solver = solver_record(compiled.solved.as_ref(), compiled.assignment.recomputed.len());
        json(path, &Outcome { record: &record, memory: &memory, solver })
    });
    together([saved, metrics, events, page, written])?;
    if !args.quiet && !outputs.on_standard_output {
        say(report(&compiled, &record))?;
        if let Some(solved) = &compiled.solved {
            say(lines(solved, compiled.assignment.recomputed.len()))?;
        }
        say(memory.line())?;
    }
    Ok(())
}

/// The final record with what the run took in memory.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    record: &'a FinalRecord,
    memory: &'a MemoryRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    solver: Option<SolverRecord>,
}

/// What a run takes with its evaluations, if there are test examples: one without rounding can need more than a training step.
fn memory(compiled: &Compiled, evaluations: Option<[&Program; 2]>, executor: &Executor) -> MemoryRecord {
    let step = MemoryRecord::predicted(compiled, executor.threads());
    let programs =
        evaluations.into_iter().flatten().chain([&compiled.train]).map(|program| executor.predicted(program));
    let programs: Vec<Footprint> = programs.collect();
    let largest = |pick: fn(&Footprint) -> usize| programs.iter().map(pick).max().unwrap_or(0);
    MemoryRecord { predicted: largest(|f| f.kept) + largest(|f| f.arena) + largest(|f| f.scratch), ..step }
}

/// How to train with batches of so many examples.
///
/// # Errors
/// If a setting has no meaning.
pub(crate) fn settings(given: &SettingsArgs, length: Length, batch: usize) -> Result<Settings> {
    if !(given.lr.is_finite() && given.lr >= 0.0) {
        bail!("--lr must be a number of at least 0");
    }
    if matches!(length, Length::Steps(0) | Length::Epochs(0)) {
        bail!("--epochs and --steps must be at least 1");
    }
    let betas = match Optimizer::adamw() {
        Optimizer::AdamW { betas, .. } => betas,
        Optimizer::Sgd { .. } => [0.0; 2],
    };
    Ok(Settings {
        length,
        batches: TrainOptions { batch, seed: given.seed, shuffle: !given.no_shuffle, augment: given.augment },
        learning_rate: given.lr,
        schedule: given.lr_schedule,
        loss_scale: given.loss_scale,
        promotion: given.promotion.threshold,
        betas,
    })
}

/// The number of steps of a run, for the progress bar.
fn steps(settings: &Settings, dataset: &Dataset) -> u64 {
    match settings.length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => epochs.saturating_mul((dataset.train.len() / settings.batches.batch.max(1)) as u64),
    }
}

/// The programs of a trainer's run.
pub(crate) fn programs(compiled: &Compiled) -> Programs {
    Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() }
}

/// Promotes tensors; nothing if none of them can be.
pub(crate) fn promote(
    compiled: &mut Compiled,
    over: &[Overflow],
    promotion: Promotion,
) -> bitbudget_train::Result<Option<bitbudget_train::run::Promoted>> {
    let tensors: Vec<u32> = over.iter().map(|over| over.tensor).collect();
    let promoted = compiled.promote(&tensors, promotion).map_err(|e| bitbudget_train::Error::compile(&e))?;
    let record = |Promoted { tensor, node, from, to, peak }: Promoted| {
        let over = over.iter().find(|over| over.tensor == tensor)?;
        let name = &compiled.training.node(node).name;
        Some(metrics::Promotion {
            step: over.step,
            tensor: if name.is_empty() { node.to_string() } else { name.clone() },
            overflow: over.ratio,
            from: from.to_string(),
            to: to.to_string(),
            peak,
            low_ratio: compiled.assignment.low_ratio_elements(),
        })
    };
    let tensors: Vec<_> = promoted.into_iter().filter_map(record).collect();
    Ok((!tensors.is_empty()).then(|| bitbudget_train::run::Promoted { programs: programs(compiled), tensors }))
}

/// A new event file for TensorBoard in a folder, and what it gets.
fn event_file(folder: &Path, low_ratio: f64) -> Result<(Growing, Events)> {
    let file = Growing::create_in(Folder::make(folder)?, &Events::file_name(), &Events::head())?;
    Ok((file, Events::new(low_ratio)))
}

fn append(metrics: &mut Growing, record: &Record) -> bitbudget_train::Result<()> {
    metrics.append(record.line()?.as_bytes());
    Ok(())
}

/// The ending of a file in lower case.
fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// What is said of a file whose ending does not tell its kind.
fn ending_note(path: &Path) -> Option<String> {
    ending(path).filter(|ending| !["onnx", "safetensors", "trainer"].contains(&ending.as_str()))?;
    let shown = path.display();
    Some(format!("{shown} will be a trainer file; a name that ends in .onnx or .safetensors gives a file of that kind"))
}

/// A trained network as the file that its name asks for.
fn trained(path: &Path, compiled: &Compiled) -> Result<Vec<u8>> {
    let kind = |kind: &str| format!("cannot write {}: the network cannot be written as {kind}", path.display());
    match ending(path).as_deref() {
        Some("onnx") => {
            let model = Model { graph: compiled.forward.clone(), values: compiled.values.clone() };
            bitbudget_onnx::export_bytes(&model).with_context(|| kind("ONNX"))
        }
        Some("safetensors") => checkpoint(compiled).encode().with_context(|| kind("safetensors")),
        _ => Ok(compiled.encode()),
    }
}

/// Every tensor with a value, optimizer state included.
fn checkpoint(compiled: &Compiled) -> Checkpoint {
    let sources = |graph: &Graph| {
        let has_value = |id: &NodeId| matches!(graph.op(*id), Op::Parameter(_) | Op::State(_) | Op::Constant(_));
        let shape = |id| Some((graph.op(id).source_name()?.to_string(), graph.ty(id).shape.at(compiled.train.batch)));
        graph.ids().filter(has_value).filter_map(shape).collect::<Vec<_>>()
    };
    let shapes: BTreeMap<String, Vec<usize>> =
        [&compiled.forward, &compiled.training].into_iter().flat_map(sources).collect();
    let tensors = compiled.values.iter().map(|(name, values)| {
        let shape = shapes.get(name).cloned().unwrap_or_else(|| vec![values.len()]);
        (name.clone(), Tensor { shape, values: values.clone() })
    });
    let metadata = [
        ("name".to_string(), compiled.forward.name().to_string()),
        ("updates".to_string(), compiled.progress.updates.to_string()),
    ];
    Checkpoint { tensors: tensors.collect(), metadata: metadata.into() }
}

fn report(compiled: &Compiled, record: &FinalRecord) -> String {
    let percent = |x: Option<f64>| x.map_or("none".to_string(), |x| format!("{:.2}%", 100.0 * x));
    let summary = summary(&compiled.assignment, &compiled.training);
    let (promoted, low): (Vec<_>, Vec<_>) = record.promotions.iter().partition(|promotion| promotion.is_promoted());
    let low: Vec<String> = low.iter().map(|p| format!("{} ({:.1}%)", p.tensor, 100.0 * p.overflow)).collect();
    format!(
        "test accuracy {} ({} when evaluated in fp32), train loss {:.4} accuracy {:.2}%\n{} steps in {:.1} s, {} tensors \
         promoted{}, {} skipped ({:.1}%){}",
        percent(record.test_accuracy),
        percent(record.test_accuracy_fp32),
        record.train_loss,
        100.0 * record.train_accuracy,
        record.steps,
        record.seconds,
        promoted.len(),
        if low.is_empty() { String::new() } else { format!("; {} overflow for want of memory", low.join(", ")) },
        record.skipped,
        100.0 * record.skipped_share,
        totals(&summary)
    )
}
