//! The ONNX operators that are read: one file per family, one row per operator.

mod activation;
mod arithmetic;
mod attend;
mod attention;
mod contract;
mod conv_transpose;
mod convolution;
mod dropout;
mod einsum;
mod examples;
mod experimental;
mod fold;
mod functions;
mod index;
mod known;
mod large_windows;
mod layer_norm_pattern;
mod linear;
mod linear_map;
mod logic;
mod losses;
mod lp_pool;
mod microsoft;
mod microsoft_attention;
mod microsoft_embed;
mod normalization;
mod normalization_composed;
mod order;
mod pad;
mod part;
mod pool;
mod qonnx;
mod quantization;
mod rearrange;
mod recurrent;
mod reduce;
mod reduce_composed;
mod reshape;
mod resize;
mod rotary;
mod row;
mod scatter;
mod sequence;
mod spectrum;
mod split;
mod volume;
mod volume_transpose;
mod window;

pub(crate) use known::graph_type;
pub(crate) use row::{Fold, Row};

use crate::inline::standard;

/// All rows by family, in the order of the documentation.
pub(crate) fn families() -> [(&'static str, &'static [Row]); 34] {
    [
        ("Convolution", convolution::ROWS),
        ("Transposed convolution", conv_transpose::ROWS),
        ("Spectra", spectrum::ROWS),
        ("Matrix products", linear::ROWS),
        ("Products by equation", einsum::ROWS),
        ("Attention", attention::ROWS),
        ("Rotary embedding", rotary::ROWS),
        ("Recurrent layers", recurrent::ROWS),
        ("Normalisation", normalization::ROWS),
        ("Composed normalisation", normalization_composed::ROWS),
        ("Pooling", pool::ROWS),
        ("Pooling of norms", lp_pool::ROWS),
        ("Activations", activation::ROWS),
        ("Dropout", dropout::ROWS),
        ("Functions of one number", functions::ROWS),
        ("Arithmetic", arithmetic::ROWS),
        ("Comparisons and choices", logic::ROWS),
        ("Parts and joins", part::ROWS),
        ("Parts by index", index::ROWS),
        ("Replacing by index", scatter::ROWS),
        ("Order", order::ROWS),
        ("Padding", pad::ROWS),
        ("Splitting", split::ROWS),
        ("Sequences", sequence::ROWS),
        ("Shapes", reshape::ROWS),
        ("Repeating and regrouping", rearrange::ROWS),
        ("Quantisation", quantization::ROWS),
        ("Resizing", resize::ROWS),
        ("Reductions", reduce::ROWS),
        ("Composed reductions", reduce_composed::ROWS),
        ("Losses", losses::ROWS),
        ("Known values", known::ROWS),
        ("Withdrawn from the standard", experimental::ROWS),
        ("ONNX Runtime's, in the standard's domain", microsoft::IN_STANDARD),
    ]
}

/// The domain of ONNX Runtime's operators.
const MICROSOFT: &str = "com.microsoft";

/// The row of an operator of a domain.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static Row> {
    match domain {
        MICROSOFT => microsoft::ROWS.iter().find(|row| row.name == name),
        _ if qonnx::DOMAINS.contains(&domain) => qonnx::ROWS.iter().find(|row| row.name == name),
        _ if is_onnx(domain) => families().into_iter().flat_map(|(_, rows)| rows).find(|row| row.name == name),
        _ => None,
    }
}

/// Whether an operator of a domain is read.
pub(crate) fn is_read(domain: &str, name: &str) -> bool {
    find(domain, name).is_some()
}

/// Whether a domain is that of ONNX's own operators.
pub(crate) fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The operators that are read by the standard's functions, each with the operator sets that introduced its versions.
pub(crate) fn by_functions() -> Vec<(&'static str, Vec<i64>)> {
    standard::operators(&is_read)
}

/// An operator that is read, for the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// Its domain; empty for ONNX's own.
    pub domain: &'static str,
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
    let row = |domain, family, row: &Row| OperatorRow {
        domain,
        family,
        name: row.name,
        versions: row.versions,
        forms: row.forms,
        on_tensors: row.build.is_some(),
    };
    let own = families().into_iter().map(|(family, rows)| ("", family, rows));
    let others = [(MICROSOFT, "Domain `com.microsoft`", microsoft::ROWS), (qonnx::DOMAINS[0], "QONNX", qonnx::ROWS)];
    let all = own.chain(others);
    all.flat_map(|(domain, family, rows)| rows.iter().map(move |r| row(domain, family, r))).collect()
}
