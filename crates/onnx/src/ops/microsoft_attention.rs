//! Attention of ONNX Runtime: of queries, keys and values beside each other, with grouped heads, and rotary embeddings.

use super::attend::{Heads, Mask, Scores, attend};
use super::attention::{cached, mask, past, within};
use super::part::part;
use super::rotary::{Turn, rotated, tables, turn};
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, decimal};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};

const fn row(
    name: &'static str,
    attributes: &'static [&'static str],
    forms: &'static str,
    build: super::row::Build,
) -> Row {
    Row { name, versions: &[1], attributes, forms, build: Some(build), fold: None }
}

pub(super) const MULTI_HEAD: Row = row(
    "MultiHeadAttention",
    &["mask_filter_value", "num_heads", "scale", "unidirectional"],
    "as the standard's Attention; queries, keys and values apart or packed, with a bias, a mask of keys or their number, added scores, past keys and values",
    multi_head,
);

pub(super) const ATTENTION: Row = row(
    "Attention",
    &[
        "do_rotary",
        "mask_filter_value",
        "num_heads",
        "past_present_share_buffer",
        "qkv_hidden_sizes",
        "rotary_embedding_dim",
        "scale",
        "unidirectional",
    ],
    "`matmul` with the weights of queries, keys and values, then as the standard's Attention; masks of two and three dimensions; a \
     cache as an input, no rotary embedding",
    attention,
);

pub(super) const GROUPED: Row = row(
    "GroupQueryAttention",
    &[
        "do_rotary",
        "kv_cache_bit_width",
        "kv_num_heads",
        "local_window_size",
        "num_heads",
        "qk_output",
        "rotary_interleaved",
        "scale",
        "smooth_softmax",
        "softcap",
    ],
    "as the standard's Attention, causal, with a window and softcap; rotary embedding by position; no cache with elements",
    grouped,
);

pub(super) const ROTARY: Row = row(
    "RotaryEmbedding",
    &["interleaved", "is_packed_batching", "num_heads", "rotary_embedding_dim", "scale"],
    "as the standard's; positions of each row, or of the first",
    rotary,
);

fn heads_of(node: &Node, attribute: &str) -> Result<usize, String> {
    let heads = node.int(attribute)?.and_then(|heads| usize::try_from(heads).ok()).filter(|&heads| heads > 0);
    heads.ok_or_else(|| format!("attribute `{attribute}` is missing or not positive"))
}

/// The scale of a node, or the root of a head's width.
fn scale(node: &Node, width: Dim) -> Result<f64, String> {
    let width = width.as_fixed().ok_or("the width of a head varies")?;
    let given = node.float("scale")?.filter(|&scale| scale != 0.0);
    Ok(given.unwrap_or_else(|| decimal((1.0 / (width as f64).sqrt()) as f32)))
}

/// The mask of keys `[batch, keys]`, of scores `[batch, queries, keys]`, or of the number of keys of each example.
fn key_mask(importer: &mut Importer, node: &Node, position: usize, keys: Dim) -> Result<Option<Mask>, String> {
    let Some(operand) = node.input(position) else { return Ok(None) };
    let shape = importer.shape_of(operand)?;
    let between = match shape.rank() {
        1 => {
            let lengths = importer.typed(operand, DType::F32)?;
            return within(importer, node, lengths, keys).map(Some);
        }
        2 => 2,
        3 => 1,
        4 => 0,
        _ => return Err(format!("its mask {shape} is of a form that is not supported")),
    };
    let found = mask(importer, node, operand, keys)?;
    let mut apart = shape;
    (0..between).for_each(|_| apart.0.insert(1, Dim::fixed(1)));
    Ok(Some(match found {
        Mask::Added(mask) => Mask::Added(importer.reshape(node.name, mask, apart)?),
        Mask::Seen(mask) => Mask::Seen(importer.reshape(node.name, mask, apart)?),
    }))
}

/// Scores that are added, at a position.
fn added(importer: &mut Importer, node: &Node, position: usize) -> Result<Option<Mask>, String> {
    match node.input(position) {
        Some(_) => Ok(Some(Mask::Added(importer.tensor(node, position)?))),
        None => Ok(None),
    }
}

