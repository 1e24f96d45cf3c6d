//! The ONNX operators that are read: one file per family, one row per operator.

mod activation;
mod arithmetic;
mod conv_transpose;
mod convolution;
mod fold;
mod functions;
mod known;
mod large_windows;
mod layer_norm_pattern;
mod linear;
mod linear_map;
mod lp_pool;
mod normalization;
mod normalization_composed;
mod pad;
mod part;
mod pool;
mod rearrange;
mod reduce;
mod reduce_composed;
mod reshape;
mod resize;
mod row;
mod split;
mod volume;
mod volume_transpose;
mod window;

pub(crate) use row::{Fold, Row};

/// All rows by family, in the order of the documentation.
pub(crate) fn families() -> [(&'static str, &'static [Row]); 19] {
    [
        ("Convolution", convolution::ROWS),
        ("Transposed convolution", conv_transpose::ROWS),
        ("Matrix products", linear::ROWS),
        ("Normalisation", normalization::ROWS),
        ("Composed normalisation", normalization_composed::ROWS),
        ("Pooling", pool::ROWS),
        ("Pooling of norms", lp_pool::ROWS),
        ("Activations", activation::ROWS),
        ("Functions of one number", functions::ROWS),
        ("Arithmetic", arithmetic::ROWS),
        ("Parts and joins", part::ROWS),
        ("Padding", pad::ROWS),
        ("Splitting", split::ROWS),
        ("Shapes", reshape::ROWS),
        ("Repeating and regrouping", rearrange::ROWS),
        ("Resizing", resize::ROWS),
        ("Reductions", reduce::ROWS),
        ("Composed reductions", reduce_composed::ROWS),
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
    /// The operator sets that introduced the versions that are read; older sets are converted to the first one.
    pub versions: &'static [i64],
    /// The resulting operators and the supported forms.
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
