//! The files beside a network's own in which its weights lie.

use crate::file::wire;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{GraphProto, Message, ModelProto, NodeProto, TensorProto};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The files that hold external data of an ONNX file, each once, as far as it can be read.
pub fn external_files(path: &Path) -> Vec<PathBuf> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let model = wire::check(&bytes).ok().and_then(|()| ModelProto::parse_from_bytes(&bytes).ok());
    let Some(graph) = model.as_ref().and_then(|model| model.graph.as_ref()) else { return Vec::new() };
    let functions = model.iter().flat_map(|model| &model.functions);
    let mut locations = BTreeSet::new();
    of_graph(graph, &mut locations);
    functions.for_each(|function| of_nodes(&function.node, &mut locations));
    let folder = path.parent().unwrap_or(Path::new(""));
    locations.into_iter().map(|location| folder.join(location)).collect()
}

fn of_graph<'g>(graph: &'g GraphProto, found: &mut BTreeSet<&'g str>) {
    found.extend(graph.initializer.iter().filter_map(location));
    of_nodes(&graph.node, found);
}

fn of_nodes<'g>(nodes: &'g [NodeProto], found: &mut BTreeSet<&'g str>) {
    for attribute in nodes.iter().flat_map(|node| &node.attribute) {
        found.extend(attribute.t.iter().chain(&attribute.tensors).filter_map(location));
        attribute.g.iter().chain(&attribute.graphs).for_each(|graph| of_graph(graph, found));
    }
}

/// Where the external data of a tensor lie, if it has such.
fn location(tensor: &TensorProto) -> Option<&str> {
    let external = tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL);
    let entry = tensor.external_data.iter().find(|entry| entry.key == "location");
    entry.filter(|_| external).map(|entry| entry.value.as_str())
}
