//! Why there is no assignment that fits.

use crate::available::MemoryError;
use bitbudget_formats::Format;
use bitbudget_precision::{AssignError, Method};
use bitbudget_report::Rounding::{Down, Nearest, Up};
use bitbudget_report::{amounts, counted, percents};
use std::error::Error;

/// Why the compiler cannot build a step.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Why no assignment fits. Memory is in bytes; `fp32` is the FP32 assignment's peak.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// No assignment fits, which is proven.
    #[error("no assignment fits {}", .0.text())]
    Infeasible(Box<Shortage>),
    /// No assignment that fits was found, and none is proven impossible.
    #[error("found no assignment that fits {}", .0.text())]
    Unknown(Box<Shortage>),
    /// A method without choices does not fit.
    #[error("method {method} takes {}; use method ilp, or a larger budget", above(*peak, *budget, *fp32))]
    TooLarge {
        /// The method.
        method: Method,
        /// What it takes.
        peak: usize,
        /// The budget.
        budget: usize,
        /// FP32's peak.
        fp32: usize,
    },
    /// An assignment that was given does not fit.
    #[error(
        "the assignment takes {}{}; give tensors narrower formats or recompute more of them, give a larger budget or none, or \
         solve again with `bitbudget assign --from`",
        above(*peak, *budget, *fp32),
        with_fewer(*threads, *fits)
    )]
    Exceeded {
        /// What it takes.
        peak: usize,
        /// The budget.
        budget: usize,
        /// FP32's peak.
        fp32: usize,
        /// Threads of the run, each of which has scratch memory.
        threads: usize,
        /// The most threads with which it fits; `None` if it does not with any number of fewer ones.
        fits: Option<usize>,
    },
    /// A trainer that was compiled for fewer threads does not fit.
    #[error("with {} {}", threads_text(*threads), too_many(*threads, *peak, *budget, *fits))]
    Threads {
        /// The threads that were asked for.
        threads: usize,
        /// What a step takes with these.
        peak: usize,
        /// The budget.
        budget: usize,
        /// The most threads with which it fits; `None` if it does not with any number of fewer ones.
        fits: Option<usize>,
    },
    /// The profile does not tell what formats cost.
    #[error(
        "the profile does not tell what rounding to {} costs; measure again with `bitbudget profile --formats`, or leave them \
         out",
        formats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Profile {
        /// The formats.
        formats: Vec<Format>,
    },
    /// The search has too little memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The integer program cannot be solved.
    #[error(transparent)]
    Solver(#[from] bitbudget_solver::SolverError),
    /// There is nothing to assign, or the setting is wrong.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The compiler cannot build a step.
    #[error(transparent)]
    Build(Failure),
}

/// What is known where no assignment that fits was found. Memory is in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The budget.
    pub budget: usize,
    /// FP32's peak.
    pub fp32: usize,
    /// The smallest peak that was found, if any was.
    pub smallest: Option<usize>,
    /// No assignment takes less in the order of steps in which FP32 is computed.
    pub bound: usize,
    /// What masters and optimizer state take in every assignment.
    pub kept: usize,
    /// What kernels' workspace and scratch memory take at the smallest peak that was found.
    pub kernels: usize,
    /// Threads of the run, each of which has scratch memory.
    pub threads: usize,
    /// What the steps compute at which the memory is needed.
    pub dominated: Vec<String>,
    /// Whether tensors may be recomputed.
    pub recompute: bool,
}

