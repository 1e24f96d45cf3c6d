//! Shapes as tensors of the file.

use super::exporter::Exporter;
use super::messages::{int, ints};
use bitbudget_ir::{Dim, NodeId, Op, Shape};

/// The sizes of a node's tensor as a tensor of the file, with the batch size in the place of one of them.
pub(super) fn sizes_with_batch(
    exporter: &mut Exporter,
    id: NodeId,
    axis: usize,
    sizes: &[i64],
) -> Result<String, String> {
    let graph = &exporter.model.graph;
    // The batch size is known only from the network's input.
    let batch = graph.ty(id).shape.0[axis];
    let has_batch = |i: NodeId| Some((i, graph.ty(i).shape.0.iter().position(|dim| *dim == batch)?));
    let mut inputs = graph.ids().filter(|&i| matches!(graph.op(i), Op::Input(_)));
    let (input, at) = inputs.find_map(has_batch).ok_or("no input has its batch size")?;
    let (input, output) = (exporter.name(input), exporter.name(id));
    let mut parts = Vec::new();
    for (what, sizes) in [("before", &sizes[..axis]), ("after", &sizes[axis + 1..])] {
        if what == "after" {
            let batch = exporter.fresh(&format!("{output}.batch"));
            let node = exporter.message(batch.clone(), "Shape", vec![input.clone()], batch.clone());
            node.attribute = vec![int("start", at as i64), int("end", at as i64 + 1)];
            parts.push(batch);
        }
        if !sizes.is_empty() {
            parts.push(exporter.argument(id, what, ints(sizes)));
        }
    }
    let joined = exporter.fresh(&format!("{output}.shape"));
    exporter.message(joined.clone(), "Concat", parts, joined.clone()).attribute = vec![int("axis", 0)];
    Ok(joined)
}

/// A Reshape's target: 0 where the batch stays in front, -1 for it elsewhere.
pub(super) fn reshape_target(from: &Shape, to: &Shape) -> Vec<i64> {
    let size = |(axis, dim): (usize, &Dim)| match dim.as_fixed() {
        Some(size) => size as i64,
        None if axis == 0 && from.get(0) == Some(*dim) => 0,
        None => -1,
    };
    to.0.iter().enumerate().map(size).collect()
}
