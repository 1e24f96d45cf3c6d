//! Attention of the standard: its inputs, caches, masks and outputs.

use super::attend::{Heads, Mask, Scores, attend};
use super::fold;
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Operand, Value, decimal};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};

pub(super) const ROWS: &[Row] = &[Row {
    name: "Attention",
    versions: &[23, 24, 25],
    attributes: &[
        "is_causal",
        "kv_num_heads",
        "left_window_size",
        "q_num_heads",
        "qk_matmul_output_mode",
        "right_window_size",
        "scale",
        "softcap",
        "softmax_precision",
    ],
    forms: "`matmul`, `scale`, `add` of masks of numbers, `where` of masks of truth values, `softmax`, `matmul`; softcap by `tanh`; \
            several query heads per key; past keys and values by `concat`; all outputs",
    build: Some(attention),
    fold: None,
}];

fn attention(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let q = Heads::of(importer, node, 0, "q_num_heads")?;
    let mut k = Heads::of(importer, node, 1, "kv_num_heads")?;
    let mut v = Heads::of(importer, node, 2, "kv_num_heads")?;
    let is_read = |output: usize| node.read.get(output) == Some(&true);
    let past = [past(importer, node, 4)?, past(importer, node, 5)?];
    let length = past[0].map_or(Ok(0), |past| cached(importer, past))?;
    for (heads, (past, output)) in [&mut k, &mut v].into_iter().zip(past.into_iter().zip([1, 2])) {
        if past.is_some() || is_read(output) {
            heads.put_first(importer, node)?;
        }
        if let Some(past) = past {
            heads.append_to(importer, node, past)?;
        }
    }
    let width = q.width.as_fixed().ok_or("the width of a head varies")?;
    let keys = k.rows;
    let mut masks = Vec::new();
    if let Some(operand) = node.input(3) {
        masks.push(mask(importer, node, operand, keys)?);
    }
    if let Some(operand) = node.input(6) {
        let lengths = importer.typed(operand, DType::F32)?;
        masks.push(within(importer, node, lengths, keys)?);
    }
    let window = |side: &str| -> Result<Option<usize>, String> {
        Ok(node.int(&format!("{side}_window_size"))?.and_then(|size| usize::try_from(size).ok()))
    };
    let scores = Scores {
        scale: node.float("scale")?.unwrap_or_else(|| decimal((1.0 / (width as f64).sqrt()) as f32)),
        softcap: node.float("softcap")?.unwrap_or(0.0),
        is_causal: node.flag("is_causal")?,
        before: window("left")?,
        after: window("right")?,
        past: length,
        masks,
    };
    let presents = [k.x, v.x];
    let done = attend(importer, node, [q, k, v], &scores)?;
    let products = match node.int("qk_matmul_output_mode")?.unwrap_or(0) {
        0 => done.products,
        1 => done.capped,
        2 => done.masked,
        3 => done.weights,
        other => return Err(format!("qk_matmul_output_mode is {other}, but must be from 0 to 3")),
    };
    Ok([done.y, presents[0], presents[1], products].map(Value::Tensor).into())
}

/// Past keys or values, unless they are left out or have no elements.
pub(super) fn past(importer: &mut Importer, node: &Node, position: usize) -> Result<Option<NodeId>, String> {
    match node.input(position) {
        Some(operand) if importer.constant(operand).is_ok_and(|past| past.len() == 0) => Ok(None),
        Some(operand) => importer.operand(operand).map(Some),
        None => Ok(None),
    }
}

/// The number of keys in a cache `[batch, heads, keys, width]`.
pub(super) fn cached(importer: &Importer, past: NodeId) -> Result<usize, String> {
    let shape = importer.shape(past);
    let length = shape.get(2).and_then(|dim| dim.as_fixed()).filter(|_| shape.rank() == 4);
    length.ok_or_else(|| format!("past keys {shape} are not [batch, heads, keys, width]"))
}

/// The mask that an operand is. Known truth values are added as 0 and -infinity. Beyond its last dimension nothing is seen.
pub(super) fn mask(importer: &mut Importer, node: &Node, operand: &Operand, keys: Dim) -> Result<Mask, String> {
    let known = importer.constant(operand).ok().filter(|known| matches!(known.elements, Elements::Ints(_)));
    if let Some(known) = known {
        let numbers = known.as_floats()?.iter().map(|&x| if x != 0.0 { 0.0 } else { f32::NEG_INFINITY }).collect();
        let name = importer.fresh_name(&format!("{}.mask", node.name));
        let mask = Constant { shape: known.shape.clone(), elements: Elements::Floats(numbers) };
        let mask = importer.constant_source(&name, &mask)?;
        return Ok(Mask::Added(widened(importer, node, mask, keys, f32::NEG_INFINITY)?));
    }
    match importer.dtype(operand) {
        DType::F32 => {
            let mask = importer.operand(operand)?;
            Ok(Mask::Added(widened(importer, node, mask, keys, f32::NEG_INFINITY)?))
        }
        DType::Bool | DType::I32 | DType::Index8 => {
            let mask = importer.typed(operand, DType::Bool)?;
            Ok(Mask::Seen(widened(importer, node, mask, keys, 0.0)?))
        }
    }
}

/// A mask with a number in the place of the keys that it lacks at the end.
fn widened(importer: &mut Importer, node: &Node, mask: NodeId, keys: Dim, fill: f32) -> Result<NodeId, String> {
    let mut shape = importer.shape(mask);
    let Some(last) = shape.0.last_mut() else { return Ok(mask) };
    let (Some(own), Some(keys)) = (last.as_fixed(), keys.as_fixed()) else { return Ok(mask) };
    if own >= keys || own == 1 {
        return Ok(mask);
    }
    *last = Dim::fixed(keys - own);
    let axis = shape.rank() - 1;
    let name = importer.fresh_name(&format!("{}.unseen", node.name));
    let fill = Constant { shape: Vec::new(), elements: Elements::Floats(vec![fill]) };
    let fill = match importer.graph.ty(mask).dtype {
        DType::F32 => importer.constant_source(&name, &fill)?,
        dtype => importer.typed_source(&name, &fill, dtype)?,
    };
    let fill = importer.broadcast(&name, fill, shape)?;
    importer.make_internal(fill);
    importer.inner(node, "mask", ops::Concat { axis }, &[mask, fill])
}

/// The mask of the first keys, as many for each example as `lengths` (in FP32) says.
pub(super) fn within(importer: &mut Importer, node: &Node, lengths: NodeId, keys: Dim) -> Result<Mask, String> {
    let count = keys.as_fixed().ok_or("the number of keys varies")?;
    let batch = importer.shape(lengths).get(0).ok_or("the numbers of keys are not a list")?;
    let name = importer.fresh_name(&format!("{}.keys", node.name));
    let elements = Elements::Floats((0..fold::made(&[count])?).map(|key| key as f32).collect());
    let positions = importer.constant_source(&name, &Constant { shape: vec![count], elements })?;
    let shape = Shape(vec![batch, Dim::fixed(1), Dim::fixed(1), keys]);
    let positions = importer.broadcast(&name, positions, shape.clone())?;
    let lengths = importer.reshape(node.name, lengths, Shape(vec![batch, 1.into(), 1.into(), 1.into()]))?;
    let lengths = importer.broadcast(&format!("{}.lengths", node.name), lengths, shape)?;
    for id in [positions, lengths] {
        importer.make_internal(id);
    }
    Ok(Mask::Seen(importer.emit(node.name, ops::Compare { less: true, equal: false }, &[positions, lengths])?))
}