impl Shortage {
    /// The budget, and what is known of it.
    fn text(&self) -> String {
        let Shortage { budget, fp32, smallest, bound, kept, kernels, threads, .. } = *self;
        let needed = smallest.unwrap_or(bound);
        let all = [(budget, Nearest), (needed, Up), (bound, Down)];
        let [budget_share, needed_share, bound_share] = percents(all, fp32);
        let [budget_text, needed_text, bound_text, kept_text, kernels_text] =
            amounts([all[0], all[1], all[2], (kept, Nearest), (kernels, Nearest)]);
        let proven = format!("below {bound_text} ({bound_share}) is proven impossible in this order of steps");
        let found = match smallest {
            None => format!("the search found none at all in its time; {proven}"),
            Some(least) if least == bound => {
                format!("the smallest possible one in this order of steps needs {needed_text} ({needed_share})")
            }
            Some(_) if bound <= budget => {
                format!("the smallest found needs {needed_text} ({needed_share}); only {proven}")
            }
            Some(_) => format!("the smallest found needs {needed_text} ({needed_share}); {proven}"),
        };
        let mut advice: Vec<String> = smallest.map(|_| format!("give {needed_text} or more")).into_iter().collect();
        if bound <= budget || smallest.is_none() {
            advice.push("allow more time".into());
        }
        advice.push("allow narrower formats".into());
        if !self.recompute {
            advice.push("allow recomputation".into());
        }
        // In very small networks what kernels take beside tensors is most of it.
        let are_most = smallest.is_some_and(|least| kernels > least / 2);
        if are_most && threads > 1 {
            advice.push("run with fewer threads (`--threads 1`)".into());
        }
        let beside = match (are_most, threads) {
            (false, _) => String::new(),
            (true, 1) => format!(", kernels' workspace and scratch memory {kernels_text}"),
            (true, _) => format!(", kernels' workspace and the scratch memory of {threads} threads {kernels_text}"),
        };
        if budget > kept {
            advice.push("try other methods (their steps come in another order)".into());
        }
        let (alone, less) = match budget <= kept {
            true => ("alone ", "take a smaller network or an optimizer with less state"),
            false => ("", "use a smaller batch"),
        };
        format!(
            "{budget_text} ({budget_share} of FP32's peak): {found}. The peak is at {}. Masters and optimizer state {alone}take \
             {kept_text}{beside}. What helps: {}, or {less}",
            self.dominated.join("; "),
            advice.join(", ")
        )
    }
}

fn threads_text(threads: usize) -> String {
    counted(threads as u64, "thread", "threads")
}

/// That an assignment fits with fewer threads, if it does.
fn with_fewer(threads: usize, fits: Option<usize>) -> String {
    let fits = fits.map(|fits| format!(" with {}; it fits with `--threads {fits}`", threads_text(threads)));
    fits.unwrap_or_default()
}

/// What a trainer takes with too many threads, and what to do.
fn too_many(threads: usize, peak: usize, budget: usize, fits: Option<usize>) -> String {
    let [peak, budget] = amounts([(peak, Up), (budget, Nearest)]);
    let fewer = fits.map_or(String::new(), |fits| format!("run with `--threads {fits}`, or "));
    format!(
        "a training step takes {peak}, more than the budget of {budget} that the trainer file was compiled for; {fewer}compile \
         the network again with `--threads {threads}`"
    )
}

