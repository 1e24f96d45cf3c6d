//! The integer program as plain data.

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

/// What is wrong with a problem.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SolverError {
    /// The engine was left out.
    #[error("this build has no HiGHS: build with `--features highs`, which needs cmake and libclang")]
    NotBuilt,
    /// The system gives no threads.
    #[error("the search gets no threads: {0}; raise the limits of processes and of memory")]
    Threads(String),
    /// An item has nothing to choose.
    #[error("item {item} has no options")]
    NoOptions {
        /// The item's position.
        item: usize,
    },
    /// A cost is not finite.
    #[error("option {option} of item {item} costs {cost}; costs are finite numbers")]
    Cost {
        /// The item's position.
        item: usize,
        /// The option's position.
        option: usize,
        /// The cost.
        cost: f64,
    },
    /// A use is outside the rows.
    #[error("option {option} of item {item} uses rows {first} to {last} of {rows}")]
    Rows {
        /// The item's position.
        item: usize,
        /// The option's position.
        option: usize,
        /// The first row of the use.
        first: u32,
        /// The last row of the use.
        last: u32,
        /// How many rows there are.
        rows: usize,
    },
    /// An amount or a limit is so large that sums of such numbers would not be exact.
    #[error("an amount or limit of {0} is too large; use a larger unit")]
    Amount(i64),
    /// A link names what does not exist.
    #[error("link {link} names option {option} of item {item}, which does not exist")]
    Pick {
        /// The link's position.
        link: usize,
        /// The item's position.
        item: u32,
        /// The option's position.
        option: u32,
    },
    /// A start is not one option per item.
    #[error("the start is not one option for each of the {items} items")]
    Start {
        /// How many items there are.
        items: usize,
    },
    /// The rows whose limits shall be raised are none of the problem.
    #[error("rows {start} to {end} are not among the {rows} rows")]
    Range {
        /// The first row.
        start: u32,
        /// The row behind the last one.
        end: u32,
        /// How many rows there are.
        rows: usize,
    },
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
