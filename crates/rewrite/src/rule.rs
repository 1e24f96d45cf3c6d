//! A rule: an equation with the conditions under which it holds.
//!
//! It is a pattern of a term and of terms below it, and the terms that it equals: see `docs/write-a-rule.md`.

#![allow(clippy::redundant_at_rest_pattern, reason = "patterns of operands are those of slices")]

use crate::classes::Classes;
use crate::term::{Expr, Term};
use egg::Id;

/// An equation, as [`rule!`](crate::rule!) makes it.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Adds what a term of a class equals, or what other classes equal that the term led to.
    pub apply: fn(&Classes<'_>, Id, &Term, &mut Vec<(Id, Expr)>),
}

/// Rules are told apart by their names.
impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.name == other.name
    }
}

impl Eq for Rule {}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The result of a rule's right side for the class of its left side.
pub trait Equations {
    /// The equations, each of a class and a term.
    fn of(self, class: Id) -> Vec<(Id, Expr)>;
}

impl Equations for Expr {
    fn of(self, class: Id) -> Vec<(Id, Expr)> {
        vec![(class, self)]
    }
}

impl Equations for &Id {
    fn of(self, class: Id) -> Vec<(Id, Expr)> {
        Expr::from(self).of(class)
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
#[macro_export]
macro_rules! rule {
    ($name:literal: |$g:ident| $($left:tt)*) => {
        &$crate::custom::Rule {
            name: $name,
            apply: |$g, class, term, found| {
                // Not every rule asks for more than its pattern.
                let _ = $g;
                $crate::matching!($g, class, found, term; $($left)*);
            },
        }
    };
}

/// The patterns of a rule, one after the other.
#[doc(hidden)]
#[macro_export]
macro_rules! matching {
    ($g:ident, $class:ident, $found:ident; => $right:expr) => {
        $found.extend($crate::custom::Equations::of($right, $class))
    };
    ($g:ident, $class:ident, $found:ident; if ($condition:expr); $($rest:tt)*) => {
        if $condition { $crate::matching!($g, $class, $found; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident; let ($pattern:pat = $value:expr); $($rest:tt)*) => {
        if let $pattern = $value { $crate::matching!($g, $class, $found; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident; $x:ident: $($rest:tt)*) => {
        for term in $g.terms(*$x) { $crate::matching!($g, $class, $found, term; $($rest)*) }
    };
    ($g:ident, $class:ident, $found:ident, $term:ident; Round($rounding:pat)[$($operands:tt)*]; $($rest:tt)*) => {
        if let ($crate::custom::Head::Round($rounding), [$($operands)*]) = (&$term.head, $term.operands.as_slice()) {
            $crate::matching!($g, $class, $found; $($rest)*)
        }
    };
    ($g:ident, $class:ident, $found:ident, $term:ident; $op:ident($attributes:pat)[$($operands:tt)*]; $($rest:tt)*) => {
        if let ($crate::custom::Head::Op($crate::custom::Op::$op($attributes)), [$($operands)*]) =
            (&$term.head, $term.operands.as_slice())
        {
            $crate::matching!($g, $class, $found; $($rest)*)
        }
    };
}

pub(crate) use rule;
