//! What an assignment under a budget comes to.

use crate::output::bytes;
use bitbudget::{Certificate, Solved};
use serde::Serialize;

/// What a solver says of its solution.
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
    /// What the cost falls by, at the margin, for 10 MiB more.
    pub(crate) price_of_10_mib: f64,
    /// The estimated share of a step's time that recomputation adds.
    pub(crate) slowdown: f64,
    /// The nodes that are computed again.
    pub(crate) recomputed: usize,
}

const TEN_MIB: f64 = 10.0 * 1_048_576.0;

/// The record of what the solver says, if one was asked.
pub(crate) fn record(solved: Option<&Solved>, recomputed: usize) -> Option<SolverRecord> {
    let certificate = solved?.solver.as_ref()?;
    let Certificate { name, profile, seconds, cost, bound, price, slowdown, .. } = certificate.clone();
    let gap = certificate.gap();
    let price_of_10_mib = price * TEN_MIB;
    Some(SolverRecord { name, profile, seconds, cost, bound, gap, price_of_10_mib, slowdown, recomputed })
}

/// The same for people.
pub(crate) fn lines(solved: &Solved, recomputed: usize) -> String {
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let mut text = format!(
        "\nbudget {} ({:.1}% of FP32's {}): {} used ({:.1}%)",
        bytes(solved.budget as f64),
        percent(solved.budget, solved.fp32),
        bytes(solved.fp32 as f64),
        bytes(solved.peak as f64),
        percent(solved.peak, solved.budget)
    );
    if let Some(record) = record(Some(solved), recomputed) {
        text += &format!(
            "\n{} solver, {:.1} s, costs by {}: cost {:.4}, at least {:.4} (gap {:.1}%); {} nodes recomputed, about {:.1}% of a step; 10 \
             MiB more would save about {:.4}",
            record.name,
            record.seconds,
            record.profile.as_deref().unwrap_or("elements and mantissa bits"),
            record.cost,
            record.bound,
            100.0 * record.gap,
            record.recomputed,
            100.0 * record.slowdown,
            record.price_of_10_mib.min(record.cost)
        );
        text += &match solved.demote {
            Some(demote) => format!(
                "\ndemote on this budget: low ratio {:.2}, {} used, cost {}",
                demote.low_ratio,
                bytes(demote.peak as f64),
                demote.cost.map_or("unknown".to_string(), |cost| format!("{cost:.4}"))
            ),
            None => "\ndemote does not fit this budget".to_string(),
        };
    }
    text
}
