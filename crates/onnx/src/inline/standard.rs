//! Functions by which the standard defines operators. `functions/standard.onnx` holds them as a model without a
//! graph; `functions/generate.py` writes it.

use onnx_protobuf::{FunctionProto, Message, ModelProto};
use std::sync::OnceLock;

/// The domain that the functions have in the file, so that they are told from a file's own.
const DOMAIN: &str = "bitbudget.standard";

/// Operators that are read without a row.
pub(crate) const CONTROL: [&str; 3] = ["If", "Loop", "Scan"];

/// The functions, each with the operator set that introduced the version of its operator as its overload.
fn bodies() -> &'static [FunctionProto] {
    static BODIES: OnceLock<Vec<FunctionProto>> = OnceLock::new();
    BODIES.get_or_init(|| {
        ModelProto::parse_from_bytes(include_bytes!("../../functions/standard.onnx"))
            .map(|model| model.functions)
            .unwrap_or_default()
    })
}

fn version(function: &FunctionProto) -> i64 {
    function.overload.parse().unwrap_or(i64::MAX)
}

/// Whether a function is one of the standard's.
pub(crate) fn is_body(function: &FunctionProto) -> bool {
    function.domain == DOMAIN
}

/// The function of an operator in an operator set, if each operator of it is known or has a function itself.
pub(crate) fn body(operator: &str, set: i64, is_known: &dyn Fn(&str, &str) -> bool) -> Option<&'static FunctionProto> {
    let versions = bodies().iter().filter(|function| function.name == operator && version(function) <= set);
    versions.max_by_key(|function| version(function)).filter(|function| is_usable(function, is_known))
}

fn is_usable(function: &FunctionProto, is_known: &dyn Fn(&str, &str) -> bool) -> bool {
    let usable = |name: &str| CONTROL.contains(&name) || is_known("", name) || body(name, i64::MAX, is_known).is_some();
    function.node.iter().all(|node| usable(&node.op_type))
}

/// The operators that are read by the standard's functions, with the versions of these.
pub(crate) fn operators(is_known: &dyn Fn(&str, &str) -> bool) -> Vec<(&'static str, Vec<i64>)> {
    let mut found: Vec<(&'static str, Vec<i64>)> = Vec::new();
    for function in bodies().iter().filter(|f| !is_known("", &f.name) && is_usable(f, is_known)) {
        match found.last_mut().filter(|(name, _)| *name == function.name) {
            Some((_, versions)) => versions.push(version(function)),
            None => found.push((&function.name, vec![version(function)])),
        }
    }
    found
}
