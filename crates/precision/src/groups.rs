//! Tensor groups, whose tensors get the same level (paper, "Tensor groups").

use crate::kind::Kind;
use crate::tensors::{Tensor, operators, tensors};
use bitbudget_ir::{Graph, NodeId};

/// A tensor group: tensors that are demoted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The position among the groups.
    pub id: usize,
    /// The operators whose outputs and output gradients are in it, in execution order.
    pub operators: Vec<NodeId>,
    /// The number of elements of its tensors at the training batch size.
    pub elements: u64,
    /// The operators whose parameters and parameter gradients are in it, in execution order.
    pub parameters_of: Vec<NodeId>,
}

/// Returns the tensor groups of a training graph at a batch size, in execution order.
///
/// A group starts at every input, convolution and matrix product. An operator's output and output gradient are in the operator's
/// group. Its parameters and their gradients are in the group of the operator that produces its first input.
pub fn groups(graph: &Graph, batch: usize) -> Vec<Group> {
    groups_of(graph, &tensors(graph, batch))
}

/// Returns the groups of known tensors.
pub(crate) fn groups_of(graph: &Graph, tensors: &[Tensor]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for operator in operators(graph) {
        if operator.group == groups.len() {
            groups.push(Group { id: operator.group, operators: Vec::new(), elements: 0, parameters_of: Vec::new() });
        }
        groups[operator.group].operators.push(operator.node);
    }
    for tensor in tensors {
        let group = &mut groups[tensor.group];
        group.elements = group.elements.saturating_add(tensor.elements);
        if tensor.kind == Kind::Parameter && group.parameters_of.last() != Some(&tensor.operator) {
            group.parameters_of.push(tensor.operator);
        }
    }
    groups
}
