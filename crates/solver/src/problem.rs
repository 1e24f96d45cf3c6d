//! The integer program as plain data.

use crate::error::SolverError;

/// Choose one option of every item so that limits and links hold, at least cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// What is to be decided.
    pub items: Vec<Item>,
    /// What the amounts of the chosen options may sum up to at most, per row.
    pub limits: Vec<i64>,
    /// What choices ask of others.
    pub links: Vec<Link>,
}

/// A decision: exactly one of its options is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// At least one.
    pub options: Vec<Choice>,
}

/// An option.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What it costs: a finite number.
    pub cost: f64,
    /// What it takes.
    pub uses: Vec<Use>,
}

/// An amount in each of some rows; a negative one is a saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The first row.
    pub first: u32,
    /// The last row.
    pub last: u32,
    /// The amount in each.
    pub amount: i64,
}

/// If one option is chosen, then at least one of others too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The option that asks.
    pub from: Pick,
    /// What it asks for; if this is empty it cannot be chosen.
    pub to: Vec<Pick>,
}

/// An option of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// The item's position.
    pub item: u32,
    /// The option's position in it.
    pub option: u32,
}

/// The largest amount: sums of a few thousand stay exact in double precision.
const LARGEST: i64 = 1 << 50;

impl Problem {
    /// Checks that everything that is named exists and all numbers can be computed with.
    pub(crate) fn check(&self) -> Result<(), SolverError> {
        for &limit in &self.limits {
            if limit.unsigned_abs() > LARGEST.unsigned_abs() {
                return Err(SolverError::Amount(limit));
            }
        }
        for (i, item) in self.items.iter().enumerate() {
            if item.options.is_empty() {
                return Err(SolverError::NoOptions { item: i });
            }
            for (o, choice) in item.options.iter().enumerate() {
                if !choice.cost.is_finite() {
                    return Err(SolverError::Cost { item: i, option: o, cost: choice.cost });
                }
                for &Use { first, last, amount } in &choice.uses {
                    if first > last || last as usize >= self.limits.len() {
                        let rows = self.limits.len();
                        return Err(SolverError::Rows { item: i, option: o, first, last, rows });
                    }
                    if amount.unsigned_abs() > LARGEST.unsigned_abs() {
                        return Err(SolverError::Amount(amount));
                    }
                }
            }
        }
        for (l, link) in self.links.iter().enumerate() {
            for &Pick { item, option } in std::iter::once(&link.from).chain(&link.to) {
                if self.items.get(item as usize).is_none_or(|i| option as usize >= i.options.len()) {
                    return Err(SolverError::Pick { link: l, item, option });
                }
            }
        }
        Ok(())
    }
}
