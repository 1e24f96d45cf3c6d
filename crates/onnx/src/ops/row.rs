//! One row of the table of operators.

use crate::file::constant::Constant;
use crate::importer::{Importer, Node, Value};
use std::rc::Rc;

/// Imports a node: the values of its outputs.
pub(crate) type Build = fn(&mut Importer, &Node) -> Result<Vec<Value>, String>;

/// The inputs of a node that are known at import.
pub(crate) type Known<'a> = &'a [Option<Rc<Constant>>];

/// Computes a node of known inputs at import: its outputs, of at most as many elements as the last argument says.
pub(crate) type Fold = fn(&Node, Known, usize) -> Result<Vec<Constant>, String>;

/// An ONNX operator and how it is read.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The operator sets that introduced the versions that are read, ascending.
    pub(crate) versions: &'static [i64],
    /// The attributes of all versions.
    pub(crate) attributes: &'static [&'static str],
    /// The resulting operators and the supported forms, for the table in the documentation.
    pub(crate) forms: &'static str,
    /// On values that depend on the network's input or on parameters; nothing if it is folded only.
    pub(crate) build: Option<Build>,
    /// On known values; nothing if it is never folded.
    pub(crate) fold: Option<Fold>,
}

impl Row {
    /// The version that an operator set selects, unless the operator came later.
    pub(crate) fn version(&self, opset: i64) -> Option<i64> {
        self.versions.iter().copied().filter(|&version| version <= opset).max()
    }
}
