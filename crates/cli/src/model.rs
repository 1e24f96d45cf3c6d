//! From arguments to a compiled trainer.

use crate::args::{AssignmentArgs, BudgetArgs, NetworkArgs, OptimizerArgs, OptimizerKind, Percent};
use crate::effect;
use crate::files::{read, read_text};
use crate::output::remark;
use crate::threads::default_threads;
use anyhow::{Context, Result, bail};
use bitbudget::onnx::{Dropout, ImportOptions, Warning, import_with};
use bitbudget::{
    Available, Budget, Compiled, FileKind, Format, Graph, Loss, Machine, Measured, Method, Model, Optimizer, Options,
    Pin, Plan, Profile, Rules, Storage, Updates, closing_function, compile, compile_as,
};
use bitbudget_train::data::{DataSpec, array_shapes};
use std::collections::BTreeMap;
use std::path::Path;

/// The content of a file.
pub(crate) enum Loaded {
    /// A network, from ONNX, and what the import warns of.
    Network(Model, Vec<Warning>),
    /// A compiled trainer.
    Trainer(Box<Compiled>),
}

/// Reads an ONNX network, of which the output `loss` is its loss where there is one, for a batch and data where these are known, or a trainer file.
///
/// # Errors
/// If the file is missing, damaged, or holds what is not supported.
pub(crate) fn load(
    path: &Path,
    network: &NetworkArgs,
    loss: Option<&str>,
    batch: Option<usize>,
    data: Option<&DataSpec>,
) -> Result<Loaded> {
    let bytes = read(path)?;
    if Compiled::recognise(&bytes) {
        let compiled = Compiled::decode(&bytes).with_context(|| path.display().to_string())?;
        if let given @ [_, ..] = network.given().as_slice() {
            let (file, given) = (path.display(), given.join(", "));
            bail!(
                "{file} is a trainer file, which holds the network as it was read: {given} can be given for an ONNX file only"
            );
        }
        return Ok(Loaded::Trainer(Box::new(compiled)));
    }
    let (needed, what) = (bytes.len().saturating_mul(5).saturating_add(LEAST), format!("importing {}", path.display()));
    drop(bytes);
    Available::now().check(&what, needed, 0, "raise the limit (`ulimit -v`, or the container's)")?;
    let arrays = match data {
        // What is wrong with the data is told where they are loaded.
        Some(DataSpec::Npz(path)) => array_shapes(path).unwrap_or_default(),
        _ => BTreeMap::new(),
    };
    let options = ImportOptions { loss: loss.map(str::to_string), arrays, batch, ..network.import_options()? };
    let imported = import_with(path, &options);
    let imported = imported.with_context(|| format!("cannot import {}", path.display()))?;
    Ok(Loaded::Network(imported.model, imported.warnings))
}

/// Writes what the user should know of a network's file to standard error, a line per kind.
pub(crate) fn warn(warnings: &[Warning], forward: &Graph, loss: &Loss, network: &NetworkArgs) {
    if let Some((operator, name)) = closing_function(forward, loss) {
        remark(
            "note",
            format!(
                "the network ends in {operator} (`{name}`): {loss} applies its own, so the loss is that of the scores \
                 before it; a saved network keeps it"
            ),
        );
    }
    if network.dropout == Dropout::On && !forward.ids().any(|id| forward.op(id).name() == "dropout") {
        remark(
            "warning",
            "--dropout on has no effect: the file has no dropout, which exporters leave out in evaluation mode; export the network in training \
             mode (training=torch.onnx.TrainingMode.TRAINING)",
        );
    }
    for warning in warnings {
        let kind = if warning.kind.is_note() { "note" } else { "warning" };
        remark(kind, if network.verbose { warning.full() } else { warning.to_string() });
    }
}

/// Warns of scores that no label can change, and of those of which classes and steps could be confused unless the network tells them.
fn warn_of_scores(compiled: &Compiled, tells_classes: bool) {
    let Loss::CrossEntropy { axis, .. } = compiled.loss() else { return };
    let Ok(interface) = compiled.interface() else { return };
    let [target] = interface.targets.as_slice() else { return };
    let classes = interface.classes;
    if axis.is_none() && !tells_classes && classes > 1 && target.shape.len() == 2 && target.shape[1] == classes {
        remark(
            "note",
            format!(
                "The last of two dimensions of {classes} is taken for the classes; where it is the other one, give --class-axis 1."
            ),
        );
    }
    if classes == 1 {
        remark(
            "warning",
            "the network has one score for each example, whose cross-entropy is always 0: train it with --loss bce (truth values) or \
             --loss mse (numbers)",
        );
    }
}

