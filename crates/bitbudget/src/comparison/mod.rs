//! Comparisons: assignments by several methods under several budgets, and trainings of each with several seeds.
//!
//! A comparison is made of [`Case`]s. Each comes to a [`CaseRecord`], and each training to a [`TrainingRecord`], plain data that
//! a caller keeps by [`key`] until all are there; [`comparison`] puts them side by side. Whether records were made just now or
//! taken from an earlier run, the comparison is the same. Seconds are kept beside records, never in them.

mod case;
mod key;
mod record;
mod summary;

pub use bitbudget_report::comparison::{
    Comparison, Examples, Question, Spread, Summarised, TensorName, Timing, Trained, TrainingRecord,
};
pub use case::{Case, cases};
pub use key::{Fingerprint, key};
pub use record::{Assigned, CaseRecord, Fitting, Refused, assign_case};
pub use summary::comparison;
