//! `bitbudget train`.

use crate::args::{SettingsArgs, TrainArgs};
use crate::budget::{SolverRecord, lines, record as solver_record};
use crate::commands::assign::totals;
use crate::memory::{MemoryRecord, Resident};
use crate::model::{Request, compiled, executor, input_and_classes, threads, updates};
use crate::output::{check, json, remark, save, say};
use crate::progress::Progress;
use crate::report::{Inputs, MeasuredMemory, Run, rerun, save_page};
use anyhow::{Context, Result, bail};
use bitbudget::{Compiled, Promoted, Promotion};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Executor, Footprint, Values};
use bitbudget_ir::Model;
use bitbudget_precision::summary::summary;
use bitbudget_program::Program;
use bitbudget_train::batches::{TrainBatches, TrainOptions};
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use bitbudget_train::data::{self, Dataset};
use bitbudget_train::metrics::{self, FinalRecord, MetricsWriter, Record};
use bitbudget_train::run::{Length, Overflow, Programs, Settings};
use bitbudget_train::tensorboard::EventWriter;
use serde::Serialize;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let seed = args.settings.seed;
    check([&args.save, &args.metrics, &args.json, &args.page.html].into_iter().flatten().map(PathBuf::as_path))?;
    let updates = updates(args.settings.loss_scale);
    let threads = threads(&args.device);
    let request = Request { seed: Some(seed), quiet: args.quiet, updates, threads, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let length = match (args.epochs, args.steps) {
        (_, Some(steps)) => Length::Steps(steps),
        (epochs, None) => Length::Epochs(epochs.unwrap_or(5)),
    };
    let settings = settings(&args.settings, length, compiled.assignment.batch)?;
    let (input, classes) = input_and_classes(&compiled.training)?;
    let dataset = data::fit(data::load(&args.data, &input, classes, seed)?, &input, classes)?;
    // What does not fit is refused before any file is made.
    TrainBatches::new(&dataset, &settings.batches, 0)?;
    let mut metrics = args.metrics.as_deref().map(MetricsWriter::create).transpose()?;
    let low_ratio = compiled.assignment.low_ratio_elements();
    let events = args.tensorboard.as_deref().map(|folder| EventWriter::create(folder, low_ratio));
    let mut events = events.transpose()?;
    if !args.quiet {
        for note in &dataset.notes {
            remark("note", note);
        }
    }
    // Files are hashed as they are read, not as they are when the run is over.
    let inputs = Inputs { data: Some(&args.data), ..Inputs::new(&args.model, &args.assignment) };
    let mut page = match &args.page.html {
        Some(_) => Some((Run::default(), rerun(&inputs, Some(seed), threads)?)),
        None => None,
    };
    let resident = Resident::start();
    let mut executor = executor(&args.device)?;
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device())?;
    values.updates = compiled.updates;
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
            events.as_mut().map_or(Ok(()), |events| events.write(record))?;
            if let Some((run, _)) = &mut page {
                run.see(record);
            }
            metrics.as_mut().map_or(Ok(()), |metrics| metrics.write(record))
        },
    );
    progress.finish();
    let record = record?;
    if let Some(metrics) = &mut metrics {
        metrics.write(&Record::Final(record.clone()))?;
    }
    if let Some(path) = &args.save {
        compiled.values = values.download()?;
        compiled.updates = values.updates;
        save_trained(path, &compiled)?;
    }
    let memory = memory(&compiled, &fp32, &executor).measured(&executor, &values, resident.growth());
    if let Some(path) = &args.json {
        let solver = solver_record(compiled.solved.as_ref(), compiled.assignment.recomputed.len());
        json(path, &Outcome { record: &record, memory: &memory, solver })?;
    }
    if let Some((mut run, rerun)) = page {
        run.end = Some(record.clone());
        let training = run.training(Some(&args.data), low_ratio)?;
        let mut report = bitbudget::report(&compiled, executor.threads(), Some(training))?;
        MeasuredMemory::from(&memory).put(&mut report);
        report.rerun = rerun;
        save_page(args.page.html.as_deref(), &report)?;
    }
    if !args.quiet && args.json.as_deref() != Some(Path::new("-")) {
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

/// What a run with its evaluations takes: an evaluation without rounding can need more than a training step.
fn memory(compiled: &Compiled, fp32: &Program, executor: &Executor) -> MemoryRecord {
    let step = MemoryRecord::predicted(compiled, executor.threads());
    let programs = [&compiled.train, &compiled.evaluate, fp32].map(|program| executor.predicted(program));
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

fn save_trained(path: &Path, compiled: &Compiled) -> Result<()> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("onnx") => {
            let model = Model { graph: compiled.forward.clone(), values: compiled.values.clone() };
            save(path, &bitbudget_onnx::export_bytes(&model).context("cannot write the trained network as ONNX")?)
        }
        Some("safetensors") => Ok(checkpoint(compiled).save(path)?),
        _ => save(path, &compiled.encode()),
    }
}

/// Every kept tensor, optimizer state included.
fn checkpoint(compiled: &Compiled) -> Checkpoint {
    let shape = |name: &String| {
        let buffer = compiled.train.buffers.iter().find(|b| b.name == *name);
        buffer.map(|b| b.shape.clone())
    };
    let tensors = compiled.values.iter().map(|(name, values)| {
        let shape = shape(name).unwrap_or_else(|| vec![values.len()]);
        (name.clone(), Tensor { shape, values: values.clone() })
    });
    let metadata = [
        ("name".to_string(), compiled.forward.name().to_string()),
        ("updates".to_string(), compiled.updates.to_string()),
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
         promoted{}{}",
        percent(record.test_accuracy),
        percent(record.test_accuracy_fp32),
        record.train_loss,
        100.0 * record.train_accuracy,
        record.steps,
        record.seconds,
        promoted.len(),
        if low.is_empty() { String::new() } else { format!("; {} overflow for want of memory", low.join(", ")) },
        totals(&summary)
    )
}
