//! One file per command.

pub(crate) mod assign;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod train;
pub(crate) mod zoo;
