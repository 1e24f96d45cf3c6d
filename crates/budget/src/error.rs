//! Why there is no assignment that fits.

use crate::available::MemoryError;
use bitbudget_formats::Format;
use bitbudget_precision::{AssignError, Method};
use bitbudget_report::Rounding::{self, Down, Nearest, Up};
use bitbudget_report::{amounts, counted, percents};
use std::error::Error;
use std::fmt;

/// Why the compiler cannot build a step.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Why no assignment fits. Memory is in bytes; `fp32` is the FP32 assignment's peak.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// No assignment fits, which is proven.
    Infeasible(Box<Shortage>),
    /// No assignment that fits was found, and none is proven impossible.
    Unknown(Box<Shortage>),
    /// A method without choices does not fit.
    TooLarge {
        /// The method.
        method: Method,
        /// Its bytes.
        peak: usize,
        /// The budget.
        budget: usize,
        /// FP32's peak.
        fp32: usize,
        /// Method ilp takes no less in the order of steps in which FP32 is computed.
        bound: usize,
    },
    /// An assignment that was given does not fit.
    Exceeded {
        /// Its bytes.
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
    Threads {
        /// The threads that were asked for.
        threads: usize,
        /// The bytes of a step with these.
        peak: usize,
        /// The budget.
        budget: usize,
        /// The most threads with which it fits; `None` if it does not with any number of fewer ones.
        fits: Option<usize>,
    },
    /// A trainer that was compiled for another kind of machine does not fit.
    Machine {
        /// The kind of machine that was asked for.
        machine: String,
        /// The bytes of a step there.
        peak: usize,
        /// The budget.
        budget: usize,
    },
    /// The profile does not tell what formats cost.
    Profile {
        /// The formats.
        formats: Vec<Format>,
    },
    /// The search has too little memory.
    Memory(#[from] MemoryError),
    /// The integer program cannot be solved.
    Solver(#[from] bitbudget_solver::SolverError),
    /// There is nothing to assign, or the setting is wrong.
    Assign(#[from] AssignError),
    /// The compiler cannot build a step.
    Build(#[source] Failure),
}

impl BudgetError {
    /// Where: the step at which most is needed, the method, the run's threads, what takes memory.
    pub fn place(&self) -> Option<String> {
        match self {
            BudgetError::Infeasible(shortage) | BudgetError::Unknown(shortage) => shortage.dominated.first().cloned(),
            BudgetError::TooLarge { method, .. } => Some(format!("method {method}")),
            BudgetError::Exceeded { .. } => Some("the assignment".to_string()),
            BudgetError::Threads { threads, .. } => Some(threads_text(*threads)),
            BudgetError::Machine { machine, .. } => Some(machine.clone()),
            BudgetError::Profile { .. } => Some("the profile".to_string()),
            BudgetError::Memory(error) => Some(error.what.clone()),
            BudgetError::Assign(error) => Some(error.place()),
            BudgetError::Solver(_) => Some("the solver".to_string()),
            BudgetError::Build(_) => None,
        }
    }

    /// The fault, and the evidence.
    pub fn reason(&self) -> String {
        match self {
            BudgetError::Infeasible(shortage) => format!("no assignment fits {}", shortage.reason()),
            BudgetError::Unknown(shortage) => format!("found no assignment that fits {}", shortage.reason()),
            &BudgetError::TooLarge { method, peak, budget, fp32, .. } => {
                format!("method {method} takes {}", above(peak, budget, fp32))
            }
            &BudgetError::Exceeded { peak, budget, fp32, threads, fits } => {
                format!("the assignment takes {}{}", above(peak, budget, fp32), with_fewer(threads, fits))
            }
            &BudgetError::Threads { threads, peak, budget, .. } => {
                let [peak, budget] = amounts([(peak, Up), (budget, Nearest)]);
                format!(
                    "with {} a training step takes {peak}, more than the budget of {budget} that the trainer file was \
                     compiled for",
                    threads_text(threads)
                )
            }
            BudgetError::Machine { machine, peak, budget } => {
                let [peak, budget] = amounts([(*peak, Up), (*budget, Nearest)]);
                format!(
                    "on {machine} a training step takes {peak}, more than the budget of {budget} that the trainer file was \
                     compiled for"
                )
            }
            BudgetError::Profile { formats } => {
                let formats: Vec<String> = formats.iter().map(ToString::to_string).collect();
                format!("the profile does not tell what rounding to {} costs", formats.join(", "))
            }
            BudgetError::Memory(error) => error.reason(),
            BudgetError::Solver(error) => error.to_string(),
            BudgetError::Assign(error) => error.reason(),
            BudgetError::Build(error) => error.to_string(),
        }
    }

    /// Advice, where it is known: the smallest budget that fits, and the options that help.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            BudgetError::Infeasible(shortage) | BudgetError::Unknown(shortage) => shortage.help(),
            &BudgetError::TooLarge { budget, fp32, bound, .. } if bound > budget => {
                let ([share], [bytes]) = (percents([(bound, Down)], fp32), amounts([(bound, Down)]));
                format!("give a larger budget: method ilp takes at least {bytes} ({share}) too")
            }
            BudgetError::TooLarge { .. } => "use method ilp, or a larger budget".to_string(),
            BudgetError::Exceeded { .. } => {
                "give tensors narrower formats or recompute more of them, give a larger budget or none, or solve again with \
                 `bitbudget assign --from`"
                    .to_string()
            }
            BudgetError::Threads { threads, fits, .. } => {
                let fewer = fits.map_or(String::new(), |fits| format!("run with `--threads {fits}`, or "));
                format!("{fewer}compile the network again with `--threads {threads}`")
            }
            BudgetError::Machine { machine, .. } => format!("compile the network again with `--target {machine}`"),
            BudgetError::Profile { .. } => {
                "measure again with `bitbudget profile --formats`, or leave them out".to_string()
            }
            BudgetError::Memory(error) => error.advice.clone(),
            BudgetError::Assign(error) => error.help().to_string(),
            BudgetError::Solver(_) | BudgetError::Build(_) => return None,
        })
    }
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        match (self, self.help()) {
            (_, None) => Ok(()),
            (BudgetError::Infeasible(_) | BudgetError::Unknown(_), Some(help)) => write!(f, ". What helps: {help}"),
            (_, Some(help)) => write!(f, "; {help}"),
        }
    }
}

