//! Analysis of a whole file before its nodes are imported: their order, the exporter, what is trained and what is not.

mod clues;
pub(crate) mod folded;
pub(crate) mod frozen;
pub(crate) mod order;
pub(crate) mod pytorch;
pub(crate) mod scalars;

pub(crate) use clues::Clues;