fn multi_head(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let count = heads_of(node, "num_heads")?;
    node.refuse_outputs(3, "qk")?;
    let parts = if node.input(1).is_none() { Some(unpacked(importer, node)?) } else { None };
    let mut sides = Vec::with_capacity(3);
    let mut start = 0;
    for position in 0..3 {
        let mut x = match parts {
            Some(parts) => parts[position],
            None => importer.tensor(node, position)?,
        };
        let shape = importer.shape(x);
        if node.input(3).is_some() {
            let width = shape.0.last().and_then(|dim| dim.as_fixed()).ok_or("the width of a bias varies")?;
            // Keys and values that have their heads come from elsewhere, with their bias.
            if shape.rank() == 3 {
                let bias = importer.tensor(node, 3)?;
                let own = part(importer, &format!("{}.bias", node.name), bias, 0, (start, width, 1))?;
                importer.make_internal(own);
                x = importer.emit(node.name, ops::Add {}, &[x, own])?;
            }
            start += if shape.rank() == 3 { width } else { count * width };
        }
        sides.push(Heads::new(importer, x, Some(count))?);
    }
    let Ok([q, mut k, mut v]) = <[Heads; 3]>::try_from(sides) else { return Err("it needs three operands".into()) };
    let cache = [past(importer, node, 6)?, past(importer, node, 7)?];
    let length = cache[0].map_or(Ok(0), |past| cached(importer, past))?;
    let is_read = |output: usize| node.read.get(output) == Some(&true);
    for (heads, (past, output)) in [&mut k, &mut v].into_iter().zip(cache.into_iter().zip([1, 2])) {
        if past.is_some() || is_read(output) {
            heads.put_first(importer, node)?;
        }
        if let Some(past) = past {
            heads.append_to(importer, node, past)?;
        }
    }
    let masks = [key_mask(importer, node, 4, k.rows)?, added(importer, node, 5)?].into_iter().flatten().collect();
    let scores = Scores {
        scale: scale(node, q.width)?,
        softcap: 0.0,
        is_causal: node.flag("unidirectional")?,
        before: None,
        after: None,
        past: length,
        masks,
    };
    let presents = [k.x, v.x];
    let done = attend(importer, node, [q, k, v], &scores)?;
    Ok([done.y, presents[0], presents[1]].map(Value::Tensor).into())
}

/// Queries, keys and values `[batch, rows, heads * width]` from a tensor `[batch, rows, heads, 3, width]`.
fn unpacked(importer: &mut Importer, node: &Node) -> Result<[NodeId; 3], String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let (&[batch, rows, heads, three, width], None) = (shape.0.as_slice(), node.input(2)) else {
        return Err(format!("without keys and values its input must be [batch, rows, heads, 3, width], not {shape}"));
    };
    if three != Dim::fixed(3) {
        return Err(format!("queries, keys and values are not packed in {shape}"));
    }
    let joined = Shape(vec![batch, rows, Dim::fixed(heads.factor() * width.factor())]);
    let mut parts = [x; 3];
    for (position, own) in parts.iter_mut().enumerate() {
        let taken = part(importer, &format!("{}.part", node.name), x, 3, (position, 1, 1))?;
        importer.make_internal(taken);
        *own = importer.reshape(node.name, taken, joined.clone())?;
    }
    Ok(parts)
}

/// Keys or values `[batch, heads, rows, width]` of a cache of both.
fn cached_side(importer: &mut Importer, node: &Node, past: NodeId, side: usize) -> Result<NodeId, String> {
    let shape = importer.shape(past);
    if shape.rank() != 5 || shape.0[0] != Dim::fixed(2) {
        return Err(format!("its cache {shape} is not [2, batch, heads, keys, width]"));
    }
    let taken = part(importer, &format!("{}.past", node.name), past, 0, (side, 1, 1))?;
    importer.make_internal(taken);
    importer.reshape(node.name, taken, Shape(shape.0[1..].to_vec()))
}

/// A cache of both from keys and values.
fn joined_sides(importer: &mut Importer, node: &Node, sides: [NodeId; 2]) -> Result<NodeId, String> {
    let mut both = sides;
    for side in &mut both {
        let shape = importer.shape(*side);
        let one = Shape([&[Dim::fixed(1)], shape.0.as_slice()].concat());
        *side = importer.reshape(node.name, *side, one)?;
    }
    importer.emit(node.name, ops::Concat { axis: 0 }, &both)
}

