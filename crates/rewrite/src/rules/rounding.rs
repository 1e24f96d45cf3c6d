//! Roundings that change nothing.
//!
//! Which formats hold a tensor's numbers is known of every class (`exact.rs`): operators that only move numbers, or take
//! some of them and zeros, keep them in the format of their operand. So a rounding commutes with these where it follows one
//! to the same format, and rounding twice is rounding once. Rounding to another format that lacks some of the numbers is not.

use crate::rule::{Rule, rule};
use crate::term::{Expr, op, round};

pub(crate) const RULES: &[&Rule] = &[
    // round(x) == x, where x holds numbers of the format only.
    rule!("round-of-exact": |g| Round(rounding)[x]; if (g.exact(*x).holds(*rounding)); => Expr::from(x)),
    // relu_grad(round(dy), y) == round(relu_grad(dy, y)): a zero stays one.
    rule!("relu-grad-of-rounded": |g| ReluGrad(mask)[dy, y]; dy: Round(rounding)[exact];
        => round(*rounding, op(mask.clone(), [exact, y]))),
];
