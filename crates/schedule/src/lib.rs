//! Orders the nodes of a graph and ends the lifetimes of its tensors.
//!
//! The order is the graph's, except that rounded copies of parameters are made just before their first reader. A tensor
//! that only shows another one (a reshape, or a cast that changes nothing) is an alias and shares its storage. This crate
//! knows nothing of devices and does not choose formats.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::Graph;
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = relu(%0) : f32[N,4] output
//!   %2 = reshape(%1) {shape=<N,2,2>} : f32[N,2,2] output
//!   %3 = exp(%2) : f32[N,2,2] output
//!   return "y" = %3
//! }"#.parse()?;
//! let schedule = bitbudget_schedule::plan(&graph, &[Format::FP32; 4]);
//! let relu = graph.ids().nth(1).ok_or("no node")?;
//! assert_eq!(schedule.steps[3].ends, [relu]); // Its alias, the reshape, was read last.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};

/// One step: a node is computed, then tensors end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// The tensors (never aliases) that nothing reads any more, in order of ids.
    pub ends: Vec<NodeId>,
}

/// An execution order with the ends of all lifetimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Every node once, operands first.
    pub steps: Vec<Step>,
}

/// Orders the nodes of `graph`, whose tensors are stored in `formats` (by node id).
pub fn plan(graph: &Graph, formats: &[Format]) -> Schedule {
    let order = order(graph);
    let mut last: Vec<Option<usize>> = vec![None; graph.len()];
    for (step, &id) in order.iter().enumerate() {
        last[storage(graph, formats, id).index()] = Some(step);
        for operand in graph.operands(id) {
            last[storage(graph, formats, operand).index()] = Some(step);
        }
    }
    for (_, id) in graph.outputs() {
        last[storage(graph, formats, *id).index()] = None;
    }
    for &(_, value) in graph.updates() {
        last[storage(graph, formats, value).index()] = None;
    }
    let mut steps: Vec<Step> = order.into_iter().map(|node| Step { node, ends: Vec::new() }).collect();
    for id in graph.ids().filter(|&id| graph.op(id).source_name().is_none()) {
        if let Some(step) = last[id.index()] {
            steps[step].ends.push(id);
        }
    }
    Schedule { steps }
}

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

/// The graph's order, with rounded copies of parameters moved to just before their first reader.
fn order(graph: &Graph) -> Vec<NodeId> {
    let copy = |id: NodeId| graph.node(id).role == Role::Parameter;
    let mut order = Vec::with_capacity(graph.len());
    let mut placed = vec![false; graph.len()];
    for id in graph.ids().filter(|&id| !copy(id)) {
        for operand in graph.operands(id) {
            if copy(operand) && !placed[operand.index()] {
                placed[operand.index()] = true;
                order.push(operand);
            }
        }
        placed[id.index()] = true;
        order.push(id);
    }
    order.extend(graph.ids().filter(|id| !placed[id.index()]));
    order
}