/// A peak above a budget.
fn above(peak: usize, budget: usize, fp32: usize) -> String {
    let all = [(peak, Up), (budget, Nearest)];
    let ([peak_share, budget_share], [peak, budget]) = (percents(all, fp32), amounts(all));
    format!("{peak} ({peak_share} of FP32's peak), more than the budget of {budget} ({budget_share})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn shortage() -> Shortage {
        Shortage {
            budget: 30 * MIB,
            fp32: 400 * MIB,
            smallest: Some(162 * MIB),
            bound: 150 * MIB,
            kept: 98 * MIB,
            kernels: 3 * MIB,
            threads: 2,
            dominated: vec!["conv `a`".into(), "relu `b`".into()],
            recompute: true,
        }
    }

    #[test]
    fn messages_say_what_is_needed_proven_and_what_to_do() {
        let infeasible = |shortage: Shortage| BudgetError::Infeasible(Box::new(shortage)).to_string();
        assert_eq!(
            infeasible(shortage()),
            "no assignment fits 30.0 MiB (7.5% of FP32's peak): the smallest found needs 162.0 MiB (40.5%); below 150.0 MiB \
             (37.5%) is proven impossible in this order of steps. The peak is at conv `a`; relu `b`. Masters and optimizer \
             state alone take 98.0 MiB. What helps: give 162.0 MiB or more, allow narrower formats, or take a smaller \
             network or an optimizer with less state"
        );
        let near = Shortage {
            budget: 943_718,
            smallest: Some(944_000),
            bound: 944_000,
            kept: 400_000,
            kernels: 0,
            ..shortage()
        };
        assert_eq!(
            infeasible(Shortage { fp32: 2_000_000, recompute: false, ..near }),
            "no assignment fits 921.6 KiB (47.19% of FP32's peak): the smallest possible one in this order of steps \
             needs 921.9 KiB (47.20%). The peak is at conv `a`; relu `b`. Masters and optimizer state take 390.6 KiB. What \
             helps: give 921.9 KiB or more, allow narrower formats, allow recomputation, try \
             other methods (their steps come in another order), or use a smaller batch"
        );
        let tiny = Shortage { budget: 480 << 10, smallest: Some(520 << 10), bound: 500 << 10, kept: 700, ..shortage() };
        let tiny = |threads| Shortage { fp32: 600 << 10, kernels: 514 << 10, threads, ..tiny.clone() };
        let (one, two) = (infeasible(tiny(1)), infeasible(tiny(2)));
        assert!(one.contains("take 700 B, kernels' workspace and scratch memory 514.0 KiB. What helps"), "{one}");
        assert!(!one.contains("--threads"), "{one}");
        assert!(two.contains("kernels' workspace and the scratch memory of 2 threads 514.0 KiB. What helps"), "{two}");
        assert!(two.contains("run with fewer threads (`--threads 1`)"), "{two}");
        assert_eq!(
            BudgetError::Unknown(Box::new(Shortage { budget: 155 * MIB, ..shortage() })).to_string(),
            "found no assignment that fits 155.0 MiB (38.8% of FP32's peak): the smallest found needs 162.0 MiB (40.5%); only \
             below 150.0 MiB (37.5%) is proven impossible in this order of steps. The peak is at conv `a`; relu `b`. Masters \
             and optimizer state take 98.0 MiB. What helps: give 162.0 MiB or more, allow more time, allow narrower formats, \
             try other methods (their steps come in another order), or use a smaller batch"
        );
        let exceeded =
            |fits| BudgetError::Exceeded { peak: 12 * MIB, budget: 10 * MIB, fp32: 20 * MIB, threads: 4, fits };
        let (some, none) = (exceeded(Some(2)).to_string(), exceeded(None).to_string());
        assert!(
            some.contains("the budget of 10.0 MiB (50.0%) with 4 threads; it fits with `--threads 2`; give tensors"),
            "{some}"
        );
        assert!(none.contains("the budget of 10.0 MiB (50.0%); give tensors"), "{none}");
        let threads = |fits| BudgetError::Threads { threads: 4, peak: 12 * MIB, budget: 10 * MIB, fits }.to_string();
        assert_eq!(
            threads(Some(1)),
            "with 4 threads a training step takes 12.0 MiB, more than the budget of 10.0 MiB that the trainer file was compiled \
             for; run with `--threads 1`, or compile the network again with `--threads 4`"
        );
        assert!(threads(None).contains("compiled for; compile the network again"));
        let error =
            BudgetError::TooLarge { method: Method::Fp32, peak: 10 * MIB + 1, budget: 10 * MIB, fp32: 10 * MIB + 1 };
        assert_eq!(
            error.to_string(),
            "method fp32 takes 10,485,761 B (100.000% of FP32's peak), more than the budget of 10,485,760 B (100.000%); use \
             method ilp, or a larger budget"
        );
    }
}
