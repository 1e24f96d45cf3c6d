//! `bitbudget train`.

mod records;

use crate::advice::{Command, Formats};
use crate::args::{SettingsArgs, TrainArgs};
use crate::budget::lines;
use crate::commands::assign::totals;
use crate::data::{check_batches, dataset};
use crate::divergence::{Diverged, Setup, explained, unsaved, warning};
use crate::files::{check, check_folder, rehearse, save};
use crate::memory::{MemoryRecord, Resident, check_memory};
use crate::model::{Request, check_training, compiled_from, network, updates};
use crate::output::{counted, remark, say, small, together};
use crate::progress::Progress;
use crate::report::Inputs;
use crate::threads::{executor, settle_on, threads};
use anyhow::{Context, Result};
use bitbudget::{Compiled, Promoted, Promotion};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Executor, Footprint, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Model, NodeId, Op};
use bitbudget_precision::summary::summary;
use bitbudget_profile::fingerprint;
use bitbudget_program::Program;
use bitbudget_train::batches::TrainOptions;
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use bitbudget_train::divergence::{Ended, Growth, Losses};
use bitbudget_train::examples::{Epochs, Examples};
use bitbudget_train::metrics::{self, FinalRecord};
use bitbudget_train::run::{Length, Overflow, Programs, Settings, Training, train};
use records::Records;
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
    let threads = threads(args.device.threads);
    let request = Request { seed: Some(seed), quiet: args.quiet, updates, threads, ..Request::default() };
    let (mut compiled, options) = compiled_from(&args.model, &args.assignment, &args.optimizer, request, None)?;
    let threads = settle_on(&args.device, &mut compiled, args.quiet)?;
    check_training(&compiled, compiled.assignment.batch)?;
    let settings = settings(&args.settings, length(args));
    let epochs = train_options(&args.settings, compiled.assignment.batch);
    let mut dataset = dataset(&args.data, args.fitting, &network(&compiled.training)?, seed)?;
    // What does not fit is refused before any file is made.
    check_batches(&mut dataset, &epochs, &settings)?;
    rehearsed(args, &compiled)?;
    let mut records = Records::begin(args, &inputs, compiled.assignment.low_ratio_elements(), threads)?;
    for note in dataset.notes.iter().filter(|_| !args.quiet) {
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
    let examples = Epochs::new(&dataset, epochs);
    let mut machine = Machine::start(args, &compiled, threads)?;
    let setup = Setup { settings: &settings, formats };
    let Trained { record, growth, memory } = machine.trained(args, &mut compiled, &examples, setup, &mut records)?;
    // By the parameters before the first step, which saving replaces.
    let warning = warning(&record, growth, &compiled, setup).filter(|_| !args.quiet);
    let saved = match &args.save {
        Some(path) if !record.diverged => saved(path, &mut compiled, &machine.values),
        _ => Ok(()),
    };
    let written = records.finish(&compiled, machine.executor.threads(), &record, &memory);
    let written = together([saved].into_iter().chain(written));
    if let Some(divergence) = record.divergence {
        // That is what the command ends with, whatever else failed.
        written.unwrap_or_else(|error| remark("error", format!("{error:#}")));
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

/// Saves the network with the values that it was trained to.
fn saved(path: &Path, compiled: &mut Compiled, values: &Values) -> Result<()> {
    (compiled.values, compiled.progress) = (values.download()?, values.progress);
    save(path, &trained(path, compiled)?)
}

/// How a run ended.
struct Trained {
    record: FinalRecord,
    /// How its loss grew, if it grew far.
    growth: Option<Growth>,
    memory: MemoryRecord,
}

/// What a run runs on.
struct Machine {
    resident: Resident,
    executor: Executor,
    values: Values,
    fp32: Program,
}

impl Machine {
    fn start(args: &TrainArgs, compiled: &Compiled, threads: usize) -> Result<Machine> {
        let resident = Resident::start();
        let executor = executor(&args.device, threads)?;
        let fp32 = compiled.evaluate_fp32()?;
        check_memory(&executor, &[&compiled.train, &compiled.evaluate, &fp32])?;
        let mut values = Values::new(&compiled.train, &compiled.values, executor.device())?;
        values.progress = compiled.progress;
        Ok(Machine { resident, executor, values, fp32 })
    }

    /// Trains; how that ended and, if it diverged, why.
    fn trained(
        &mut self,
        args: &TrainArgs,
        compiled: &mut Compiled,
        examples: &dyn Examples,
        setup: Setup<'_>,
        records: &mut Records<'_>,
    ) -> Result<Trained> {
        let Machine { resident, executor, values, fp32 } = self;
        let mut progress = Progress::new(steps(setup.settings, examples)?, args.quiet);
        let training = Training { programs: programs(compiled), fp32, examples, settings: setup.settings };
        let mut losses = Losses::default();
        let ended = train(
            executor,
            values,
            training,
            &mut |tensors| promote(compiled, tensors, args.settings.promotion.promotion),
            &mut |record| {
                progress.show(record);
                losses.see(record);
                records.see(record)
            },
        );
        progress.finish();
        let ended = ended?;
        let memory = memory(compiled, fp32, executor).measured(executor, values, resident.growth());
        let record = match ended {
            Ended::Finished(record) => record,
            Ended::Diverged(divergence) => {
                let why = explained(&divergence, compiled, executor, values, setup);
                FinalRecord { divergence: Some(why), ..divergence.record }
            }
        };
        let record = FinalRecord { network: Some(fingerprint(&compiled.forward)), ..record };
        Ok(Trained { record, growth: losses.growth(), memory })
    }
}

/// The memory of a run with its evaluations: an evaluation without rounding can need more than a training step.
fn memory(compiled: &Compiled, fp32: &Program, executor: &Executor) -> MemoryRecord {
    let step = MemoryRecord::predicted(compiled, executor.threads());
    let programs = [&compiled.train, &compiled.evaluate, fp32].map(|program| executor.predicted(program));
    let largest = |pick: fn(&Footprint) -> usize| programs.iter().map(pick).max().unwrap_or(0);
    MemoryRecord { predicted: largest(|f| f.kept) + largest(|f| f.arena) + largest(|f| f.scratch), ..step }
}

/// How epochs go through the examples, in batches of so many.
pub(crate) fn train_options(given: &SettingsArgs, batch: usize) -> TrainOptions {
    TrainOptions { batch, seed: given.seed, shuffle: !given.no_shuffle, augment: given.augment }
}

/// How to train.
pub(crate) fn settings(given: &SettingsArgs, length: Length) -> Settings {
    let betas = match Optimizer::adamw() {
        Optimizer::AdamW { betas, .. } => betas,
        Optimizer::Sgd { .. } => [0.0; 2],
    };
    Settings {
        length,
        learning_rate: given.lr,
        schedule: given.lr_schedule,
        loss_scale: given.loss_scale,
        promotion: given.promotion.threshold,
        betas,
    }
}

/// The number of steps of a run, for the progress bar.
fn steps(settings: &Settings, examples: &dyn Examples) -> bitbudget_train::Result<u64> {
    Ok(match settings.length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => epochs.saturating_mul(examples.steps()?),
    })
}

/// The programs of a trainer's run.
pub(crate) fn programs(compiled: &Compiled) -> Programs {
    Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() }
}