/// Bytes that the smallest network takes until it is compiled, and what each node of a network adds; a search takes more.
const LEAST: usize = 12 << 20;
const NODE: usize = 32 << 10;

/// The requests of a command to the compiler beside its precision and optimizer options.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The data that the network is to take, which bind sizes that it leaves open.
    pub(crate) data: Option<&'a DataSpec>,
    /// The seed of random choices, if one is given.
    pub(crate) seed: Option<u64>,
    /// The method if none is given.
    pub(crate) method: Method,
    /// Whether warnings of the import are left out; else they go to standard error.
    pub(crate) quiet: bool,
    pub(crate) storage: Storage,
    pub(crate) updates: Updates,
    /// Whether parameters are updated; otherwise the network is evaluated.
    pub(crate) is_trained: bool,
    /// Threads of the run, whose scratch memory counts in a budget.
    pub(crate) threads: usize,
    /// The machine that programs are made for.
    pub(crate) machine: Machine,
}

impl Default for Request<'_> {
    fn default() -> Self {
        let (storage, updates) = (Storage::Packed, Updates::IfFinite);
        let (method, threads) = (Method::Demote, default_threads());
        let (data, seed, quiet, is_trained, machine) = (None, None, false, true, Machine::Cpu);
        Request { data, seed, method, quiet, storage, updates, is_trained, threads, machine }
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
    request: Request<'_>,
) -> Result<Compiled> {
    Ok(compiled_from(path, assignment, optimizer, request, None)?.0)
}

/// The same by the settings of the assignment file `from` where options give no others; with the options that a network was
/// compiled with.
///
/// # Errors
/// As for [`compiled`].
pub(crate) fn compiled_from(
    path: &Path,
    assignment: &AssignmentArgs,
    optimizer: &OptimizerArgs,
    request: Request<'_>,
    from: Option<&Path>,
) -> Result<(Compiled, Option<Options>)> {
    let (used, from_plan) = (assignment.assignment.as_deref().map(plan), from.map(plan));
    let planned =
        from_plan.as_ref().or(used.as_ref()).and_then(|plan| plan.as_ref().ok()).map(|plan| plan.options(1).loss);
    let own_loss = match (assignment.loss.output(), &planned) {
        (Some(name), _) => Some(name),
        (None, Some(Loss::Output { name })) => Some(name.as_str()),
        _ => None,
    };
    let (model, warnings) = match load(path, &assignment.network, own_loss, assignment.batch, request.data)? {
        Loaded::Network(model, warnings) => (model, warnings),
        Loaded::Trainer(compiled) => {
            let mut given = effect::fixed(assignment, optimizer);
            given.extend((request.storage != Storage::Packed).then(|| "--simulated".to_string()));
            given.extend(from.map(|_| "--from".to_string()));
            if !given.is_empty() {
                let given = given.join(", ");
                bail!("{} is a trainer file, which fixes {given}; compile the network again", path.display());
            }
            return Ok((*compiled, None));
        }
    };
    let (needed, what) = (LEAST + NODE * model.graph.len(), format!("compiling {}", path.display()));
    Available::now().check(&what, needed, 0, "raise the limit (`ulimit -v`, or the container's)")?;
    effect::check_settled(assignment)?;
    let (used, from) = (used.transpose()?, from_plan.transpose()?);
    let mut options = options(assignment, optimizer, request, from.as_ref().or(used.as_ref()))?;
    options.batch = assignment.batch.or(model.graph.fixed_batch()).unwrap_or(options.batch);
    let tells_classes = closing_function(&model.graph, &options.loss).is_some();
    let compiled = match &used {
        Some(plan) => compile_as(model, &options, plan),
        None => compile(model, &options),
    };
    let compiled = compiled.with_context(|| format!("cannot compile {}", path.display()))?;
    if !request.quiet {
        warn(&warnings, &compiled.forward, compiled.loss(), &assignment.network);
        warn_of_scores(&compiled, tells_classes);
    }
    Ok((compiled, Some(options)))
}

/// Reads an assignment file.
///
/// # Errors
/// If it is missing, or not an assignment.
fn plan(path: &Path) -> Result<Plan> {
    let kind = FileKind::of(path)?;
    let text = read_text(path)?;
    Plan::read(&text, kind).with_context(|| path.display().to_string())
}

