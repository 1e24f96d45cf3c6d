//! The rules, family by family.

#![allow(clippy::redundant_at_rest_pattern, reason = "patterns of operands are those of slices")]

mod backward;
mod clean_up;
mod reassociation;
mod rounding;

use crate::rule::Rule;

/// Which equations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Those that hold bit for bit.
    Exact,
    /// Those too that hold for real numbers but change rounding: the family `reassociation`.
    Reassociating,
    /// Those that hold bit for bit, and rules of a program's own, which have to hold so too.
    With(&'static [&'static Rule]),
}

impl Rules {
    /// The rules, family by family.
    pub(crate) fn all(self) -> Vec<&'static Rule> {
        let exact = [clean_up::RULES, rounding::RULES, backward::RULES].concat();
        match self {
            Rules::Exact => exact,
            Rules::Reassociating => [exact.as_slice(), reassociation::RULES].concat(),
            Rules::With(own) => [exact.as_slice(), own].concat(),
        }
    }

    /// The names of the rules, in their order.
    pub fn names(self) -> Vec<&'static str> {
        self.all().iter().map(|rule| rule.name).collect()
    }
}
