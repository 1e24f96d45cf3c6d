//! The formats and reasons of the tensors of a network's operators, in words that can go with its file.

use crate::{CompileError, Compiled, report};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_precision::{Kind, node_names};
use bitbudget_program::Footprint;
use std::collections::BTreeMap;

/// Keys and values.
pub type Pairs = Vec<(String, String)>;

/// The annotations of a network and its operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotated {
    /// Of the whole: method, batch, peak, budget, low ratio.
    pub network: Pairs,
    /// By node of [`Compiled::forward`]: format, bits and reason of each of the operator's tensors.
    pub nodes: BTreeMap<NodeId, Pairs>,
}

/// Annotates the network that a trainer was compiled from with its assignment, for runs with so many threads.
///
/// # Errors
/// If the graph cannot be lowered.
pub fn annotated(compiled: &Compiled, threads: usize) -> Result<Annotated, CompileError> {
    let Compiled { forward, training, assignment, solved, .. } = compiled;
    let pair = |key: &str, value: String| (format!("bitbudget.{key}"), value);
    let mut network = vec![
        pair("version", env!("CARGO_PKG_VERSION").to_string()),
        pair("method", assignment.method.to_string()),
        pair("batch", assignment.batch.to_string()),
        pair("low_ratio", format!("{:.4}", assignment.low_ratio_elements())),
        pair("peak_bytes", Footprint::predicted(&compiled.train, threads).total().to_string()),
    ];
    network.extend(solved.iter().map(|solved| pair("budget_bytes", solved.budget.to_string())));
    let original = originals(forward, training);
    let names = node_names(training);
    // Rows of assigned tensors come first, in their order.
    let rows = report(compiled, threads, None)?.tensors;
    let mut nodes: BTreeMap<NodeId, Pairs> = BTreeMap::new();
    for ((tensor, _, format), row) in assignment.assigned().zip(rows) {
        let Some(&node) = original.get(&tensor.operator) else { continue };
        let key = match tensor.kind {
            Kind::Output => "output".to_string(),
            Kind::OutputGradient => "output_gradient".to_string(),
            Kind::Parameter | Kind::ParameterGradient => {
                let name = names[tensor.node.index()].as_deref().unwrap_or_default();
                let gradient = if tensor.kind == Kind::Parameter { "" } else { "_gradient" };
                format!("parameter{gradient}.{name}")
            }
        };
        let pairs = nodes.entry(node).or_default();
        pairs.push(pair(&key, format!("{format}, {} bits", format.bits())));
        pairs.push(pair(&format!("{key}.why"), row.why));
    }
    Ok(Annotated { network, nodes })
}

/// The format, with its bits, in which the result of each node of a trainer's forward graph is stored.
pub fn forward_formats(compiled: &Compiled) -> BTreeMap<NodeId, Format> {
    let formats = &compiled.assignment.formats;
    let original = originals(&compiled.forward, &compiled.training);
    original.into_iter().map(|(training, forward)| (forward, formats[training.index()])).collect()
}

/// By node of a training graph, the node of the forward graph that it is; a parameter is its rounded copy there.
///
/// A training graph begins with the forward graph's nodes, in their order, without those that nothing needs.
fn originals(forward: &Graph, training: &Graph) -> BTreeMap<NodeId, NodeId> {
    let mut found = BTreeMap::new();
    let mut left = forward.ids();
    for id in training.ids() {
        if matches!(training.op(id), Op::Cast(_)) && training.node(id).role == Role::Parameter {
            let source = training.operands(id).first().and_then(|source| found.get(source).copied());
            if let Some(source) = source {
                found.insert(id, source);
            }
            continue;
        }
        let is_same = |other: &NodeId| {
            let (a, b) = (training.node(id), forward.node(*other));
            a.op == b.op && a.name == b.name && a.ty == b.ty
        };
        let Some(same) = left.find(is_same) else { break };
        found.insert(id, same);
    }
    found
}
