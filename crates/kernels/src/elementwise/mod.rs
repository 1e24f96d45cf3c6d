//! Elementwise functions, and chains of them in one pass over memory.

pub(crate) mod chain;
pub(crate) mod derived;
pub(crate) mod formula;
pub(crate) mod function;
pub(crate) mod math;
pub(crate) mod normalize;
