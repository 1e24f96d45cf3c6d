//! Checks that examples stay apart: apart from batch normalisation, no operator may mix those of a batch.
//!
//! A network that sums over the batch, say, has another result for an example at another batch size, so that evaluation would
//! not be of what was trained. The check follows where in each tensor the examples lie.

use bitbudget_ir::{Form, Graph, NodeId, Op, Shape};

/// Where the examples lie in a tensor: index `(o * N + example) * inner + i` of dimension `axis`, with `o < outer` and
/// `i < inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Examples {
    axis: usize,
    outer: usize,
    inner: usize,
}

/// What is known of a tensor; nothing where it is the same for every batch.
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

fn place(graph: &Graph, id: NodeId, places: &[Place]) -> Result<Place, &'static str> {
    let shape = &graph.ty(id).shape;
    let operands = graph.operands(id);
    let of = |operand: NodeId| places.get(operand.index()).copied().flatten();
    let first = operands.first().and_then(|&x| of(x));
    let normalises = |e: Examples| matches!(graph.facts(id).form, Form::Rows { axes } if e.axis + axes >= shape.rank());
    if first.is_some_and(normalises) {
        return Err("it normalises over the batch");
    }
    match (graph.op(id), first) {
        (Op::Input(_), _) => Ok(batch(shape)),
        (Op::BatchMean(_) | Op::BatchVariance(_) | Op::RunningAverage(_) | Op::RunningVariance(_), _) => Ok(None),
        (Op::BatchNormalize(_), _) => Ok(first),
        (Op::Conv(_), _) if operands.iter().skip(1).any(|&x| of(x).is_some()) => {
            Err("its weight is computed from the examples")
        }
        (Op::Conv(_), Some(Examples { axis: 1.., .. })) => Err("it slides or sums over the batch"),
        (Op::MaxPool(_) | Op::AveragePool(_), Some(Examples { axis: 2.., .. })) => Err("it slides over the batch"),
        (Op::Conv(_) | Op::MaxPool(_) | Op::AveragePool(_), _) => Ok(first),
        (Op::ReduceSum(op), Some(e)) => reduced(&op.axes, op.keep, e),
        (Op::ReduceMean(op), Some(e)) => reduced(&op.axes, op.keep, e),
        (Op::Concat(op), Some(e)) if e.axis == op.axis => Err("it joins along the batch"),
        (Op::Transpose(op), Some(e)) => {
            Ok(op.perm.iter().position(|&p| p == e.axis).map(|axis| Examples { axis, ..e }))
        }
        (Op::Reshape(_), Some(e)) => reshaped(&graph.ty(operands[0]).shape, shape, e),
        (Op::Broadcast(_), None) => Ok(batch(shape)),
        (Op::Matmul(op), _) => {
            let (a, b) = (first, operands.get(1).and_then(|&x| of(x)));
            let summed = |place: Place, axis: usize| place.is_some_and(|e| e.axis == axis);
            if summed(a, usize::from(!op.trans_a)) || summed(b, usize::from(op.trans_b)) {
                return Err("it sums over the batch");
            }
            let bias = operands.get(2).and_then(|&x| of(x));
            let rows = a.map(|e| Examples { axis: 0, ..e });
            let columns = b.or(bias).map(|e| Examples { axis: 1, ..e });
            same([rows, columns].into_iter())
        }
        _ => same(operands.iter().map(|&x| {
            let more = shape.rank().saturating_sub(graph.ty(x).shape.rank());
            of(x).map(|e| Examples { axis: e.axis + more, ..e })
        })),
    }
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

fn reduced(axes: &[usize], keep: bool, e: Examples) -> Result<Place, &'static str> {
    if axes.contains(&e.axis) {
        return Err("it reduces over the batch");
    }
    let before = if keep { 0 } else { axes.iter().filter(|&&axis| axis < e.axis).count() };
    Ok(Some(Examples { axis: e.axis - before, ..e }))
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
                "%1 = reduce_mean(%0) {axes=[1,2], keep=true} : f32[N,1,1]",
                "%2 = sub(%0, %1) : f32[N,4,6]",
                "return \"y\" = %2",
            ],
        ] {
            assert_eq!(checked(lines), Ok(()));
        }
    }
}
