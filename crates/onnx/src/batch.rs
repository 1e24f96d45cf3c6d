//! Checks that examples stay apart: apart from batch normalisation, no operator may mix those of a batch.
//!
//! A network that sums over the batch, say, has another result for an example at another batch size, so that evaluation would
//! not be of what was trained. The check follows where in each tensor the examples lie.

use bitbudget_ir::{Form, Graph, NodeId, Op, Read, Shape, ops};

/// Where the examples lie in a tensor: index `(o * N + example) * inner + i` of dimension `axis`, with `o < outer` and
/// `i < inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Examples {
    axis: usize,
    outer: usize,
    inner: usize,
}

/// The facts known about a tensor; none where it is the same for every batch.
type Place = Option<Examples>;

/// Why an operator that mixes examples as is said is refused.
pub(crate) fn mixing(how: &str) -> String {
    format!(
        "{how}, so that an example's result would depend on the rest of its batch, which only batch normalisation may do; \
         export the network without it"
    )
}

/// Checks that no node mixes examples.
///
/// # Errors
/// The first node that does, and how.
pub(crate) fn check(graph: &Graph) -> Result<(), String> {
    let mut places: Vec<Place> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let place = place(graph, id, &places).map_err(|reason| {
            let node = graph.node(id);
            format!(
                "node `{}` ({}) mixes the examples of a batch: {reason}. An example's result would depend on the rest of \
                 its batch and on the batch size, which only batch normalisation may do; export the network without it",
                node.name,
                node.op.name()
            )
        })?;
        places.push(place);
    }
    Ok(())
}

/// Where the examples lie in a result, by what its operator states of itself; operators that move elements in ways that are not listed
/// here are refused.
fn place(graph: &Graph, id: NodeId, places: &[Place]) -> Result<Place, &'static str> {
    let shape = &graph.ty(id).shape;
    let (operands, facts) = (graph.operands(id), graph.facts(id));
    let of = |operand: NodeId| places.get(operand.index()).copied().flatten();
    let first = operands.first().and_then(|&x| of(x));
    // The examples of an operand in the result's dimensions, where the result has the operand's as its last ones.
    let aligned = |&x: &NodeId| {
        let more = shape.rank().saturating_sub(graph.ty(x).shape.rank());
        of(x).map(|e| Examples { axis: e.axis + more, ..e })
    };
    match (&facts.form, graph.op(id)) {
        (Form::Source, _) => Ok(batch(shape)),
        (Form::Map(_), _) => same(operands.iter().enumerate().map(|(position, x)| match facts.reads.of(position) {
            Read::Shape => None,
            Read::Channel => of(*x).map(|e| Examples { axis: 1, ..e }),
            Read::Each | Read::Scalar | Read::Broadcast | Read::Whole => aligned(x),
        })),
        (Form::Rows { axes }, _) if first.is_some_and(|e| e.axis + axes >= shape.rank()) => {
            Err("it normalises over the batch")
        }
        (Form::Rows { .. }, _) => same(operands.iter().map(aligned)),
        (Form::Alias, _) => first.map_or(Ok(None), |e| reshaped(&graph.ty(operands[0]).shape, shape, e)),
        (Form::Reduction { .. }, Op::BatchMean(_) | Op::BatchVariance(_)) => Ok(None),
        (Form::Reduction { kept }, _) => {
            let keeps_rank = operands.first().is_some_and(|&x| graph.ty(x).shape.rank() == shape.rank());
            match first {
                Some(e) => reduced(kept, keeps_rank, e),
                None if operands.iter().any(|&x| of(x).is_some()) => Err("it reduces over the batch"),
                None => Ok(None),
            }
        }
        (Form::Product, Op::Matmul(op)) => {
            let (a, b) = (first, operands.get(1).and_then(|&x| of(x)));
            let (row, column) = (shape.rank() - 2, shape.rank() - 1);
            let summed = |place: Place, axis: usize| place.is_some_and(|e| e.axis == axis);
            if summed(a, if op.trans_a { row } else { column }) || summed(b, if op.trans_b { column } else { row }) {
                return Err("it sums over the batch");
            }
            let bias = operands.get(2).and_then(|&x| of(x)).map(|e| Examples { axis: column, ..e });
            let to = |place: Place, axis: usize| place.map(|e| if e.axis < row { e } else { Examples { axis, ..e } });
            same([to(a, row), to(b, column), bias].into_iter())
        }
        (Form::Product, Op::GatherGrad(op)) => sums_by_index(graph, operands, places, op),
        (Form::Product, Op::Recurrent(op)) => {
            let at = op.operands();
            if first.is_some_and(|e| e.axis != 1) {
                return Err("it takes the examples for steps");
            }
            let states = [Some(0), at.lengths, at.hidden, at.cell];
            let is_state = |position: usize| states.contains(&Some(position));
            if operands.iter().enumerate().any(|(position, &x)| !is_state(position) && of(x).is_some()) {
                return Err("its weight is computed from the examples");
            }
            same(states.into_iter().flatten().map(|position| of(operands[position]).map(|e| Examples { axis: 3, ..e })))
        }
        (Form::Product, _) if operands.iter().skip(1).any(|&x| of(x).is_some()) => {
            Err("its weight is computed from the examples")
        }
        (Form::Product, _) if first.is_some_and(|e| e.axis > 0) => Err("it slides or sums over the batch"),
        (Form::Product, _) => Ok(first),
        (Form::Window, _) if first.is_some_and(|e| e.axis > 1) => Err("it slides over the batch"),
        (Form::Window, _) => same(operands.iter().map(aligned)),
        (Form::Planes(_) | Form::Move, Op::Concat(op)) => {
            match operands.iter().any(|&x| of(x).is_some_and(|e| e.axis == op.axis)) {
                true => Err("it joins along the batch"),
                false => same(operands.iter().map(aligned)),
            }
        }
        (Form::Planes(_) | Form::Move, Op::Transpose(op)) => {
            let moved = |e: Examples| op.perm.iter().position(|&p| p == e.axis).map(|axis| Examples { axis, ..e });
            Ok(first.and_then(moved))
        }
        (Form::Move, Op::Gather(op)) => slices_by_index(graph, operands, places, op),
        (Form::Planes(_) | Form::Move, Op::Slice(_) | Op::SliceScatter(_)) => Ok(first),
        (Form::Planes(_) | Form::Move, Op::Broadcast(_)) if first.is_none() => Ok(batch(shape)),
        (Form::Planes(_) | Form::Move, Op::Broadcast(_)) => same(operands.iter().map(aligned)),
        (Form::Planes(_) | Form::Move, _) => match operands.iter().any(|&x| of(x).is_some()) {
            true => Err("it may move elements from one example to another"),
            false => Ok(None),
        },
    }
}

