//! The search's view of a training graph and of the compiler.

use crate::error::{BudgetError, Failure};
use bitbudget_ir::Graph;
use bitbudget_precision::{Assignment, Pinned, Tensor};

/// The bytes of a training step that the compiler built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// At its peak.
    pub peak: usize,
    /// Kernels' workspace (with gaps between tensors) and scratch memory then.
    pub kernels: usize,
}

/// A training graph whose tensors get formats.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// The graph.
    pub training: &'a Graph,
    /// Examples per step.
    pub batch: usize,
    /// Its tensors at that batch.
    pub tensors: &'a [Tensor],
    /// The formats of those that are pinned.
    pub pinned: &'a Pinned,
    /// The bytes of its step under an assignment.
    pub taken: &'a (dyn Fn(&Assignment) -> Result<Taken, Failure> + Sync),
}

impl Network<'_> {
    /// The bytes of an assignment's step.
    ///
    /// # Errors
    /// If it cannot be built.
    pub(crate) fn taken(&self, assignment: &Assignment) -> Result<Taken, BudgetError> {
        (self.taken)(assignment).map_err(BudgetError::Build)
    }
}
