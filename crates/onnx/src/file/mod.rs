//! Bytes and messages: what stands in a file, and beside it.

pub(crate) mod beside;
pub(crate) mod constant;
pub(crate) mod external;
pub(crate) mod kind;
pub(crate) mod old_sets;
pub(crate) mod sparse;
pub(crate) mod tensor;
pub(crate) mod wire;
