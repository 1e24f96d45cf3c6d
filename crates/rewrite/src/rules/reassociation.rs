//! Equations of real numbers: they change how results are rounded, and hold only where that is allowed.

use crate::classes::Classes;
use crate::rule::{Rule, rule};
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
    let (dx_ty, op) = (g.ty(dx)?, Op::from(sum.clone()));
    let result = op.infer(&[dx_ty]).ok()?;
    if !op.facts(&[&dx_ty.shape], &result.shape).is_over_channels() {
        return None;
    }
    let rounded = g.terms(dx).iter().filter(|term| matches!(term.head, Head::Round(_)));
    let exact = rounded.flat_map(|term| g.terms(term.operands[0]));
    g.terms(dx).iter().chain(exact).find_map(|term| {
        let Term { head: Head::Op(Op::BatchNormGradInput(_)), operands } = term else { return None };
        let &[dy, x, mean, _, _, _, dbias] = operands.as_slice() else { return None };
        let is_mean = |t: &Term| matches!(t.head, Head::Op(Op::BatchMean(_))) && g.same(t.operands[0], x);
        let is_sum = |t: &Term| t.head == Head::Op(op.clone()) && g.same(t.operands[0], dy);
        (g.terms(mean).iter().any(is_mean) && g.terms(dbias).iter().any(is_sum)).then_some(dbias)
    })
}
