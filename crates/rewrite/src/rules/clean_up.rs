//! Tensors that are there already.

use super::{Rule, rule};
use crate::egraph::Classes;
use crate::term::{Expr, op};
use bitbudget_ir::ops::{Concat, Slice};
use egg::Id;

pub(crate) const RULES: &[&Rule] = &[
    // part == slice(concat(.., part, ..))
    rule!("part-of-concat": |g| Concat(whole)[parts @ ..]; => slices(g, whole, parts)),
];

/// What the parts of a concatenation are of the whole.
fn slices(g: &Classes<'_>, whole: &Concat, parts: &[Id]) -> Vec<(Id, Expr)> {
    let mut end = 0;
    let slice = |&part: &Id| {
        let shape = g.ty(part)?.shape.clone();
        let mut begin = vec![0; shape.rank()];
        begin[whole.axis] = end;
        end += shape.get(whole.axis)?.as_fixed()?;
        let step = vec![1; shape.rank()];
        Some((part, op(Slice { begin, step, shape }, [op(whole.clone(), parts)])))
    };
    parts.iter().filter_map(slice).collect()
}
