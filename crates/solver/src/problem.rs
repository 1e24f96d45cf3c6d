//! The integer program as plain data.

use crate::error::SolverError;

/// A multiple-choice program: choose one option per item at the least cost, subject to limits and links.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// The decisions.
    pub items: Vec<Item>,
    /// The limit of each row: the largest sum of the chosen options' amounts.
    pub limits: Vec<i64>,
    /// The implications between options.
    pub links: Vec<Link>,
}

/// A decision: exactly one of its options is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// The options, at least one.
    pub options: Vec<Choice>,
}

/// An option of an item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The cost, a finite number.
    pub cost: f64,
    /// The amounts.
    pub uses: Vec<Use>,
}

/// An amount in each of some adjacent rows. A negative amount is a saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The first row.
    pub first: u32,
    /// The last row.
    pub last: u32,
    /// The amount in each row.
    pub amount: i64,
}

/// A link, or implication: if `from` is chosen, so is at least one of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The option that implies others.
    pub from: Pick,
    /// The options of which at least one is chosen then; if there are none, `from` cannot be chosen.
    pub to: Vec<Pick>,
}

/// An option by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// The item's position.
    pub item: u32,
    /// The option's position in it.
    pub option: u32,
}

/// The largest amount. Sums of a few thousand such amounts are exact in double precision.
const LARGEST: i64 = 1 << 50;

impl Problem {
    /// Checks that items, options and rows exist and that numbers are in range.
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
