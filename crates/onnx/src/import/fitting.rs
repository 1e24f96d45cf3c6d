//! Variable sizes of inputs that the weights fix: exporters that are told so leave every size of an input open.

use super::sizes::{Size, sizes};
use crate::file::tensor::decode;
use onnx_protobuf::{GraphProto, NodeProto, TensorProto};
use std::collections::{BTreeMap, BTreeSet};

/// The sizes, by name, that only one number fits, since the first nodes join them with weights.
pub(super) fn fixed_by_weights(graph: &GraphProto) -> BTreeMap<String, usize> {
    let weights: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|w| (w.name.as_str(), w)).chain(graph.node.iter().filter_map(constant)).collect();
    let inputs: BTreeMap<&str, Vec<Size>> = graph
        .input
        .iter()
        .filter(|input| !weights.contains_key(input.name.as_str()))
        .filter_map(|input| Some((input.name.as_str(), sizes(input).ok()?)))
        .collect();
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for node in &graph.node {
        let Some(sizes) = node.input.first().and_then(|name| inputs.get(name.as_str())) else { continue };
        let weight = node.input.get(1).and_then(|name| weights.get(name.as_str()).copied());
        let Some((axis, size)) = weight.and_then(|weight| needed(node, weight, sizes.len())) else { continue };
        // A file may have one name for all sizes that it does not know.
        let is_elsewhere = |name: &Size| {
            inputs.values().any(|sizes| sizes.iter().enumerate().any(|(at, size)| at != axis && size == name))
        };
        if let Some(size_of @ Size::Named(name)) = sizes.get(axis)
            && !is_elsewhere(size_of)
        {
            found.entry(name.clone()).or_default().insert(size);
        }
    }
    let only = |(name, sizes): (String, BTreeSet<usize>)| match sizes.len() {
        1 => Some((name, sizes.into_iter().next()?)),
        _ => None,
    };
    found.into_iter().filter_map(only).collect()
}

/// The name and the tensor of a Constant node.
fn constant(node: &NodeProto) -> Option<(&str, &TensorProto)> {
    let value = node.attribute.iter().find(|a| a.name == "value").filter(|_| node.op_type == "Constant")?;
    Some((node.output.first()?, value.t.as_ref()?))
}

/// The dimension of a node's first input, of so many, that its weight fixes, and the size.
fn needed(node: &NodeProto, weight: &TensorProto, rank: usize) -> Option<(usize, usize)> {
    let size = |axis: usize| usize::try_from(*weight.dims.get(axis)?).ok().filter(|&size| size > 0);
    let number = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
    match node.op_type.as_str() {
        "Conv" if rank > 2 => {
            let groups = usize::try_from(number("group").unwrap_or(1)).ok()?;
            Some((1, size(1)?.checked_mul(groups)?))
        }
        "Gemm" if rank == 2 && number("transA").unwrap_or(0) == 0 => {
            Some((1, size(usize::from(number("transB").unwrap_or(0) != 0))?))
        }
        "MatMul" if rank > 0 => Some((rank - 1, size(weight.dims.len().checked_sub(2)?)?)),
        "RNN" | "GRU" | "LSTM" if rank == 3 => Some((2, size(2)?)),
        // All elements of a vector, where a node gives them another shape.
        "Reshape" if rank == 1 => {
            let shape = decode(weight, None).ok()?.constant.as_fixed().ok()?;
            let sizes = shape.into_iter().map(|size| usize::try_from(size).ok().filter(|&size| size > 0));
            Some((0, sizes.collect::<Option<Vec<_>>>()?.into_iter().try_fold(1usize, usize::checked_mul)?))
        }
        _ => None,
    }
}