/// The places of a tensor and of its indices, and how many dimensions the latter have after the shared ones.
fn indexed(graph: &Graph, operands: &[NodeId], places: &[Place], batch_dims: usize) -> (Place, Place, usize) {
    let of = |at: usize| operands.get(at).and_then(|x| places.get(x.index()).copied().flatten());
    let rank = operands.get(1).map_or(0, |&x| graph.ty(x).shape.rank());
    (of(0), of(1), rank.saturating_sub(batch_dims))
}

fn slices_by_index(
    graph: &Graph,
    operands: &[NodeId],
    places: &[Place],
    op: &ops::Gather,
) -> Result<Place, &'static str> {
    let (x, indices, own) = indexed(graph, operands, places, op.batch_dims);
    let moved = |e: Examples| Examples { axis: if e.axis < op.axis { e.axis } else { e.axis + own - 1 }, ..e };
    let aside = |e: Examples| match e.axis < op.batch_dims {
        true => e,
        false => Examples { axis: e.axis - op.batch_dims + op.axis, ..e },
    };
    same([x.map(moved), indices.map(aside)].into_iter())
}

fn sums_by_index(
    graph: &Graph,
    operands: &[NodeId],
    places: &[Place],
    op: &ops::GatherGrad,
) -> Result<Place, &'static str> {
    let (dy, indices, own) = indexed(graph, operands, places, op.batch_dims);
    let is_summed = |e: Examples| e.axis >= op.axis && e.axis < op.axis + own;
    if dy.is_some_and(is_summed) || indices.is_some_and(|e| e.axis >= op.batch_dims) {
        return Err("it sums over the batch");
    }
    let moved = |e: Examples| Examples { axis: if e.axis < op.axis { e.axis } else { e.axis + 1 - own }, ..e };
    same([dy.map(moved), indices].into_iter())
}

/// The place of a batch whose examples are whole along its dimension.
fn batch(shape: &Shape) -> Place {
    let axis = shape.0.iter().position(|d| d.is_batch())?;
    Some(Examples { axis, outer: 1, inner: shape.0[axis].factor() })
}

/// The place that all have.
fn same(places: impl Iterator<Item = Place>) -> Result<Place, &'static str> {
    let mut all = places.flatten();
    let first = all.next();
    match all.all(|place| Some(place) == first) {
        true => Ok(first),
        false => Err("it puts different examples side by side"),
    }
}

/// The place after a reduction that leaves some axes, or leaves the others with size 1.
fn reduced(kept: &[usize], keeps_rank: bool, e: Examples) -> Result<Place, &'static str> {
    let position = kept.iter().position(|&axis| axis == e.axis).ok_or("it reduces over the batch")?;
    Ok(Some(Examples { axis: if keeps_rank { e.axis } else { position }, ..e }))
}

