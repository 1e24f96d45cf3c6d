//! Assignments that fit a memory budget, by any method.

use crate::allowed::Overflowed;
use crate::error::BudgetError;
use crate::network::Network;
use crate::outcome::{Demoted, Solved};
use crate::search::Search;
use crate::setting::Budget;
use crate::step::Fp32;
use bitbudget_precision::{Assignment, Method, Setting, assign_with};

/// The assignment of a network that fits a budget, by the setting's method.
///
/// # Errors
/// If none fits, the profile lacks formats, or there is too little memory for the search.
pub fn fit(
    network: Network<'_>,
    fp32: &Fp32,
    setting: &Setting,
    budget: &Budget,
) -> Result<(Assignment, Solved), BudgetError> {
    let Network { training, batch, tensors, pinned, .. } = network;
    let Setting { method, low_ratio, formats, .. } = *setting;
    let search = Search::new(network, fp32, *setting, budget, &Overflowed::new());
    let assigned =
        |method, low_ratio| assign_with(training, batch, tensors, &Setting { method, low_ratio, ..*setting }, pinned);
    let most = fp32.base;
    let bytes = budget.bytes(most);
    let demote_allowed = method == Method::Ilp && budget.allows(&formats);
    let solved = |peak, solver, demote| Solved {
        budget: bytes,
        fp32: most,
        peak,
        solver,
        demote,
        demote_allowed,
        instead: None,
    };
    let fitting = |assignment: Assignment, peak: usize| match peak <= bytes {
        true => Ok((assignment, solved(peak, None, None))),
        false => Err(BudgetError::TooLarge { method, peak, budget: bytes, fp32: most, bound: search.bound()? }),
    };
    match method {
        Method::Ilp => {
            let widest = assigned(Method::Fp32, 0.0)?;
            let peak = search.peak(&widest)?;
            if peak <= bytes {
                let Assignment { by_level, chosen, recomputed, .. } = widest;
                let assignment =
                    Assignment::of_choices(training, batch, tensors, method, by_level, chosen, recomputed)?;
                return Ok((assignment, solved(peak, None, None)));
            }
            let (assignment, peak, certificate) = search.solved(bytes, 1.0)?;
            let demote = demote_allowed.then(|| search.demoted(Method::Demote, bytes)).transpose()?;
            let demote = demote.filter(|&(_, peak)| peak <= bytes).map(|(assignment, peak)| Demoted {
                low_ratio: assignment.low_ratio_elements(),
                peak,
                cost: search.cost(&assignment),
            });
            let instead = Some(assignment.method).filter(|&method| method != Method::Ilp);
            Ok((assignment, Solved { instead, ..solved(peak, Some(certificate), demote) }))
        }
        Method::Demote | Method::DemoteSmallest | Method::Random => {
            let (assignment, peak) = search.demoted(method, bytes)?;
            fitting(assignment, peak)
        }
        method => {
            let assignment = assigned(method, low_ratio)?;
            let peak = search.peak(&assignment)?;
            fitting(assignment, peak)
        }
    }
}
