//! The result of an assignment under a budget.

use crate::output::Rounding::{Down, Nearest};
use crate::output::{amounts, counted, percent, percents, small};
use bitbudget::{Certificate, Demoted, Solved};
use serde::Serialize;

/// A solver's certificate of its solution.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SolverRecord {
    pub(crate) name: String,
    /// The profile that the costs come from; nothing where they are the paper's preference.
    pub(crate) profile: Option<String>,
    pub(crate) seconds: f64,
    /// 100 is the harm of rounding every tensor most coarsely, plus the percents of a step's time that recomputation adds.
    pub(crate) cost: f64,
    pub(crate) bound: f64,
    pub(crate) gap: f64,
    /// The fall of the cost, at the margin, for 10 MiB more.
    pub(crate) price_of_10_mib: f64,
    /// The estimated share of a step's time that recomputation adds.
    pub(crate) slowdown: f64,
    /// The number of recomputed nodes.
    pub(crate) recomputed: usize,
}

const TEN_MIB: f64 = 10.0 * 1_048_576.0;

/// The record of the solver's certificate, if one was asked.
pub(crate) fn record(solved: Option<&Solved>, recomputed: usize) -> Option<SolverRecord> {
    let certificate = solved?.solver.as_ref()?;
    let Certificate { name, profile, seconds, cost, bound, price, slowdown, .. } = certificate.clone();
    let gap = certificate.gap();
    let price_of_10_mib = price * TEN_MIB;
    Some(SolverRecord { name, profile, seconds, cost, bound, gap, price_of_10_mib, slowdown, recomputed })
}

/// The same for people.
pub(crate) fn lines(solved: &Solved, recomputed: usize) -> String {
    let &Solved { budget, fp32, peak, demote, demote_allowed, instead, .. } = solved;
    let demoted = demote.map_or(peak, |demote| demote.peak);
    let [budget_text, fp32_text, peak_text, demoted_text] =
        amounts([budget, fp32, peak, demoted].map(|n| (n, Nearest)));
    let ([of_fp32], [of_budget]) = (percents([(budget, Nearest)], fp32), percents([(peak, Down)], budget));
    let mut text = format!(
        "\nbudget {budget_text} ({of_fp32} of FP32's {fp32_text}): {peak_text} used ({of_budget} of the budget)"
    );
    let Some(record) = record(Some(solved), recomputed) else { return text };
    text += &format!(
        "\n{} solver, {:.1} s, costs by {}: cost {}, at least {} (gap {}); ",
        record.name,
        record.seconds,
        record.profile.as_deref().unwrap_or("elements and mantissa bits"),
        small(record.cost),
        small(record.bound),
        percent(record.gap)
    );
    text += &match record.recomputed {
        0 => "nothing recomputed".to_string(),
        nodes => {
            let nodes = counted(nodes as u64, "node", "nodes");
            format!("{nodes} recomputed, {} of a step", percent(record.slowdown))
        }
    };
    if record.price_of_10_mib > 0.0 && record.cost > 0.0 {
        text += &format!("; 10 MiB more would save about {}", small(record.price_of_10_mib.min(record.cost)));
    }
    if let Some(method) = instead {
        text += &format!(
            "\nnothing fits with input and loss in FP32: this is the assignment of method {method}, which rounds them"
        );
    }
    text += &match demote {
        Some(Demoted { low_ratio, cost, .. }) => format!(
            "\ndemote on this budget: low ratio {low_ratio:.2}, {demoted_text} used, cost {}",
            cost.map_or("unknown".to_string(), small)
        ),
        None if demote_allowed => "\ndemote does not fit this budget".to_string(),
        None => "\ndemote is not compared: it rounds to formats that were not allowed".to_string(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget::Method;

    #[test]
    fn lines_hide_no_difference() {
        let certificate = Certificate {
            name: "embedded".into(),
            profile: None,
            seconds: 1.04,
            cost: 0.00002,
            bound: 0.0000199999,
            price: 0.0,
            binds: Vec::new(),
            slowdown: 0.0001,
            choices: Vec::new(),
        };
        let demote = Some(Demoted { low_ratio: 0.5, peak: 99 << 20, cost: Some(0.00004) });
        let (budget, peak, solver) = (100 << 20, (100 << 20) - 1, Some(certificate));
        let solved = Solved { budget, fp32: 200 << 20, peak, solver, demote, demote_allowed: true, instead: None };
        assert_eq!(
            lines(&solved, 2),
            "\nbudget 104,857,600 B (50.0% of FP32's 200.0 MiB): 104,857,599 B used (99.9% of the budget)\nembedded solver, 1.0 \
             s, costs by elements and mantissa bits: cost 2.0e-5, at least 2.0e-5 (gap below 0.1%); 2 nodes recomputed, \
             below 0.1% of a step\ndemote on this budget: low ratio 0.50, 103,809,024 B used, cost 4.0e-5"
        );
        let low = Solved { instead: Some(Method::UniformLow), ..solved.clone() };
        assert!(
            lines(&low, 0)
                .contains("nothing fits with input and loss in FP32: this is the assignment of method uniform-low")
        );
        let other = Solved { demote: None, demote_allowed: false, ..solved };
        assert!(
            lines(&other, 0).contains("nothing recomputed\ndemote is not compared: it rounds to formats that were not")
        );
    }
}
