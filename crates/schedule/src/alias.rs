//! Tensors that only show others.

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};

/// Whether a node only shows its operand's storage: a reshape, or a cast to the format that the operand is stored in.
pub fn is_alias(graph: &Graph, formats: &[Format], id: NodeId) -> bool {
    match graph.op(id) {
        Op::Reshape(_) => true,
        Op::Cast(_) => graph.operands(id).first().is_some_and(|&operand| {
            let (from, to) = (formats[operand.index()], formats[id.index()]);
            let gradient =
                |id| matches!(graph.node(id).role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
            to == Format::FP32 && from == Format::FP32 || from == to && gradient(operand) && gradient(id)
        }),
        _ => false,
    }
}

/// The node whose storage a node's result lies in: itself, or what it is an alias of.
pub fn storage(graph: &Graph, formats: &[Format], mut id: NodeId) -> NodeId {
    while is_alias(graph, formats, id) {
        match graph.operands(id).first() {
            Some(&operand) => id = operand,
            None => break,
        }
    }
    id
}
