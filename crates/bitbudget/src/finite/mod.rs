//! Finds the tensor that caused numbers that are not finite.

mod cause;
mod finding;
mod names;
mod optimizer;
mod run;

pub use finding::{Cause, Decided, NamedTensor, ProbeError, SEVERAL, Saturated};
pub use names::Kept;
