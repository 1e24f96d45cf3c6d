//! The rules: each an equation with the conditions under which it holds.
//!
//! A rule is a pattern of a term and of terms below it, and the terms that it equals: see `docs/write-a-rule.md`.

#![allow(clippy::redundant_at_rest_pattern, reason = "patterns of operands are those of slices")]

mod backward;
mod clean_up;
mod reassociation;
mod rounding;

use crate::egraph::Classes;
use crate::term::{Expr, Term};
use egg::Id;

/// An equation.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What a term of a class equals, or other classes whose terms the term has found.
    pub(crate) apply: fn(&Classes<'_>, Id, &Term, &mut Vec<(Id, Expr)>),
}

/// Which equations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Those that hold bit for bit.
    Exact,
    /// Those too that hold for real numbers but change rounding: the family `reassociation`.
    Reassociating,
}

impl Rules {
    /// The rules, family by family.
    pub(crate) fn all(self) -> Vec<&'static Rule> {
        let exact = [clean_up::RULES, rounding::RULES, backward::RULES].concat();
        match self {
            Rules::Exact => exact,
            Rules::Reassociating => [exact.as_slice(), reassociation::RULES].concat(),
        }
    }

    /// The names of the rules, in their order.
    pub fn names(self) -> Vec<&'static str> {
        self.all().iter().map(|rule| rule.name).collect()
    }
}

/// What the right side of a rule says of the class of its left side.
pub(crate) trait Equations {
    fn of(self, class: Id) -> Vec<(Id, Expr)>;
}

impl Equations for Expr {
    fn of(self, class: Id) -> Vec<(Id, Expr)> {
        vec![(class, self)]
    }
}

impl Equations for Option<Expr> {
    fn of(self, class: Id) -> Vec<(Id, Expr)> {
        self.into_iter().map(|expr| (class, expr)).collect()
    }
}

/// Equations of other classes.
impl Equations for Vec<(Id, Expr)> {
    fn of(self, _: Id) -> Vec<(Id, Expr)> {
        self
    }
}

/// `rule!("name": |g| Op(attributes)[operands]; x: Op(attributes)[operands]; if (condition); => equal)`: terms by the name
/// of a class, in any number; `Round(rounding)[x]` is a rounding, `let (pattern = value)` a condition that binds.
macro_rules! rule {
    ($name:literal: |$g:ident| $($left:tt)*) => {
        &$crate::rules::Rule {
            name: $name,
            apply: |$g, class, term, found| {
                // Not every rule asks for more than its pattern.
                let _ = $g;
                $crate::rules::matching!($g, class, found, term; $($left)*);
            },
        }
    };
}

macro_rules! matching {
    ($g:ident, $class:ident, $found:ident; => $right:expr) => {
        $found.extend($crate::rules::Equations::of($right, $class))
    };
    ($g:ident, $class:ident, $found:ident; if ($condition:expr); $($rest:tt)*) => {
        if $condition { $crate::rules::matching!($g, $class, $found; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident; let ($pattern:pat = $value:expr); $($rest:tt)*) => {
        if let $pattern = $value { $crate::rules::matching!($g, $class, $found; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident; $x:ident: $($rest:tt)*) => {
        for term in $g.terms(*$x) { $crate::rules::matching!($g, $class, $found, term; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident, $term:ident; Round($rounding:pat)[$($operands:tt)*]; $($rest:tt)*) => {
        if let ($crate::term::Head::Round($rounding), [$($operands)*]) = (&$term.head, $term.operands.as_slice()) {
            $crate::rules::matching!($g, $class, $found; $($rest)*)
        }
    };
    ($g:ident, $class:ident, $found:ident, $term:ident; $op:ident($attributes:pat)[$($operands:tt)*]; $($rest:tt)*) => {
        if let ($crate::term::Head::Op(bitbudget_ir::Op::$op($attributes)), [$($operands)*]) =
            (&$term.head, $term.operands.as_slice())
        {
            $crate::rules::matching!($g, $class, $found; $($rest)*)
        }
    };
}

pub(crate) use {matching, rule};
