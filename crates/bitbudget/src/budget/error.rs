//! Why there is no assignment that fits.

use bitbudget_formats::Format;
use bitbudget_precision::Method;

/// Why no assignment fits.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Nothing fits.
    #[error(
        "no assignment fits {}: with these formats {} are needed (less than {} is proved impossible); most is taken at \
         {dominated}; give a larger budget, allow narrower formats or recomputation, or use a smaller batch",
        mib(*budget), mib(*smallest), mib(*bound)
    )]
    Infeasible {
        /// The budget in bytes.
        budget: usize,
        /// The smallest peak found, in bytes.
        smallest: usize,
        /// What is proved to be needed, in bytes.
        bound: usize,
        /// The steps at which the memory is needed.
        dominated: String,
    },
    /// Nothing was found, and nothing proved.
    #[error(
        "no assignment that fits {} was found within {seconds} seconds, nor proved impossible; the smallest that was found \
         takes {}; give that budget, or allow more time",
        mib(*budget), mib(*smallest)
    )]
    Unknown {
        /// The smallest peak found, in bytes.
        smallest: usize,
        /// The budget in bytes.
        budget: usize,
        /// The time limit.
        seconds: f64,
    },
    /// A method without choices does not fit.
    #[error("method {method} takes {}, more than the budget of {}; use method ilp, or a larger budget", mib(*peak), mib(*budget))]
    TooLarge {
        /// The method.
        method: Method,
        /// What it takes, in bytes.
        peak: usize,
        /// The budget in bytes.
        budget: usize,
    },
    /// An assignment that was given does not fit.
    #[error(
        "the assignment takes {}, {} more than the budget of {}; give tensors narrower formats or recompute more of them, give \
         a larger budget or none, or solve again with `bitbudget assign --from`",
        mib(*peak), mib(peak.saturating_sub(*budget)), mib(*budget)
    )]
    Exceeded {
        /// What it takes, in bytes.
        peak: usize,
        /// The budget in bytes.
        budget: usize,
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
    /// The integer program is malformed, which is a fault of ours.
    #[error(transparent)]
    Solver(#[from] bitbudget_solver::SolverError),
}

/// Bytes in MiB, rounded up.
fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", (bytes as f64 / 1_048_576.0 * 10.0).ceil() / 10.0)
}
