//! The gradient of a split.

use bitbudget_formats::Format;
use bitbudget_ir::ops::{Concat, SliceScatter};
use bitbudget_ir::{Graph, GraphError, NodeId, Op, Role};

/// A part of a tensor along one axis, laid into zeros.
struct Laid {
    axis: usize,
    begin: usize,
    size: usize,
    part: NodeId,
}

/// Makes every sum of parts that lie side by side their concatenation, in the format to which the parts were rounded.
pub(crate) fn apply(graph: &mut Graph, formats: &mut [Format]) -> Result<(), GraphError> {
    for id in graph.ids() {
        if !matches!(graph.op(id), Op::Sum(_)) {
            continue;
        }
        let scattered = graph.operands(id);
        let laid: Option<Vec<Laid>> = scattered.iter().map(|&operand| laid(graph, operand)).collect();
        let (Some(mut laid), Some(&first)) = (laid, scattered.first()) else { continue };
        laid.sort_unstable_by_key(|part| part.begin);
        let (role, format) = (graph.node(first).role, formats[first.index()]);
        let gradients = |&other: &NodeId| {
            formats[other.index()] == format && matches!(graph.node(other).role, Role::OutputGradient { .. })
        };
        if scattered.iter().all(gradients) && is_whole(graph, id, &laid) {
            let parts: Vec<NodeId> = laid.iter().map(|part| part.part).collect();
            graph.replace(id, Concat { axis: laid[0].axis }, &parts)?;
            graph.set_role(id, role);
            formats[id.index()] = format;
        }
    }
    Ok(())
}

/// What a node lays into zeros, if that is a contiguous part along one axis.
fn laid(graph: &Graph, id: NodeId) -> Option<Laid> {
    let Op::SliceScatter(SliceScatter { begin, step, shape }) = graph.op(id) else { return None };
    let part = *graph.operands(id).first()?;
    let sizes = &graph.ty(part).shape;
    let mut differing = (0..shape.rank()).filter(|&axis| shape.get(axis) != sizes.get(axis));
    let axis = differing.next()?;
    let alone = differing.next().is_none() && step.iter().all(|&step| step == 1);
    let size = sizes.get(axis)?.as_fixed()?;
    alone.then_some(Laid { axis, begin: begin[axis], size, part })
}

/// Whether the parts, in order, make up the whole tensor.
fn is_whole(graph: &Graph, id: NodeId, laid: &[Laid]) -> bool {
    let Some(first) = laid.first() else { return false };
    let mut end = 0;
    for part in laid {
        if part.axis != first.axis || part.begin != end {
            return false;
        }
        end += part.size;
    }
    graph.ty(id).shape.get(first.axis).and_then(|dim| dim.as_fixed()) == Some(end)
}
