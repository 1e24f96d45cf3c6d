//! The numbers of the examples in their batch. A network must not compute with them, but exporters write `x[arange(N), i]` so: what an
//! example takes of itself is found here, and told by shared dimensions instead.

use crate::file::constant::Constant;
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{DType, Dim, NodeId, Op, Shape, ops};

/// Range over the batch: one number for each example.
pub(super) fn range(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let mut bounds = Vec::with_capacity(3);
    for position in 0..3 {
        bounds.push(importer.constant(node.need(position)?)?.as_ints()?.first().copied());
    }
    let fixed = |at: usize| bounds[at].and_then(|bound| bound.as_fixed());
    let limit = bounds[1].and_then(|limit| limit.as_dim());
    if fixed(0) != Some(0) || fixed(2) != Some(1) || limit != Some(Dim::BATCH) {
        return Err("its bounds depend on the batch size, which is possible for the numbers from 0 to it alone".into());
    }
    let name = importer.fresh_name(&format!("{}.examples", node.name));
    let zero = Constant::number(0);
    let zero = importer.typed_source(&name, &zero, DType::I32)?;
    let numbers = importer.broadcast(node.name, zero, Shape(vec![Dim::BATCH]))?;
    importer.examples.insert(numbers, name);
    Ok(vec![Value::Tensor(numbers)])
}

/// Whole numbers as a multiple of the example's number and a rest.
struct Parts {
    factor: f32,
    rest: Option<NodeId>,
}

/// The parts of a tensor that holds the examples' numbers.
fn parts(importer: &Importer, id: NodeId) -> Option<Parts> {
    if importer.examples.contains_key(&id) {
        return Some(Parts { factor: 1.0, rest: None });
    }
    let graph = &importer.graph;
    let operands = graph.operands(id);
    match graph.op(id) {
        Op::Convert(_) => parts(importer, *operands.first()?),
        // The batch stands in a shape once, so that a number stays with its example.
        Op::Reshape(_) | Op::Broadcast(_) | Op::Transpose(_) => {
            let found = parts(importer, *operands.first()?)?;
            found.rest.is_none().then_some(found)
        }
        Op::Mul(_) => {
            let (a, b) = (*operands.first()?, *operands.get(1)?);
            let (found, by) = match parts(importer, a) {
                Some(found) => (found, b),
                None => (parts(importer, b)?, a),
            };
            let Op::Constant(by) = graph.op(by) else { return None };
            let &[by] = importer.values.get(&by.name)?.as_slice() else { return None };
            found.rest.is_none().then_some(Parts { factor: found.factor * by, rest: None })
        }
        Op::Add(_) => {
            let (a, b) = (*operands.first()?, *operands.get(1)?);
            let (found, rest) = match parts(importer, a) {
                Some(found) => (found, b),
                None => (parts(importer, b)?, a),
            };
            found.rest.is_none().then_some(Parts { factor: found.factor, rest: Some(rest) })
        }
        _ => None,
    }
}

/// The slices of a tensor along a dimension that holds the batch, `x[n * size + i]` for each example `n`: the shape of the tensor with the
/// batch apart, and the indices `i`, if they are such.
pub(super) fn own(
    importer: &mut Importer,
    x: NodeId,
    axis: usize,
    indices: NodeId,
) -> Result<Option<(NodeId, NodeId)>, String> {
    let (mut shape, wanted) = (importer.shape(x), importer.shape(indices));
    let size = shape.0[axis].factor();
    let Some(found) = parts(importer, indices).filter(|found| found.factor == size as f32) else { return Ok(None) };
    if axis != 0 || wanted.get(0) != Some(Dim::BATCH) {
        return Ok(None);
    }
    shape.0.splice(0..1, [Dim::BATCH, Dim::fixed(size)]);
    let name = importer.graph.node(indices).name.clone();
    let rest = match found.rest {
        Some(rest) => rest,
        None => {
            let zero = importer.fresh_name(&format!("{name}.zero"));
            importer.typed_source(&zero, &Constant::number(0), DType::I32)?
        }
    };
    let rest = importer.broadcast(&format!("{name}.own"), rest, wanted)?;
    let rest = importer.converted(rest, DType::I32)?;
    importer.make_internal(rest);
    let x = importer.reshape(&format!("{name}.apart"), x, shape)?;
    Ok(Some((x, rest)))
}

/// The indices within each example, if those of slices begin with the example's number.
pub(super) fn within(importer: &mut Importer, node: &Node, indices: NodeId) -> Result<Option<NodeId>, String> {
    let graph = &importer.graph;
    let last = graph.ty(indices).shape.rank().saturating_sub(1);
    if !matches!(graph.op(indices), Op::Concat(op) if op.axis == last)
        || graph.ty(indices).shape.get(0) != Some(Dim::BATCH)
    {
        return Ok(None);
    }
    let all = graph.operands(indices).to_vec();
    let [first, rest @ ..] = all.as_slice() else { return Ok(None) };
    let is_number = parts(importer, *first).is_some_and(|found| found.factor == 1.0 && found.rest.is_none());
    if !is_number || importer.shape(*first).get(last) != Some(Dim::fixed(1)) {
        return Ok(None);
    }
    Ok(match rest {
        [] => None,
        &[only] => Some(only),
        several => Some(importer.inner(node, "within", ops::Concat { axis: last }, several)?),
    })
}