fn attention(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let count = heads_of(node, "num_heads")?;
    if node.flag("do_rotary")? || node.flag("past_present_share_buffer")? {
        let reason = "rotary embedding and a cache in place are not supported; use the file from before the optimizer";
        return Err(reason.into());
    }
    let past = past(importer, node, 4)?;
    let (x, weights) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    let mut operands = vec![x, weights];
    let (rows, all) = (importer.shape(x), importer.shape(weights));
    let (&[batch, length, inner], &[_, columns]) = (rows.0.as_slice(), all.0.as_slice()) else {
        return Err(format!("its input {rows} and weights {all} must have three and two dimensions"));
    };
    let columns = columns.as_fixed().ok_or("the width of its weights varies")?;
    let widths = match node.ints("qkv_hidden_sizes")? {
        Some(&[q, k, v]) => [q, k, v].map(|width| usize::try_from(width).unwrap_or(0)),
        Some(other) => return Err(format!("qkv_hidden_sizes has {} numbers, not 3", other.len())),
        None => [columns / 3; 3],
    };
    if widths.iter().sum::<usize>() != columns || widths.contains(&0) {
        return Err(format!("the widths {widths:?} do not come to the {columns} columns of its weights"));
    }
    // One product of all rows.
    let joined = match Shape(vec![batch, length]).symbolic_elements() {
        (factor, 0) => Dim::fixed(factor),
        (factor, _) => Dim::batches(factor),
    };
    operands[0] = importer.reshape(node.name, x, Shape(vec![joined, inner]))?;
    if node.input(2).is_some() {
        operands.push(importer.tensor(node, 2)?);
    }
    let product = importer.emit(node.name, ops::Matmul { trans_a: false, trans_b: false }, &operands)?;
    let product = importer.reshape(node.name, product, Shape(vec![batch, length, Dim::fixed(columns)]))?;
    let mut start = 0;
    let mut side = |importer: &mut Importer, width: usize| {
        let taken = part(importer, &format!("{}.part", node.name), product, 2, (start, width, 1))?;
        importer.make_internal(taken);
        start += width;
        Heads::new(importer, taken, Some(count))
    };
    let (q, mut k, mut v) = (side(importer, widths[0])?, side(importer, widths[1])?, side(importer, widths[2])?);
    let is_read = node.read.get(1) == Some(&true);
    let mut length = 0;
    for (number, heads) in [&mut k, &mut v].into_iter().enumerate() {
        if past.is_some() || is_read {
            heads.put_first(importer, node)?;
        }
        if let Some(past) = past {
            let own = cached_side(importer, node, past, number)?;
            length = cached(importer, own)?;
            heads.append_to(importer, node, own)?;
        }
    }
    let masks = [key_mask(importer, node, 3, k.rows)?, added(importer, node, 5)?].into_iter().flatten().collect();
    let (softcap, is_causal) = (0.0, node.flag("unidirectional")?);
    let presents = [k.x, v.x];
    let scores =
        Scores { scale: scale(node, q.width)?, softcap, is_causal, before: None, after: None, past: length, masks };
    let present = if is_read { Some(joined_sides(importer, node, presents)?) } else { None };
    let y = attend(importer, node, [q, k, v], &scores)?.y;
    Ok([Some(y), present].into_iter().flatten().map(Value::Tensor).collect())
}

