//! Notes on nodes that were copied from elsewhere. They are entries of a node's metadata, so that they stay with it.

use onnx_protobuf::{NodeProto, StringStringEntryProto};

/// The operator set of a function's node where it differs from the file's.
pub(crate) const OPERATOR_SET: &str = "bitbudget.operator_set";

/// The call that a node stands for a part of.
pub(crate) const CALL: &str = "bitbudget.call";

/// The operator that a node defines together with others.
pub(crate) const DEFINES: &str = "bitbudget.defines";

/// Whether a node's result is inside of such a definition.
pub(crate) const INNER: &str = "bitbudget.inner";

/// The first output that a node of an unrolled body has in the file.
pub(crate) const ORIGINAL: &str = "bitbudget.original";

/// The number by which the scale of quantised numbers is multiplied.
pub(crate) const FACTOR: &str = "bitbudget.factor";

/// Sets a note.
pub(crate) fn set(node: &mut NodeProto, key: &str, value: &str) {
    node.metadata_props.retain(|entry| entry.key != key);
    let entry = StringStringEntryProto { key: key.into(), value: value.into(), ..StringStringEntryProto::default() };
    node.metadata_props.push(entry);
}

/// The note of a key.
pub(crate) fn get<'n>(node: &'n NodeProto, key: &str) -> Option<&'n str> {
    node.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

/// The operator set of a node in a file of the given one.
pub(crate) fn operator_set(node: &NodeProto, of_file: i64) -> i64 {
    get(node, OPERATOR_SET).and_then(|set| set.parse().ok()).unwrap_or(of_file)
}