/// Promotes tensors; nothing where no tensor can be promoted.
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
    let summary = summary(&compiled.assignment, &compiled.training);
    let is_rounded = compiled.assignment.formats.iter().any(|&format| format != Format::FP32);
    let (promoted, low): (Vec<_>, Vec<_>) = record.promotions.iter().partition(|promotion| promotion.is_promoted());
    let low: Vec<String> = low.iter().map(|p| format!("{} ({:.1}%)", p.tensor, 100.0 * p.overflow)).collect();
    format!(
        "{}, train loss {} accuracy {:.2}%\n{} in {:.1} s, {} promoted{}, {} skipped ({:.1}%){}",
        tested(record, is_rounded),
        small(record.train_loss),
        100.0 * record.train_accuracy,
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

/// The accuracies on test examples, if there are any.
fn tested(record: &FinalRecord, is_rounded: bool) -> String {
    match (record.test_accuracy, record.test_accuracy_fp32) {
        (Some(accuracy), _) if !is_rounded => format!("test accuracy {:.2}%", 100.0 * accuracy),
        (Some(rounded), Some(exact)) => {
            format!("test accuracy {:.2}% ({:.2}% when evaluated in fp32)", 100.0 * rounded, 100.0 * exact)
        }
        _ => "no test examples".to_string(),
    }
}
