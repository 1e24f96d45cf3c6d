//! The interface of a kind of machine.

use crate::group::{Group, Member};
use crate::load::Load;
use crate::needs::Needs;
use bitbudget_ir::{Graph, NodeId};
use bitbudget_program::Kernel;

/// A kind of machine that programs are made for.
pub trait Target {
    /// Whether the kernel of `reader` can compute operand `position` in passing.
    fn takes(&self, graph: &Graph, reader: NodeId, position: usize) -> bool;

    /// The memory that the kernel of one operator needs, what it computes in passing apart.
    fn needs(&self, member: &Member) -> Needs;

    /// How a group is computed.
    fn kernel(&self, group: &Group) -> Kernel;

    /// Tensors begin at multiples of so many bytes, and kernels' memory is rounded up to one.
    fn alignment(&self) -> usize;

    /// Whether kernels of images take their channels last.
    fn takes_channels_last(&self) -> bool;

    /// An estimate of the seconds that a load takes. Only ratios count: of a step, or a node, to the whole.
    fn seconds(&self, load: Load) -> f64;
}