/// The place after a change of shape: as many elements stand before and after the examples as did.
fn reshaped(from: &Shape, to: &Shape, e: Examples) -> Result<Place, &'static str> {
    let size = |dims: &[bitbudget_ir::Dim]| dims.iter().map(|d| d.factor()).product::<usize>().max(1);
    let Some(Examples { axis, .. }) = batch(to) else { return Ok(None) };
    let (before, after) = (size(&from.0[..e.axis]) * e.outer, e.inner * size(&from.0[e.axis + 1..]));
    let (new_before, new_after) = (size(&to.0[..axis]), size(&to.0[axis + 1..]));
    if before % new_before != 0 || after % new_after != 0 {
        return Err("its new shape puts elements of several examples together");
    }
    Ok(Some(Examples { axis, outer: before / new_before, inner: after / new_after }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(lines: &[&str]) -> Result<(), String> {
        let text = format!("graph \"g\" {{\n{}\n}}", lines.join("\n"));
        check(&text.parse().unwrap())
    }

    const X: &str = "%0 = input {name=\"x\"} : f32[N,4,6]";

    #[test]
    fn what_mixes_examples_is_refused() {
        for (lines, reason) in [
            (
                &[X, "%1 = reduce_sum(%0) {axes=[0], keep=true} : f32[1,4,6] \"sum\"", "return \"y\" = %1"][..],
                "reduces over",
            ),
            (&[X, "%1 = all_finite(%0) : f32[]", "return \"y\" = %1"], "reduces over"),
            (
                &[
                    X,
                    "%1 = transpose(%0) {perm=[1,2,0]} : f32[4,6,N]",
                    "%2 = softmax(%1) : f32[4,6,N] \"softmax\"",
                    "return \"y\" = %2",
                ],
                "normalises over",
            ),
            (
                &[
                    "%0 = input {name=\"x\"} : f32[N,4]",
                    "%1 = matmul(%0, %0) {trans_a=true, trans_b=false} : f32[4,4] \"gram\"",
                    "%2 = matmul(%0, %1) {trans_a=false, trans_b=false} : f32[N,4] \"product\"",
                    "return \"y\" = %2",
                ],
                "`gram` (matmul) mixes the examples of a batch: it sums over the batch",
            ),
            (
                &[
                    X,
                    "%1 = transpose(%0) {perm=[1,2,0]} : f32[4,6,N]",
                    "%2 = transpose(%0) {perm=[1,0,2]} : f32[4,N,6]",
                    "%3 = matmul(%1, %2) : f32[4,6,6] \"products\"",
                    "return \"y\" = %3",
                ],
                "`products` (matmul) mixes the examples of a batch: it sums over the batch",
            ),
            (
                &[X, "%1 = reshape(%0) {shape=<4,N,6>} : f32[4,N,6] \"mixed\"", "return \"y\" = %1"],
                "its new shape puts elements of several examples together",
            ),
            (
                &[
                    X,
                    "%1 = reshape(%0) {shape=<4*N,6>} : f32[4*N,6]",
                    "%2 = transpose(%0) {perm=[1,0,2]} : f32[4,N,6]",
                    "%3 = reshape(%2) {shape=<4*N,6>} : f32[4*N,6]",
                    "%4 = add(%1, %3) : f32[4*N,6] \"sum\"",
                    "return \"y\" = %4",
                ],
                "different examples side by side",
            ),
        ] {
            let message = checked(lines).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn what_keeps_examples_apart_is_not() {
        // Windows, as attention takes them; time first, as recurrent networks have it; the mean of each example.
        for lines in [
            &[
                X,
                "%1 = reshape(%0) {shape=<N,2,2,6>} : f32[N,2,2,6]",
                "%2 = transpose(%1) {perm=[0,2,1,3]} : f32[N,2,2,6]",
                "%3 = reshape(%2) {shape=<2*N,2,6>} : f32[2*N,2,6]",
                "%4 = softmax(%3) : f32[2*N,2,6]",
                "%5 = reshape(%4) {shape=<N,24>} : f32[N,24]",
                "return \"y\" = %5",
            ][..],
            &[
                X,
                "%1 = transpose(%0) {perm=[1,0,2]} : f32[4,N,6]",
                "%2 = reshape(%1) {shape=<4*N,6>} : f32[4*N,6]",
                "%3 = parameter {name=\"w\"} : f32[6,5]",
                "%4 = matmul(%2, %3) {trans_a=false, trans_b=false} : f32[4*N,5]",
                "%5 = reshape(%4) {shape=<4,N,5>} : f32[4,N,5]",
                "%6 = reduce_sum(%5) {axes=[0], keep=false} : f32[N,5]",
                "return \"y\" = %6",
            ],
            &[
                X,
                "%1 = matmul(%0, %0) {trans_b=true} : f32[N,4,4]",
                "%2 = matmul(%1, %0) : f32[N,4,6]",
                "%3 = transpose(%2) {perm=[1,0,2]} : f32[4,N,6]",
                "%4 = parameter {name=\"w\"} : f32[4,6,5]",
                "%5 = matmul(%3, %4) : f32[4,N,5]",
                "%6 = transpose(%5) {perm=[1,0,2]} : f32[N,4,5]",
                "return \"y\" = %6",
            ],
            &[
                X,
                "%1 = reduce_mean(%0) {axes=[1,2], keep=true} : f32[N,1,1]",
                "%2 = sub(%0, %1) : f32[N,4,6]",
                "return \"y\" = %2",
            ],
        ] {
            assert_eq!(checked(lines), Ok(()));
        }
    }
}
