//! Options that have an effect only with certain methods, or with a budget: given without these, they are refused.
//!
//! Clap tells which options there are and which were given, and methods tell what they use. A new option is refused wherever the
//! lists below do not say that it has an effect.

use crate::args::{AssignmentArgs, BudgetArgs, CompareArgs, NetworkArgs, OptimizerArgs, PrecisionArgs, options_of};
use anyhow::{Result, bail};
use bitbudget::{Method, Options, Uses};

/// The options of an assignment that go with an assignment file too.
const OF_ANY: [&str; 4] = ["batch", "assignment", "no_rewrite", "allow_reassociation"];

/// The ids of options, and what a method uses of them.
type ByUse = (&'static [&'static str], fn(Uses) -> bool);

/// The options that have an effect with methods that use something.
const BY_USE: [ByUse; 3] = [
    (&["high"], |uses| uses.high),
    (&["low_forward", "low_backward"], |uses| uses.low),
    (&["low_ratio"], |uses| uses.ratio),
];

/// The options of a comparison that have an effect with any method: costs are counted in the formats of method ilp.
const OF_ANY_IN_COMPARISON: [&str; 6] = ["batch", "formats", "backward_formats", "profile", "pin", "exclude"];

/// Whether an option says how a network's file is read, which decides no assignment.
fn is_of_network(id: &str) -> bool {
    options_of::<NetworkArgs>().iter().any(|option| option.id == id)
}

/// The given options that a trainer file fixes: all that decide an assignment or an update.
pub(crate) fn fixed(assignment: &AssignmentArgs, optimizer: &OptimizerArgs) -> Vec<String> {
    let of_assignment = assignment.given.of::<AssignmentArgs>(|id| !is_of_network(id));
    [of_assignment, optimizer.given.of::<OptimizerArgs>(|_| true)].concat()
}

/// Refuses given options that an assignment file settles.
///
/// # Errors
/// If there are such options.
pub(crate) fn check_settled(args: &AssignmentArgs) -> Result<()> {
    let given = args.given.of::<AssignmentArgs>(|id| !is_of_network(id) && !OF_ANY.contains(&id));
    match args.assignment.is_none() || given.is_empty() {
        true => Ok(()),
        false => bail!(
            "--assignment cannot be used with {}, which the file settles; edit the file, or solve again with \
             `bitbudget assign --from`",
            given.join(", ")
        ),
    }
}

/// The given options that need a budget.
pub(crate) fn for_budget(args: &BudgetArgs) -> Vec<String> {
    args.given.of::<BudgetArgs>(|id| id != "budget")
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
    let refuse = |uses: fn(Uses) -> bool, given: &[String]| match given.is_empty() || uses(method.uses()) {
        true => Ok(()),
        false => bail!("only with {}: {}; the method is {method}", those_that_use(uses), given.join(", ")),
    };
    if options.budget.is_some() {
        refuse(|uses| uses.search, &for_budget(&args.budget))?;
    } else if !is_trained {
        let given = optimizer.given.of::<OptimizerArgs>(|_| true);
        if !given.is_empty() {
            bail!("only with a budget, or in a training: {}; an evaluation has no updates", given.join(", "));
        }
    }
    for (ids, uses) in BY_USE {
        // An excluded tensor gets the high format with every method of formats by level.
        let is_excluded = |id: &str| id == "high" && method == Method::Fp32 && !args.exclude.is_empty();
        refuse(uses, &args.given.of::<AssignmentArgs>(|id| ids.contains(&id) && !is_excluded(id)))?;
    }
    let ratio = args.given.of::<AssignmentArgs>(|id| id == "low_ratio");
    if !ratio.is_empty() && options.budget.is_some() {
        bail!(
            "only without a budget: {}; with one, method {method} demotes as much as the budget asks for",
            ratio.join(", ")
        );
    }
    Ok(())
}

/// Refuses given options of a comparison that have no effect with any of its methods.
///
/// # Errors
/// If there are such options.
pub(crate) fn check_comparison(args: &CompareArgs) -> Result<()> {
    let refuse = |uses: fn(Uses) -> bool, given: &[String]| match given.is_empty()
        || args.methods.iter().any(|method| uses(method.uses()))
    {
        true => Ok(()),
        false => {
            let methods: Vec<&str> = args.methods.iter().map(|method| method.name()).collect();
            bail!("only with {}: {}; --methods is {}", those_that_use(uses), given.join(", "), methods.join(","))
        }
    };
    let of_precision = args.given.of::<PrecisionArgs>(|id| !OF_ANY_IN_COMPARISON.contains(&id));
    refuse(|uses| uses.search, &of_precision)?;
    refuse(|uses| uses.budget, &args.given.of::<CompareArgs>(|id| id == "budgets"))
}

/// The methods that use something, as a sentence lists them.
fn those_that_use(uses: fn(Uses) -> bool) -> String {
    let methods = Method::ALL.into_iter().filter(|method| uses(method.uses()));
    let names: Vec<String> = methods.map(|method| method.to_string()).collect();
    let word = if names.len() == 1 { "method" } else { "methods" };
    match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{word} {} and {last}", first.join(", ")),
        _ => format!("{word} {}", names.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::LossArgs;

    fn ids<A: clap::Args>() -> Vec<String> {
        options_of::<A>().into_iter().map(|option| option.id.to_string()).collect()
    }

    /// Every option is in one list, so that what a new one has an effect with must be said.
    #[test]
    fn every_option_has_a_place() {
        let (of_budget, of_loss) = (ids::<BudgetArgs>(), ids::<LossArgs>());
        let by_use: Vec<&str> = BY_USE.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        let placed = |id: &str| {
            let lists: [&[&str]; 3] = [&OF_ANY, &by_use, &["method", "pin", "exclude"]];
            let named = lists.iter().filter(|list| list.contains(&id)).count();
            let of_loss = of_loss.iter().any(|other| other == id);
            named
                + usize::from(is_of_network(id))
                + usize::from(of_loss)
                + usize::from(of_budget.iter().any(|other| other == id))
        };
        let (of_assignment, of_comparison) = (ids::<AssignmentArgs>(), ids::<PrecisionArgs>());
        for id in &of_assignment {
            assert_eq!(placed(id), 1, "{id}");
        }
        for id in OF_ANY.iter().chain(&by_use).chain(&OF_ANY_IN_COMPARISON) {
            assert!(of_assignment.iter().chain(&of_comparison).any(|other| other == id), "there is no option {id}");
        }
    }
}
