//! The ONNX operators that are read: one file per family, one row per operator.

use crate::constant::Constant;
use crate::importer::Importer;
use crate::node::{Node, Value};
use std::rc::Rc;

mod activation;
mod arithmetic;
mod convolution;
mod fold;
mod functions;
mod known;
mod linear;
mod normalization;
mod part;
mod pool;
mod reduce;
mod reshape;
mod split;

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
    /// What it becomes, and which forms are supported, for the table in the documentation.
    pub(crate) forms: &'static str,
    /// On values that depend on the network's input or on parameters; nothing if it is folded only.
    pub(crate) build: Option<Build>,
    /// On known values; nothing if it is never folded.
    pub(crate) fold: Option<Fold>,
}

/// All rows by family, in the order of the documentation.
pub(crate) fn families() -> [(&'static str, &'static [Row]); 12] {
    [
        ("Convolution", convolution::ROWS),
        ("Matrix products", linear::ROWS),
        ("Normalisation", normalization::ROWS),
        ("Pooling", pool::ROWS),
        ("Activations", activation::ROWS),
        ("Functions of one number", functions::ROWS),
        ("Arithmetic", arithmetic::ROWS),
        ("Parts and joins", part::ROWS),
        ("Splitting", split::ROWS),
        ("Shapes", reshape::ROWS),
        ("Reductions", reduce::ROWS),
        ("Known values", known::ROWS),
    ]
}

/// The row of an operator of ONNX's own domain.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    families().into_iter().flat_map(|(_, rows)| rows).find(|row| row.name == name)
}

/// Whether a domain is that of ONNX's own operators.
pub(crate) fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// An operator that is read, for the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// The family that it belongs to.
    pub family: &'static str,
    /// Its name in ONNX.
    pub name: &'static str,
    /// The operator sets that introduced the versions that are read; the first one also stands for those since set 7.
    pub versions: &'static [i64],
    /// What it becomes, and which forms are supported.
    pub forms: &'static str,
    /// Whether it is read on tensors of the network, or only where its inputs are known at import.
    pub on_tensors: bool,
}

/// Every ONNX operator that is read.
pub fn operator_table() -> Vec<OperatorRow> {
    let row = |family, row: &Row| OperatorRow {
        family,
        name: row.name,
        versions: row.versions,
        forms: row.forms,
        on_tensors: row.build.is_some(),
    };
    families().into_iter().flat_map(|(family, rows)| rows.iter().map(move |r| row(family, r))).collect()
}
