//! Equations of real numbers: they change how results are rounded, and hold only where that is allowed.

use super::{Rule, rule};
use crate::egraph::Classes;
use crate::term::{Head, Term, op};
use bitbudget_ir::ops::{ReduceSum, Scale};
use bitbudget_ir::{Op, Real};
use egg::Id;

pub(crate) const RULES: &[&Rule] = &[
    // reduce_sum(batch_norm_grad_input(dy, x, batch_mean(x), .., dbias)) == 0 * dbias, with dbias = reduce_sum(dy), over all
    // axes but that of the channels, and whatever the gradient is rounded to. What is not finite stays so.
    rule!("sum-of-batch-norm-grad": |g| ReduceSum(sum)[dx]; let (Some(dbias) = centred(g, sum, *dx));
        => op(Scale { by: Real(0.0) }, [&dbias])),
];

/// The sum of what a gradient of batch normalisation was made of, if that makes its own sum zero.
fn centred(g: &Classes<'_>, sum: &ReduceSum, dx: Id) -> Option<Id> {
    let rank = g.ty(dx)?.shape.rank();
    if !sum.axes.iter().copied().eq((0..rank).filter(|&axis| axis != 1)) {
        return None;
    }
    let rounded = g.terms(dx).iter().filter(|term| matches!(term.head, Head::Round(_)));
    let exact = rounded.flat_map(|term| g.terms(term.operands[0]));
    g.terms(dx).iter().chain(exact).find_map(|term| {
        let Term { head: Head::Op(Op::BatchNormGradInput(_)), operands } = term else { return None };
        let &[dy, x, mean, _, _, _, dbias] = operands.as_slice() else { return None };
        let is_mean = |t: &Term| matches!(t.head, Head::Op(Op::BatchMean(_))) && g.same(t.operands[0], x);
        let is_sum = |t: &Term| t.head == Head::Op(sum.clone().into()) && g.same(t.operands[0], dy);
        (g.terms(mean).iter().any(is_mean) && g.terms(dbias).iter().any(is_sum)).then_some(dbias)
    })
}
