//! Masks on scores, whose saturation is no overflow.

use bitbudget_ir::{DType, Form, Graph, NodeId, Op};

/// For each node, whether what saturates there is a mask that only softmaxes see: known numbers, or numbers that follow from whole numbers
/// and truth values alone, or scores to which such are added, or in whose place they stand. The scores' own overflows are counted before.
pub(crate) fn masks(graph: &Graph) -> Vec<bool> {
    let mut known = vec![false; graph.len()];
    let mut masked = vec![false; graph.len()];
    for id in graph.ids() {
        let operands = graph.operands(id);
        known[id.index()] = match graph.op(id) {
            Op::Constant(_) => true,
            Op::Input(_) => graph.ty(id).dtype != DType::F32,
            op => op.source_name().is_none() && !operands.is_empty() && operands.iter().all(|x| known[x.index()]),
        };
        let is_mask = |x: &NodeId| known[x.index()] || masked[x.index()];
        masked[id.index()] = known[id.index()]
            || match (graph.op(id), &graph.facts(id).form) {
                (Op::Add(_), _) => operands.iter().any(is_mask),
                (Op::Where(_), _) => operands.iter().skip(1).any(is_mask),
                (Op::Cast(_), _) | (_, Form::Alias | Form::Move | Form::Planes(_)) => {
                    operands.first().is_some_and(is_mask)
                }
                _ => false,
            };
    }
    // What reads a node stands behind it.
    let mut seen_by_softmax = vec![false; graph.len()];
    for id in graph.ids().rev() {
        let readers = graph.readers(id);
        let leads = |&reader: &NodeId| match graph.op(reader) {
            Op::Softmax(_) | Op::LogSoftmax(_) => true,
            _ => masked[reader.index()] && seen_by_softmax[reader.index()],
        };
        seen_by_softmax[id.index()] = !readers.is_empty() && readers.iter().all(leads);
    }
    std::iter::zip(masked, seen_by_softmax).map(|(masked, seen)| masked && seen).collect()
}
