//! ONNX Runtime's operator for what stands before the layers of BERT.

use super::part::part;
use super::row::Row;
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{DType, Dim, NodeId, Real, Shape, ops};

pub(super) const EMBED: Row = Row {
    name: "EmbedLayerNormalization",
    versions: &[1],
    attributes: &["epsilon", "mask_index_type"],
    forms: "`gather` of words, segments and given positions, `add`, `layer_normalization`; the number of tokens of each example by \
            `reduce_sum` of the mask",
    build: Some(embed),
    fold: None,
};

/// The rows of a table by an input of ids.
fn rows(importer: &mut Importer, node: &Node, table: usize, ids: usize) -> Result<NodeId, String> {
    let (table, ids) = (importer.tensor(node, table)?, importer.whole(node, ids)?);
    importer.inner(node, "rows", ops::Gather { axis: 0, batch_dims: 0 }, &[table, ids])
}

fn embed(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let ids = importer.whole(node, 0)?;
    let shape = importer.shape(ids);
    let &[batch, length] = shape.0.as_slice() else {
        return Err(format!("its ids are {shape}, not [batch, tokens]"));
    };
    let words = rows(importer, node, 2, 0)?;
    let positions = match node.input(8) {
        Some(_) => rows(importer, node, 3, 8)?,
        None => {
            let table = importer.tensor(node, 3)?;
            let all = importer.shape(table).0[0].as_fixed().ok_or("the number of positions varies")?;
            let count = length.as_fixed().filter(|&count| count <= all);
            let count = count.ok_or_else(|| format!("it has {length} tokens, but positions for {all}"))?;
            let taken = part(importer, &format!("{}.positions", node.name), table, 0, (0, count, 1))?;
            importer.make_internal(taken);
            taken
        }
    };
    let mut sum = importer.inner(node, "sum", ops::Add {}, &[words, positions])?;
    if node.input(1).is_some() && node.input(4).is_some() {
        let segments = rows(importer, node, 4, 1)?;
        sum = importer.inner(node, "sum", ops::Add {}, &[sum, segments])?;
    }
    if node.read.get(2) == Some(&true) {
        importer.make_output(sum);
    }
    let (gamma, beta) = (importer.tensor(node, 5)?, importer.tensor(node, 6)?);
    let epsilon = Real(node.float("epsilon")?.unwrap_or(1e-12));
    let y = importer.emit(node.name, ops::LayerNormalization { axis: 2, epsilon }, &[sum, gamma, beta])?;
    let tokens = match node.read.get(1) {
        Some(true) => Value::Tensor(tokens(importer, node, Shape(vec![batch, Dim::fixed(length.factor())]))?),
        _ => Value::Failed,
    };
    Ok(vec![Value::Tensor(y), tokens, Value::Tensor(sum)])
}

/// The number of tokens of each example that a mask leaves.
fn tokens(importer: &mut Importer, node: &Node, shape: Shape) -> Result<NodeId, String> {
    let mask = importer.typed(node.input(7).ok_or("its second output needs a mask")?, DType::F32)?;
    if importer.shape(mask) != shape {
        return Err(format!("its mask is {}, not {shape}", importer.shape(mask)));
    }
    let count = importer.inner(node, "tokens", ops::ReduceSum { axes: vec![1], keep: false }, &[mask])?;
    importer.whole_again(count, DType::I32)
}
