//! What a file shows as a whole, before its nodes are imported: an order, who wrote it, what is trained and what is not.

mod clues;
pub(crate) mod folded;
pub(crate) mod frozen;
pub(crate) mod order;
pub(crate) mod pytorch;
pub(crate) mod scalars;

pub(crate) use clues::Clues;
