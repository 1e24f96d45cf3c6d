//! The targets of a network that computes its loss itself.

use bitbudget_ir::{Graph, NodeId, Op};

/// The inputs that no operator with parameters computes with, nor anything made of them: the loss compares the network's result with
/// these.
pub(crate) fn targets(forward: &Graph) -> Vec<NodeId> {
    // What an operator reads beside something that is made of parameters alone is what the network computes with.
    let mut constant = vec![false; forward.len()];
    let mut trained = vec![false; forward.len()];
    for id in forward.ids() {
        let operands = forward.operands(id);
        trained[id.index()] = matches!(forward.op(id), Op::Parameter(_)) || operands.iter().any(|o| trained[o.index()]);
        constant[id.index()] = match forward.op(id).source_name() {
            Some(_) => !matches!(forward.op(id), Op::Input(_)),
            None => operands.iter().all(|o| constant[o.index()]),
        };
    }
    let is_parameter = |id: &&NodeId| trained[id.index()] && constant[id.index()];
    let mut computed_with = vec![false; forward.len()];
    for id in forward.ids().collect::<Vec<_>>().into_iter().rev() {
        let operands = forward.operands(id);
        if computed_with[id.index()] || operands.iter().any(|o| is_parameter(&o)) {
            operands.iter().for_each(|o| computed_with[o.index()] = true);
        }
    }
    forward.ids().filter(|id| matches!(forward.op(*id), Op::Input(_)) && !computed_with[id.index()]).collect()
}