/// The facts known where no assignment that fits was found. Memory is in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The budget.
    pub budget: usize,
    /// FP32's peak.
    pub fp32: usize,
    /// The smallest peak that was found, if any was.
    pub smallest: Option<usize>,
    /// The smallest peak that was found by methods without a search and by searches that ended early: a slower run finds it too.
    pub surely: Option<usize>,
    /// No assignment takes less in the order of steps in which FP32 is computed.
    pub bound: usize,
    /// The bytes of masters and optimizer state in every assignment.
    pub kept: usize,
    /// The bytes of kernels' workspace and scratch memory at the smallest peak that was found.
    pub kernels: usize,
    /// Threads of the run, each of which has scratch memory.
    pub threads: usize,
    /// The operators of the steps at which the memory is needed.
    pub dominated: Vec<String>,
    /// Whether tensors may be recomputed.
    pub recompute: bool,
    /// A method that fits, with formats that the budget does not allow.
    pub other: Option<Method>,
}

impl Shortage {
    /// The budget, and what is known of it.
    fn reason(&self) -> String {
        let Shortage { budget, fp32, smallest, bound, kept, threads, .. } = *self;
        let [budget_share, needed_share, bound_share] = percents(self.compared(), fp32);
        let [budget_text, needed_text, bound_text, kept_text, kernels_text, _] = self.amounts();
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
        let beside = match (self.kernels_are_most(), threads) {
            (false, _) => String::new(),
            (true, 1) => format!(", kernels' workspace and scratch memory {kernels_text}"),
            (true, _) => format!(", kernels' workspace and the scratch memory of {threads} threads {kernels_text}"),
        };
        let alone = if budget <= kept { "alone " } else { "" };
        format!(
            "{budget_text} ({budget_share} of FP32's peak): {found}. The peak is at {}. Masters and optimizer state {alone}take \
             {kept_text}{beside}",
            self.dominated.join("; ")
        )
    }

