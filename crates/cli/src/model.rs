//! From arguments to a compiled trainer.

use crate::args::{
    AssignmentArgs, BudgetArgs, BudgetSize, DeviceArgs, GranularityKind, OptimizerArgs, OptimizerKind, Percent,
};
use crate::memory::default_threads;
use anyhow::{Context, Result, bail};
use bitbudget::{Budget, Compiled, Granularity, Measured, Options, Storage, compile};
use bitbudget_autodiff::{Optimizer, Updates};
use bitbudget_exec::{Executor, Target};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Model, Op};
use bitbudget_precision::{Formats, Method};
use bitbudget_profile::Profile;
use bitbudget_program::Trainer;
use bitbudget_train::loss_scale::LossScaling;
use std::path::Path;

/// What a file holds.
pub(crate) enum Loaded {
    /// A network, from ONNX, and what the import warns of.
    Network(Model, Vec<String>),
    /// A compiled trainer.
    Trainer(Box<Compiled>),
}

/// Reads an ONNX network or a trainer file.
///
/// # Errors
/// If the file is missing, damaged, or holds what is not supported.
pub(crate) fn load(path: &Path) -> Result<Loaded> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if Trainer::recognise(&bytes) {
        let compiled = Compiled::decode(&bytes).with_context(|| path.display().to_string())?;
        return Ok(Loaded::Trainer(Box::new(compiled)));
    }
    drop(bytes);
    let imported = bitbudget_onnx::import(path).with_context(|| format!("cannot import {}", path.display()))?;
    Ok(Loaded::Network(imported.model, imported.warnings))
}

/// What a command asks of the compiler beside its precision and optimizer options.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// The seed of random choices.
    pub(crate) seed: u64,
    /// The method if none is given.
    pub(crate) method: Method,
    /// Whether warnings of the import are left out; else they go to standard error.
    pub(crate) quiet: bool,
    pub(crate) storage: Storage,
    pub(crate) updates: Updates,
    /// Threads of the run, whose scratch memory counts in a budget.
    pub(crate) threads: usize,
}

impl Default for Request {
    fn default() -> Self {
        let (storage, updates) = (Storage::Packed, Updates::IfFinite);
        Request { seed: 0, method: Method::Demote, quiet: false, storage, updates, threads: default_threads() }
    }
}

/// When a run with this loss scale updates parameters.
pub(crate) fn updates(scaling: LossScaling) -> Updates {
    match scaling {
        LossScaling::None => Updates::Always,
        LossScaling::Dynamic | LossScaling::Fixed(_) => Updates::IfFinite,
    }
}

/// Reads a network or trainer file and compiles the network.
///
/// # Errors
/// If the file cannot be used, or an option contradicts a trainer file, which fixes them.
pub(crate) fn compiled(
    path: &Path,
    assignment: &AssignmentArgs,
    optimizer: &OptimizerArgs,
    request: Request,
) -> Result<Compiled> {
    match load(path)? {
        Loaded::Network(model, warnings) => {
            let options = options(assignment, optimizer, request)?;
            let compiled = compile(model, &options).with_context(|| format!("cannot compile {}", path.display()))?;
            for warning in warnings.iter().filter(|_| !request.quiet) {
                eprintln!("warning: {warning}");
            }
            Ok(compiled)
        }
        Loaded::Trainer(compiled) => {
            let mut given = given(assignment, optimizer);
            given.extend((request.storage != Storage::Packed).then_some("--simulated"));
            if !given.is_empty() {
                bail!(
                    "{} is a trainer file, which fixes {}; compile the network again",
                    path.display(),
                    given.join(", ")
                );
            }
            Ok(*compiled)
        }
    }
}

fn options(assignment: &AssignmentArgs, optimizer: &OptimizerArgs, request: Request) -> Result<Options> {
    let paper = Formats::PAPER;
    let high = assignment.high.unwrap_or(paper.high);
    let budget = budget(&assignment.budget, request)?;
    let method = if budget.is_some() { Method::Ilp } else { request.method };
    Ok(Options {
        batch: assignment.batch.unwrap_or(128),
        optimizer: self::optimizer(optimizer)?,
        updates: request.updates,
        method: assignment.method.unwrap_or(method),
        low_ratio: assignment.low_ratio.unwrap_or(0.5),
        seed: request.seed,
        formats: Formats {
            high,
            low_forward: assignment.low_forward.unwrap_or(paper.low_forward),
            low_backward: assignment.low_backward.unwrap_or(paper.low_backward),
            // As in the paper, gradients of parameters stay in the high format.
            low_parameter_gradient: high,
        },
        storage: request.storage,
        budget,
    })
}

