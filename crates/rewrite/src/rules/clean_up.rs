//! Tensors that exist already, or are reached with fewer moves.

use crate::classes::Classes;
use crate::rule::{Rule, rule};
use crate::term::{Expr, op};
use bitbudget_ir::ops::{Concat, Slice};
use egg::Id;

pub(crate) const RULES: &[&Rule] = &[
    // part == slice(concat(.., part, ..))
    rule!("part-of-concat": |g| Concat(whole)[parts @ ..]; => slices(g, whole, parts)),
    // slice(reshape(transpose(reshape(x)))) == slice(x) in steps, where the shuffle puts every third channel, say, first, then
    // those behind these, and so on.
    rule!("slice-of-shuffle": |g| Slice(part)[shuffled]; if (part.step.iter().all(|&step| step == 1));
        shuffled: Reshape(_)[swapped]; swapped: Transpose(swap)[split]; split: Reshape(_)[x];
        if (g.ty(*shuffled) == g.ty(*x)); => in_steps(g, part, &swap.perm, *split, *x)),
];

/// The ranges of a concatenation's parts.
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

/// A part of `x` whose channels were split in two dimensions and these swapped; ill-typed where it goes beyond one index of
/// the second.
fn in_steps(g: &Classes<'_>, part: &Slice, perm: &[usize], split: Id, x: Id) -> Option<Expr> {
    let (whole, split) = (&g.ty(x)?.shape.0, &g.ty(split)?.shape.0);
    let ([n, _, inner @ ..], [m, rows, columns, same @ ..]) = (whole.as_slice(), split.as_slice()) else { return None };
    if n != m || inner != same || !perm.iter().copied().eq([0, 2, 1].into_iter().chain(3..split.len())) {
        return None;
    }
    let (rows, columns) = (rows.as_fixed()?, columns.as_fixed()?);
    let (column, row) = (part.begin.get(1)?.checked_div(rows)?, part.begin.get(1)?.checked_rem(rows)?);
    let Slice { mut begin, mut step, shape } = part.clone();
    (begin[1], step[1]) = (row * columns + column, i64::try_from(columns).ok()?);
    Some(op(Slice { begin, step, shape }, [&x]))
}