fn grouped(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let (count, shared) = (heads_of(node, "num_heads")?, heads_of(node, "kv_num_heads")?);
    if past(importer, node, 3)?.is_some() || past(importer, node, 4)?.is_some() {
        return Err("a cache with elements is not supported: export the network without one".into());
    }
    if node.flag("smooth_softmax")? || (9..12).any(|position| node.input(position).is_some_and(|_| position != 10)) {
        return Err("smooth_softmax, given positions and head sinks are not supported".into());
    }
    let mut q = importer.tensor(node, 0)?;
    let [k, v] = match node.input(1) {
        Some(_) => [importer.tensor(node, 1)?, importer.tensor(node, 2)?],
        None => {
            // Columns of queries, then of keys, then of values.
            let (all, packed) = (importer.shape(q).0.last().map_or(0, |dim| dim.factor()), q);
            let width = all / (count + 2 * shared);
            let side = |importer: &mut Importer, start: usize, heads: usize| {
                let taken =
                    part(importer, &format!("{}.part", node.name), packed, 2, (start * width, heads * width, 1))?;
                importer.make_internal(taken);
                Ok::<NodeId, String>(taken)
            };
            if importer.shape(packed).rank() != 3 || width * (count + 2 * shared) != all {
                return Err(format!("queries, keys and values are not packed in {}", importer.shape(packed)));
            }
            q = side(importer, 0, count)?;
            [side(importer, count, shared)?, side(importer, count + shared, shared)?]
        }
    };
    let mut q = Heads::new(importer, q, Some(count))?;
    let mut k = Heads::new(importer, k, Some(shared))?;
    let mut v = Heads::new(importer, v, Some(shared))?;
    if node.flag("do_rotary")? {
        let how = Turn { is_interleaved: node.flag("rotary_interleaved")?, dims: 0 };
        let length = q.rows.as_fixed().ok_or("a rotary embedding needs a fixed length")?;
        let whole = tables(importer, node, [7, 8], None)?;
        let mut first = [whole[0]; 2];
        for (own, table) in first.iter_mut().zip(whole) {
            *own = part(importer, &format!("{}.turns", node.name), table, 0, (0, length, 1))?;
            importer.make_internal(*own);
        }
        let dims = 2 * importer.shape(first[0]).0.last().map_or(0, |dim| dim.factor());
        let how = Turn { dims, ..how };
        for heads in [&mut q, &mut k] {
            heads.x = rotated(importer, node, heads, first, &how)?;
        }
    }
    if (1..3).any(|output| node.read.get(output) == Some(&true)) {
        k.put_first(importer, node)?;
        v.put_first(importer, node)?;
    }
    let window = node.int("local_window_size")?.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
    let scores = Scores {
        scale: scale(node, q.width)?,
        softcap: node.float("softcap")?.unwrap_or(0.0),
        is_causal: true,
        before: window.map(|size| size - 1),
        after: None,
        past: 0,
        masks: added(importer, node, 10)?.into_iter().collect(),
    };
    let presents = [k.x, v.x];
    let done = attend(importer, node, [q, k, v], &scores)?;
    Ok([done.y, presents[0], presents[1]].map(Value::Tensor).into())
}

fn rotary(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if node.flag("is_packed_batching")? || node.float("scale")?.is_some_and(|scale| scale != 1.0) {
        return Err("packed batches and a scale are not supported".into());
    }
    let x = importer.tensor(node, 0)?;
    let given = node.int("num_heads")?.and_then(|heads| usize::try_from(heads).ok()).filter(|&heads| heads > 0);
    let how = turn(node, "interleaved", "rotary_embedding_dim")?;
    let width = importer.shape(x).0.last().map_or(0, |dim| dim.factor());
    let pairs = importer.shape_of(node.need(2)?)?.0.last().map_or(0, |dim| dim.factor());
    // Without a number of heads, the tables say how wide these are.
    let heads = Heads::new(importer, x, given.or(Some(width.checked_div(2 * pairs).unwrap_or(0))))?;
    let positions = node.need(1)?;
    let by_row = importer.shape_of(positions)?.rank() > 1;
    let found = match (by_row, importer.constant(positions)) {
        (true, _) => tables(importer, node, [2, 3], Some(positions))?,
        (false, Ok(first)) => {
            let start = *first.as_fixed()?.first().ok_or("its position is missing")?;
            let start = usize::try_from(start).map_err(|_| "its position is negative")?;
            let count = heads.rows.as_fixed().ok_or("a rotary embedding needs a fixed length")?;
            let whole = tables(importer, node, [2, 3], None)?;
            let mut own = whole;
            for (own, table) in own.iter_mut().zip(whole) {
                *own = part(importer, &format!("{}.turns", node.name), table, 0, (start, count, 1))?;
                importer.make_internal(*own);
            }
            own
        }
        (false, Err(_)) => {
            let count = heads.rows.as_fixed().ok_or("a rotary embedding needs a fixed length")?;
            let elements = Elements::Floats((0..count).map(|row| row as f32).collect());
            let name = importer.fresh_name(&format!("{}.rows", node.name));
            let rows = importer.constant_source(&name, &Constant { shape: vec![count], elements })?;
            let first = importer.operand(positions)?;
            let all = importer.inner(node, "positions", ops::Add {}, &[rows, first])?;
            let all = importer.converted(all, DType::I32)?;
            let whole = tables(importer, node, [2, 3], None)?;
            let turned = |importer: &mut Importer, table: NodeId| {
                importer.inner(node, "turns", ops::Gather { axis: 0, batch_dims: 0 }, &[table, all])
            };
            [turned(importer, whole[0])?, turned(importer, whole[1])?]
        }
    };
    Ok(vec![Value::Tensor(rotated(importer, node, &heads, found, &how)?)])
}