/// The budget that the options ask for.
fn budget(args: &BudgetArgs, request: Request) -> Result<Option<Budget>> {
    let Some(BudgetSize(limit)) = args.budget else { return Ok(None) };
    let mut budget = Budget::new(limit, request.threads);
    if !args.formats.is_empty() {
        budget.forward = distinct(&args.formats);
    }
    if !args.backward_formats.is_empty() {
        budget.backward = distinct(&args.backward_formats);
    }
    if args.granularity == Some(GranularityKind::Group) {
        budget.granularity = Granularity::Group;
    }
    if let Some(path) = &args.profile {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let profile = Profile::read(&bytes).with_context(|| path.display().to_string())?;
        budget.measured = Some(Measured { name: path.display().to_string(), profile });
    }
    budget.recompute = !args.no_recompute;
    budget.time_weight = args.time_weight.unwrap_or(budget.time_weight);
    budget.seconds = args.solve_seconds.unwrap_or(budget.seconds);
    budget.max_slowdown = args.max_slowdown.map(|Percent(share)| share);
    if !(budget.time_weight.is_finite() && budget.time_weight >= 0.0) {
        bail!("--time-weight must be a number of at least 0");
    }
    if !(budget.seconds > 0.0 && budget.seconds <= 86_400.0) {
        bail!("--solve-seconds must be above 0 and at most 86400, a day");
    }
    Ok(Some(budget))
}

/// Formats without repetition, in their order.
fn distinct(formats: &[Format]) -> Vec<Format> {
    let mut found: Vec<Format> = Vec::new();
    formats.iter().for_each(|format| {
        if !found.contains(format) {
            found.push(*format)
        }
    });
    found
}

fn optimizer(args: &OptimizerArgs) -> Result<Optimizer> {
    if args.weight_decay.is_some_and(|w| !(w.is_finite() && w >= 0.0)) {
        bail!("--weight-decay must be a number of at least 0");
    }
    if args.momentum.is_some_and(|m| !(0.0..1.0).contains(&m)) {
        bail!("--momentum must be from 0 to below 1");
    }
    match (args.optimizer.unwrap_or(OptimizerKind::Sgd), Optimizer::adamw()) {
        (OptimizerKind::Sgd, _) => Ok(Optimizer::Sgd {
            momentum: args.momentum.unwrap_or(0.9),
            weight_decay: args.weight_decay.unwrap_or(5e-4),
        }),
        (OptimizerKind::Adamw, _) if args.momentum.is_some() => bail!("--momentum is an option of sgd, not of adamw"),
        (OptimizerKind::Adamw, Optimizer::AdamW { betas, epsilon, weight_decay }) => {
            Ok(Optimizer::AdamW { betas, epsilon, weight_decay: args.weight_decay.unwrap_or(weight_decay) })
        }
        (OptimizerKind::Adamw, other) => Ok(other),
    }
}

/// The options that a user gave and a trainer file fixes.
fn given(assignment: &AssignmentArgs, optimizer: &OptimizerArgs) -> Vec<&'static str> {
    let flags = [
        ("--batch", assignment.batch.is_some()),
        ("--method", assignment.method.is_some()),
        ("--low-ratio", assignment.low_ratio.is_some()),
        ("--high", assignment.high.is_some()),
        ("--low-forward", assignment.low_forward.is_some()),
        ("--low-backward", assignment.low_backward.is_some()),
        ("--budget", assignment.budget.budget.is_some()),
        ("--optimizer", optimizer.optimizer.is_some()),
        ("--momentum", optimizer.momentum.is_some()),
        ("--weight-decay", optimizer.weight_decay.is_some()),
    ];
    flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

/// The shape of one example and the number of classes of a compiled network.
pub(crate) fn input_and_classes(graph: &Graph) -> Result<(Vec<usize>, usize)> {
    let input = graph.ids().find(|&id| matches!(graph.op(id), Op::Input(_))).context("the network has no input")?;
    let shape = graph.ty(input).shape.0.iter().skip(1).map(|d| d.as_fixed().context("an input dimension varies"));
    let logits = graph.output("logits").context("the network has no class scores")?;
    let classes = graph.ty(logits).shape.get(1).and_then(|d| d.as_fixed()).context("the number of classes varies")?;
    Ok((shape.collect::<Result<_>>()?, classes))
}

/// The threads that the device options ask for.
pub(crate) fn threads(args: &DeviceArgs) -> usize {
    if args.threads == 0 { default_threads() } else { usize::from(args.threads) }
}

/// The executor that the device options ask for.
pub(crate) fn executor(args: &DeviceArgs) -> Result<Executor> {
    #[cfg(feature = "cuda")]
    let target = args.cuda.map_or(Target::Cpu, Target::Cuda);
    #[cfg(not(feature = "cuda"))]
    let target = Target::Cpu;
    Ok(Executor::new(target, usize::from(args.threads))?)
}
