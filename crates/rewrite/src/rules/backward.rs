//! Gradients that need less of the forward pass.

use crate::classes::Classes;
use crate::rule::{Rule, rule};
use crate::term::{Expr, Head, op, round};
use bitbudget_formats::Overflow;
use bitbudget_ir::ops::{Clip, Concat, LeakyRelu, MaxPool, MaxPoolIndices, Relu};
use bitbudget_ir::{Op, Stored};
use egg::Id;

pub(crate) const RULES: &[&Rule] = &[
    // relu_grad(dy, x) == relu_grad(dy, relu(x))
    rule!("relu-grad-from-output": |g| ReluGrad(mask)[dy, x]; let (Some(y) = g.find(&op(Relu {}, [x])));
        => op(mask.clone(), [dy, &y])),
    // clip_grad(dy, x) == clip_grad(dy, clip(x))
    rule!("clip-grad-from-output": |g| ClipGrad(mask)[dy, x]; if (mask.min.0 < mask.max.0);
        let (Some(y) = g.find(&op(Clip { min: mask.min, max: mask.max }, [x]))); => op(mask.clone(), [dy, &y])),
    // leaky_relu_grad(dy, x) == leaky_relu_grad(dy, round(leaky_relu(x))), where the rounding leaves positive numbers as they
    // are and negative ones keep their sign.
    rule!("leaky-relu-grad-from-output": |g| LeakyReluGrad(mask)[dy, x]; if (mask.alpha.0 >= 0.0);
        let (Some(y) = forward(g, op(LeakyRelu { alpha: mask.alpha }, [x]), x)); => op(mask.clone(), [dy, &y])),
    // sum(slice_scatter(a), slice_scatter(b), ..) == concat(a, b, ..), where these lie side by side; a negative zero stays one.
    rule!("sum-of-parts": |g| Sum(_)[parts @ ..]; => concat_of_scattered(g, parts)),
    // relu_grad(slice(dy), slice(y)) == slice(relu_grad(dy, y))
    rule!("relu-grad-of-slices": |g| ReluGrad(mask)[a, b]; a: Slice(part)[dy]; b: Slice(same)[y];
        if (part == same && g.ty(*dy) == g.ty(*y)); => op(part.clone(), [op(mask.clone(), [dy, y])])),
    // relu_grad(max_pool_grad(dp, indices(y)), y) == max_pool_grad(relu_grad(dp, max_pool(y)), indices(y)), for a gradient goes
    // to where y is what was pooled.
    rule!("relu-grad-behind-max-pool": |g| ReluGrad(mask)[dx, y]; dx: MaxPoolGrad(gradient)[dp, indices];
        indices: MaxPoolIndices(of)[pooled]; if (g.same(*pooled, *y) && of.window() == gradient.window());
        let (Some(p) = g.find(&op(max_pool(of), [y])));
        => op(gradient.clone(), [op(mask.clone(), [dp, &p]), Expr::from(indices)])),
];

/// The rounded result of an operator on `x`, in a format that holds `x`.
fn forward(g: &Classes<'_>, result: Expr, x: &Id) -> Option<Id> {
    let known = g.exact(*x).0.iter().filter(|known| known.overflow == Overflow::Saturate);
    let rounded = known.map(|&known| g.find(&round(known, result.clone())));
    rounded.chain([g.find(&result)]).flatten().next()
}

fn max_pool(indices: &MaxPoolIndices) -> MaxPool {
    let MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil } = *indices;
    MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil }
}

/// The parts of a tensor that are looked at.
const MOST_PARTS: usize = 256;

/// A part of a tensor along one axis, laid into zeros and rounded then.
struct Laid {
    axis: usize,
    begin: usize,
    size: usize,
    part: Id,
    rounding: Option<Stored>,
}

/// The concatenation that a sum of parts is, rounded as these were.
fn concat_of_scattered(g: &Classes<'_>, parts: &[Id]) -> Option<Expr> {
    let mut laid = laid_parts(g, parts)?;
    laid.sort_unstable_by_key(|part| part.begin);
    let axis = laid.first()?.axis;
    let mut end = 0;
    for part in &laid {
        if part.axis != axis || part.begin != end {
            return None;
        }
        end += part.size;
    }
    let whole = g.ty(*parts.first()?)?.shape.get(axis)?.as_fixed()?;
    let rounding = laid.iter().find_map(|part| part.rounding);
    let agrees = |part: &Laid| part.rounding == rounding || rounding.is_some_and(|r| g.exact(part.part).holds(r));
    let concat = op(Concat { axis }, laid.iter().map(|part| &part.part));
    (end == whole && laid.iter().all(agrees)).then(|| match rounding {
        Some(rounding) => round(rounding, concat),
        None => concat,
    })
}

/// The terms of a sum, and those of the sums among them, if all are parts laid into zeros.
fn laid_parts(g: &Classes<'_>, parts: &[Id]) -> Option<Vec<Laid>> {
    let mut pending = parts.to_vec();
    let mut found = Vec::new();
    while let Some(id) = pending.pop() {
        match laid(g, id) {
            Some(part) => found.push(part),
            None => pending.extend(g.terms(id).iter().find_map(|term| match &term.head {
                Head::Op(Op::Sum(_)) => Some(&term.operands),
                _ => None,
            })?),
        }
        // Parts of a class that holds itself would go on without end.
        if found.len() + pending.len() > MOST_PARTS {
            return None;
        }
    }
    Some(found)
}

/// The tensor that a class lays into zeros, if that is a contiguous part along one axis.
fn laid(g: &Classes<'_>, id: Id) -> Option<Laid> {
    let below = g.terms(id).iter().flat_map(|term| match &term.head {
        Head::Round(rounding) => g.terms(term.operands[0]).iter().map(|term| (term, Some(*rounding))).collect(),
        _ => vec![(term, None)],
    });
    below
        .filter_map(|(term, rounding)| {
            let Head::Op(Op::SliceScatter(op)) = &term.head else { return None };
            let part = *term.operands.first()?;
            let sizes = &g.ty(part)?.shape;
            let mut differing = (0..op.shape.rank()).filter(|&axis| op.shape.get(axis) != sizes.get(axis));
            let axis = differing.next()?;
            let alone = differing.next().is_none() && op.step.iter().all(|&step| step == 1);
            let size = sizes.get(axis)?.as_fixed()?;
            alone.then_some(Laid { axis, begin: op.begin[axis], size, part, rounding })
        })
        .next()
}
