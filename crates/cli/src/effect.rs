//! Options that have an effect only with certain methods, or with a budget: given without these, they are refused.

use crate::args::{AssignmentArgs, BudgetArgs, OptimizerArgs, PrecisionArgs};
use anyhow::{Result, bail};
use bitbudget::Method;
use bitbudget::Options;

/// An option that was given, with its name.
type Given<A> = (&'static str, fn(&A) -> bool);

const FOR_BUDGET: [Given<BudgetArgs>; 9] = [
    ("--formats", |args| !args.choice.formats.is_empty()),
    ("--backward-formats", |args| !args.choice.backward_formats.is_empty()),
    ("--profile", |args| args.profile.is_some()),
    ("--granularity", |args| args.granularity.is_some()),
    ("--no-recompute", |args| args.no_recompute),
    ("--time-weight", |args| args.time_weight.is_some()),
    ("--max-slowdown", |args| args.max_slowdown.is_some()),
    ("--solver", |args| args.solver.is_some()),
    ("--solve-seconds", |args| args.solve_seconds.is_some()),
];

const OF_OPTIMIZER: [Given<OptimizerArgs>; 3] = [
    ("--optimizer", |args| args.optimizer.is_some()),
    ("--momentum", |args| args.momentum.is_some()),
    ("--weight-decay", |args| args.weight_decay.is_some()),
];

/// Methods that give tensors the high format, and those that give them the low one.
const HIGH: [Method; 7] = [
    Method::UniformHigh,
    Method::UniformLow,
    Method::Operator,
    Method::Amp,
    Method::Demote,
    Method::DemoteSmallest,
    Method::Random,
];
const LOW: [Method; 6] =
    [Method::UniformLow, Method::Operator, Method::Amp, Method::Demote, Method::DemoteSmallest, Method::Random];
/// Methods that demote groups until a share is low.
const SHARE: [Method; 3] = [Method::Demote, Method::DemoteSmallest, Method::Random];

/// The options of a table that were given.
fn given<A>(table: &[Given<A>], args: &A) -> Vec<&'static str> {
    table.iter().filter(|(_, is_given)| is_given(args)).map(|(name, _)| *name).collect()
}

/// The given options that a trainer file fixes.
pub(crate) fn fixed(assignment: &AssignmentArgs, optimizer: &OptimizerArgs) -> Vec<&'static str> {
    const OF_ASSIGNMENT: [Given<AssignmentArgs>; 12] = [
        ("--batch", |args| args.batch.is_some()),
        ("--method", |args| args.method.is_some()),
        ("--low-ratio", |args| args.low_ratio.is_some()),
        ("--high", |args| args.high.is_some()),
        ("--low-forward", |args| args.low_forward.is_some()),
        ("--low-backward", |args| args.low_backward.is_some()),
        ("--pin", |args| !args.pin.is_empty()),
        ("--exclude", |args| !args.exclude.is_empty()),
        ("--assignment", |args| args.assignment.is_some()),
        ("--no-rewrite", |args| args.no_rewrite),
        ("--allow-reassociation", |args| args.allow_reassociation),
        ("--budget", |args| args.budget.budget.is_some()),
    ];
    let all =
        [given(&OF_ASSIGNMENT, assignment), given(&OF_OPTIMIZER, optimizer), given(&FOR_BUDGET, &assignment.budget)];
    all.concat()
}

/// The given options that need a budget.
pub(crate) fn for_budget(args: &BudgetArgs) -> Vec<&'static str> {
    given(&FOR_BUDGET, args)
}

/// Refuses given options that have no effect with the method and the budget that were settled on; the optimizer has one in an
/// evaluation only through the budget of a step.
///
/// # Errors
/// If there are such options: they are named, with the methods that have them.
pub(crate) fn check(
    args: &AssignmentArgs,
    optimizer: &OptimizerArgs,
    options: &Options,
    is_trained: bool,
) -> Result<()> {
    let method = options.method;
    let refuse = |methods: &[Method], given: &[&str]| match given.is_empty() || methods.contains(&method) {
        true => Ok(()),
        false => bail!("only with {}: {}; the method is {method}", list(methods), given.join(", ")),
    };
    if options.budget.is_some() {
        refuse(&[Method::Ilp], &for_budget(&args.budget))?;
    } else if !is_trained {
        let given = given(&OF_OPTIMIZER, optimizer);
        if !given.is_empty() {
            bail!("only with a budget, or in a training: {}; an evaluation has no updates", given.join(", "));
        }
    }
    // An excluded tensor gets the high format with every method of formats by level.
    let is_excluded = method == Method::Fp32 && !args.exclude.is_empty();
    refuse(&HIGH, args.high.filter(|_| !is_excluded).map(|_| "--high").as_slice())?;
    let low = [("--low-forward", args.low_forward), ("--low-backward", args.low_backward)];
    let low: Vec<&str> = low.iter().filter(|(_, format)| format.is_some()).map(|(name, _)| *name).collect();
    refuse(&LOW, &low)?;
    let share = args.low_ratio.map(|_| "--low-ratio");
    refuse(&SHARE, share.as_slice())?;
    if share.is_some() && options.budget.is_some() {
        bail!("only without a budget: --low-ratio; with one, method {method} demotes as much as the budget asks for");
    }
    Ok(())
}

/// Refuses given options of a comparison that have no effect with any of its methods.
///
/// # Errors
/// If there are such options.
pub(crate) fn check_comparison(methods: &[Method], args: &PrecisionArgs) -> Result<()> {
    const OF_ILP: [Given<PrecisionArgs>; 2] =
        [("--no-recompute", |args| args.no_recompute), ("--max-slowdown", |args| args.max_slowdown.is_some())];
    let given = given(&OF_ILP, args);
    match given.is_empty() || methods.contains(&Method::Ilp) {
        true => Ok(()),
        false => bail!("only with method ilp: {}; it is not among --methods", given.join(", ")),
    }
}

/// Methods as a sentence lists them.
fn list(methods: &[Method]) -> String {
    let names: Vec<String> = methods.iter().map(Method::to_string).collect();
    let word = if names.len() == 1 { "method" } else { "methods" };
    match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{word} {} and {last}", first.join(", ")),
        _ => format!("{word} {}", names.concat()),
    }
}