    /// The limit to raise, and the options to allow.
    fn help(&self) -> String {
        let Shortage { budget, smallest, surely, bound, kept, threads, .. } = *self;
        let [_, needed_text, .., surely_text] = self.amounts();
        let mut advice: Vec<String> = match (smallest, surely) {
            (None, _) => Vec::new(),
            (Some(least), Some(surely)) if surely > least => {
                vec![format!(
                    "give {surely_text} or more, or {needed_text} and more time to search (`--solve-seconds`)"
                )]
            }
            (Some(_), _) => vec![format!("give {needed_text} or more")],
        };
        if bound <= budget || smallest.is_none() {
            advice.push("allow more time".into());
        }
        advice.push("allow narrower formats".into());
        if !self.recompute {
            advice.push("allow recomputation".into());
        }
        if self.kernels_are_most() && threads > 1 {
            advice.push("run with fewer threads (`--threads 1`)".into());
        }
        if let Some(method) = self.other {
            advice.push(format!("use method {method}, which fits with formats that are not allowed here"));
        }
        let less = match budget <= kept {
            true => "take a smaller network or an optimizer with less state",
            false => "use a smaller batch",
        };
        format!("{}, or {less}", advice.join(", "))
    }

    /// The budget, what is needed and what is proven.
    fn compared(&self) -> [(usize, Rounding); 3] {
        let needed = self.smallest.unwrap_or(self.bound);
        [(self.budget, Nearest), (needed, Up), (self.bound, Down)]
    }

    /// These with what is kept, what kernels take, and what is surely enough, as texts.
    fn amounts(&self) -> [String; 6] {
        let [budget, needed, bound] = self.compared();
        let surely = (self.surely.unwrap_or(needed.0), Up);
        amounts([budget, needed, bound, (self.kept, Nearest), (self.kernels, Nearest), surely])
    }

    /// In very small networks what kernels take beside tensors is most of it.
    fn kernels_are_most(&self) -> bool {
        self.smallest.is_some_and(|least| self.kernels > least / 2)
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
            surely: Some(162 * MIB),
            bound: 150 * MIB,
            kept: 98 * MIB,
            kernels: 3 * MIB,
            threads: 2,
            dominated: vec!["conv `a`".into(), "relu `b`".into()],
            recompute: true,
            other: None,
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
            surely: Some(944_000),
            bound: 944_000,
            kept: 400_000,
            kernels: 0,
            ..shortage()
        };
        assert_eq!(
            infeasible(Shortage { fp32: 2_000_000, recompute: false, ..near }),
            "no assignment fits 921.6 KiB (47.19% of FP32's peak): the smallest possible one in this order of steps \
             needs 921.9 KiB (47.20%). The peak is at conv `a`; relu `b`. Masters and optimizer state take 390.6 KiB. What \
             helps: give 921.9 KiB or more, allow narrower formats, allow recomputation, or use a \
             smaller batch"
        );
        let least = Some(520 << 10);
        let tiny =
            Shortage { budget: 480 << 10, smallest: least, surely: least, bound: 500 << 10, kept: 700, ..shortage() };
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
             or use a smaller batch"
        );
        let busy = infeasible(Shortage { surely: Some(180 * MIB), ..shortage() });
        let advice = "What helps: give 180.0 MiB or more, or 162.0 MiB and more time to search (`--solve-seconds`), allow narrower";
        assert!(busy.contains("the smallest found needs 162.0 MiB (40.5%)") && busy.contains(advice), "{busy}");
        let other = infeasible(Shortage { budget: 155 * MIB, other: Some(Method::Demote), ..shortage() });
        assert!(other.contains("use method demote, which fits with formats that are not allowed here, or"), "{other}");
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
        let too_large = |bound| {
            let (method, budget, fp32) = (Method::Fp32, 10 * MIB, 10 * MIB + 1);
            BudgetError::TooLarge { method, peak: fp32, budget, fp32, bound }.to_string()
        };
        let takes = "method fp32 takes 10,485,761 B (100.000% of FP32's peak), more than the budget of 10,485,760 B (100.000%); ";
        assert_eq!(too_large(10 * MIB), format!("{takes}use method ilp, or a larger budget"));
        // Not where that does not fit either.
        let larger = "give a larger budget: method ilp takes at least 10,485,761 B (100.000%) too";
        assert!(
            too_large(10 * MIB + 1).starts_with(takes) && !too_large(10 * MIB + 1).contains("use method ilp"),
            "{larger}"
        );
    }
}
