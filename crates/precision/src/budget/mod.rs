//! Formats and recomputation under a memory budget, as an integer program.
//!
//! Time is the steps of a schedule in which every tensor is FP32; order and steps are the same for all formats. Every
//! stored tensor has options: a format, and whether it is kept from the step that computes it to its last reader, or
//! dropped after its last reader in the forward pass and computed again just before the backward pass needs it. One
//! memory row per step says that what is alive then fits. Links say that what a recomputation reads is there: kept, or
//! recomputed before. Two neighbouring tensors of one format may share their place: a saving, linked to both formats.
//!
//! Each tensor is rounded at one cost wherever it lies, so formats are chosen per class: tensors that must have one format so that
//! the rewriting holds; with [`Granularity::Group`] all forward tensors of a group, and all its gradients.
//!
//! A rectifier's gradient has two terms, and the program chooses one for each rectifier whose input is stored and has no other reason
//! for a format. It reads the output if that has the input's format; the output then repeats the rounding of its input, so only one of
//! them costs. Or the output has a narrower format at its own cost, and the gradient reads the input, which is computed again; kept, it
//! would take the memory that a wider output takes.
//!
//! The formulation is conservative: a schedule may need less, where it joins steps or frees an operand early.

mod classes;
mod costs;
mod lives;
mod program;
mod variants;

use crate::tensors::{Kind, Tensor};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId};
use std::fmt;
use std::str::FromStr;

pub use classes::repeats;
pub use costs::{Costs, preference};
pub use program::{Choices, Priced, Program, program};

/// What is given a format of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Every tensor.
    #[default]
    Tensor,
    /// The forward tensors of a group together, and its gradients together.
    Group,
}

impl Granularity {
    /// All of them.
    pub const ALL: [Granularity; 2] = [Granularity::Tensor, Granularity::Group];

    /// The name, as options and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Granularity::Tensor => "tensor",
            Granularity::Group => "group",
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no granularity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown granularity `{}`; expected one of {}", .0, Granularity::ALL.map(Granularity::name).join(", "))]
pub struct ParseGranularityError(String);

impl FromStr for Granularity {
    type Err = ParseGranularityError;

    fn from_str(name: &str) -> Result<Granularity, ParseGranularityError> {
        Granularity::ALL.into_iter().find(|one| one.name() == name).ok_or(ParseGranularityError(name.into()))
    }
}

/// Where a node's result lies while every tensor is FP32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In memory of its own.
    Own,
    /// Where another one lies.
    Of(NodeId),
    /// Nowhere, or in what stays from step to step.
    Nowhere,
}

/// A schedule of a training graph whose tensors are all FP32, as plain data.
#[derive(Clone, Copy, Debug)]
pub struct Skeleton<'a> {
    /// The training graph.
    pub training: &'a Graph,
    /// The same after rewriting, with copies of what is stored nowhere; what follows goes by its ids.
    pub graph: &'a Graph,
    /// The nodes of each step in the order in which they are computed.
    pub steps: &'a [Vec<NodeId>],
    /// Where results lie, by node id. Rounded copies of parameters count as stored: they are in other formats.
    pub places: &'a [Where],
    /// The tensor whose place a result takes when it ends, by node id.
    pub replaced: &'a [Option<NodeId>],
    /// Bytes of workspace at each step, for the formats that need most.
    pub workspace: &'a [usize],
    /// Bytes that a tensor's size is rounded up to.
    pub alignment: usize,
}

/// What may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// The formats of each tensor, in the order of [`crate::tensors`]; never empty.
    pub formats: Vec<Vec<Format>>,
    /// Whether tensors may be recomputed.
    pub recompute: bool,
    /// What has a format of its own.
    pub granularity: Granularity,
}

/// Operators whose tensors stay FP32 whatever is allowed: the loss.
fn is_loss(graph: &Graph, tensor: &Tensor) -> bool {
    use bitbudget_ir::Op;
    matches!(graph.op(tensor.operator), Op::LogSoftmax(_) | Op::NllLoss(_))
}

/// Whether a tensor's format is fixed to FP32: the loss, and the input, which comes in FP32.
pub fn stays_exact(graph: &Graph, tensor: &Tensor) -> bool {
    let input = matches!(graph.op(tensor.operator), bitbudget_ir::Op::Input(_));
    is_loss(graph, tensor) || input
}

/// Whether a kind is of the forward pass.
fn is_forward(kind: Kind) -> bool {
    matches!(kind, Kind::Parameter | Kind::Output)
}