/// The options that are given, then those of a plan, then the defaults.
pub(crate) fn options(
    args: &AssignmentArgs,
    optimizer: &OptimizerArgs,
    request: Request<'_>,
    plan: Option<&Plan>,
) -> Result<Options> {
    let mut options = match plan {
        Some(plan) => plan.options(request.threads),
        None => Options { method: request.method, ..Options::default() },
    };
    options.optimizer = self::optimizer(optimizer, options.optimizer)?;
    options.loss = args.loss.loss(options.loss)?;
    (options.updates, options.storage) = (request.updates, request.storage);
    (options.threads, options.machine) = (request.threads, request.machine);
    options.rewrite = rules(args);
    options.seed = request.seed.unwrap_or(options.seed);
    options.budget = budget(&args.budget, options.budget, plan.and_then(Plan::profile), request.threads)?;
    let method = if options.budget.is_some() && plan.is_none() { Method::Ilp } else { options.method };
    options.method = args.method.unwrap_or(method);
    options.batch = args.batch.unwrap_or(options.batch);
    options.low_ratio = args.low_ratio.unwrap_or(options.low_ratio);
    if let Some(high) = args.high {
        // As in the paper, gradients of parameters stay in the high format.
        (options.formats.high, options.formats.low_parameter_gradient) = (high, high);
    }
    options.formats.low_forward = args.low_forward.unwrap_or(options.formats.low_forward);
    options.formats.low_backward = args.low_backward.unwrap_or(options.formats.low_backward);
    let pinned = args.pin.iter().map(|pin| Pin { pattern: pin.pattern.clone(), formats: Some(pin.formats) });
    let excluded = args.exclude.iter().map(|pattern| Pin { pattern: pattern.clone(), formats: None });
    let given: Vec<Pin> = pinned.chain(excluded).collect();
    options.pins.retain(|pin| given.iter().all(|given| given.pattern != pin.pattern));
    options.pins.extend(given);
    effect::check(args, optimizer, &options, request.is_trained)?;
    Ok(options)
}

/// The rules that the options allow.
fn rules(args: &AssignmentArgs) -> Option<Rules> {
    let allowed = if args.allow_reassociation { Rules::Reassociating } else { Rules::Exact };
    (!args.no_rewrite).then_some(allowed)
}

/// The budget that the options ask for, or that of a plan with its profile.
fn budget(args: &BudgetArgs, planned: Option<Budget>, profile: Option<&str>, threads: usize) -> Result<Option<Budget>> {
    let mut budget = match (args.budget, planned) {
        (Some(limit), Some(budget)) => Budget { limit, ..budget },
        (Some(limit), None) => Budget::new(limit, threads),
        (None, Some(budget)) => budget,
        (None, None) => match effect::for_budget(args).as_slice() {
            [] => return Ok(None),
            given => bail!("only with a budget: {}; give one with --budget <SIZE>", given.join(", ")),
        },
    };
    if !args.choice.formats.is_empty() {
        budget.forward = distinct(&args.choice.formats);
    }
    if !args.choice.backward_formats.is_empty() {
        budget.backward = distinct(&args.choice.backward_formats);
    }
    budget.granularity = args.granularity.unwrap_or(budget.granularity);
    if let Some(path) = args.profile.as_deref().or(profile.map(Path::new)) {
        let bytes = read(path)?;
        let profile = Profile::read(&bytes).with_context(|| path.display().to_string())?;
        budget.measured = Some(Measured { name: path.display().to_string(), profile });
    }
    budget.recompute &= !args.no_recompute;
    budget.time_weight = args.time_weight.unwrap_or(budget.time_weight);
    budget.engine = args.solver.unwrap_or(budget.engine);
    budget.seconds = args.solve_seconds.unwrap_or(budget.seconds);
    budget.max_slowdown = args.max_slowdown.map(|Percent(share)| share).or(budget.max_slowdown);
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

/// The optimizer that the options ask for; what they leave out is as in `planned`, or by default where the rule is another.
fn optimizer(args: &OptimizerArgs, planned: Optimizer) -> Result<Optimizer> {
    let chosen = match (args.optimizer, planned) {
        (None, planned) => planned,
        (Some(OptimizerKind::Sgd), Optimizer::Sgd { .. }) | (Some(OptimizerKind::Adamw), Optimizer::AdamW { .. }) => {
            planned
        }
        (Some(OptimizerKind::Sgd), _) => Optimizer::sgd(),
        (Some(OptimizerKind::Adamw), _) => Optimizer::adamw(),
    };
    match chosen {
        Optimizer::Sgd { momentum, weight_decay } => Ok(Optimizer::Sgd {
            momentum: args.momentum.unwrap_or(momentum),
            weight_decay: args.weight_decay.unwrap_or(weight_decay),
        }),
        Optimizer::AdamW { .. } if args.momentum.is_some() => bail!("--momentum is an option of sgd, not of adamw"),
        Optimizer::AdamW { betas, epsilon, weight_decay } => {
            Ok(Optimizer::AdamW { betas, epsilon, weight_decay: args.weight_decay.unwrap_or(weight_decay) })
        }
    }
}
