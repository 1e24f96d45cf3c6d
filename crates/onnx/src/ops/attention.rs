//! Attention, as products, a scale, masks and a softmax.

use super::contract::{Label, Labelled, contract};
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, decimal};
use bitbudget_ir::{Dim, NodeId, Real, Shape, ops};

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
    forms: "`matmul`, `scale`, `add` of the mask, `softmax`, `matmul`; softcap by `tanh`; several query heads per key; masks of numbers; \
            neither a cache nor more outputs than the first",
    build: Some(attention),
    fold: None,
}];

const BATCH: Label = 0;
/// Heads of keys and values, and the heads of queries that share one.
const HEAD: Label = 1;
const SHARING: Label = 2;
const QUERY: Label = 3;
const KEY: Label = 4;
const WIDTH: Label = 5;
const VALUE_WIDTH: Label = 6;

/// An operand with one dimension for each of the batch, the rows, the heads and the width, in its own order.
struct Heads {
    x: NodeId,
    batch: Dim,
    rows: Dim,
    heads: usize,
    width: Dim,
    /// Whether the heads stand before the rows, as in operands of four dimensions.
    is_heads_first: bool,
}

impl Heads {
    /// An operand `[batch, heads, rows, width]`, or `[batch, rows, heads * width]` with the number of heads as an attribute.
    fn of(importer: &mut Importer, node: &Node, position: usize, attribute: &str) -> Result<Heads, String> {
        let x = importer.tensor(node, position)?;
        let shape = importer.shape(x);
        let given = node.int(attribute)?.map(|heads| usize::try_from(heads).unwrap_or(0));
        match (shape.0.as_slice(), given) {
            (&[batch, heads, rows, width], given) if given.is_none_or(|given| heads == Dim::fixed(given)) => {
                let heads = heads.as_fixed().ok_or_else(|| format!("the number of heads varies in {shape}"))?;
                Ok(Heads { x, batch, rows, heads, width, is_heads_first: true })
            }
            (&[batch, rows, width], Some(heads)) => {
                let each = width.as_fixed().filter(|width| heads > 0 && width % heads == 0);
                let each = each.ok_or_else(|| format!("{shape} has no {heads} heads of equal width"))?;
                let width = Dim::fixed(each / heads);
                Ok(Heads { x, batch, rows, heads, width, is_heads_first: false })
            }
            _ => Err(format!("{shape} is neither of four dimensions nor of three with {attribute}")),
        }
    }

    /// The operand with its heads in groups of `sharing`.
    fn grouped(
        &self,
        importer: &mut Importer,
        node: &Node,
        sharing: usize,
        [row, width]: [Label; 2],
    ) -> Result<Labelled, String> {
        let heads = [(HEAD, Dim::fixed(self.heads / sharing)), (SHARING, Dim::fixed(sharing))];
        let heads = if sharing == 1 { &heads[..1] } else { &heads[..] };
        let rows: &[(Label, Dim)] = &[(row, self.rows)];
        let inner = if self.is_heads_first { [heads, rows] } else { [rows, heads] };
        let all = [&[(BATCH, self.batch)], inner[0], inner[1], &[(width, self.width)]].concat();
        let (labels, dims): (Vec<Label>, Vec<Dim>) = all.into_iter().unzip();
        Ok(Labelled { x: importer.reshape(node.name, self.x, Shape(dims))?, labels })
    }
}

fn attention(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    node.refuse_outputs(1, "present_key, present_value or qk_matmul_output")?;
    for (position, name) in [(4, "past_key"), (5, "past_value"), (6, "nonpad_kv_seqlen")] {
        if node.input(position).is_some() {
            return Err(format!("its input {name} is not supported: export the network without a cache"));
        }
    }
    let q = Heads::of(importer, node, 0, "q_num_heads")?;
    let k = Heads::of(importer, node, 1, "kv_num_heads")?;
    let v = Heads::of(importer, node, 2, "kv_num_heads")?;
    let fits = q.batch == k.batch && q.batch == v.batch && k.rows == v.rows && q.width == k.width && k.heads == v.heads;
    if !fits || k.heads == 0 || !q.heads.is_multiple_of(k.heads) {
        let shapes = [&q, &k, &v].map(|heads| importer.shape(heads.x).to_string());
        return Err(format!("Q, K and V of shapes {} do not fit together", shapes.join(", ")));
    }
    let sharing = q.heads / k.heads;
    let width = q.width.as_fixed().ok_or("the width of a head varies")?;
    let by = node.float("scale")?.unwrap_or_else(|| decimal((1.0 / (width as f64).sqrt()) as f32));

    let grouped = q.grouped(importer, node, sharing, [QUERY, WIDTH])?;
    let keys = k.grouped(importer, node, 1, [KEY, WIDTH])?;
    let has_groups = |label: &Label| sharing > 1 || *label != SHARING;
    let order: Vec<Label> = [BATCH, HEAD, SHARING, QUERY, KEY].into_iter().filter(has_groups).collect();
    let scores = contract(importer, node.name, [grouped, keys], &order, None)?;
    let grouped_shape = importer.shape(scores);
    let scores = importer.emit(node.name, ops::Scale { by: Real(by) }, &[scores])?;
    let scores = capped(importer, node, scores)?;
    let scores = importer.reshape(node.name, scores, Shape(vec![q.batch, Dim::fixed(q.heads), q.rows, k.rows]))?;
    let scores = masked(importer, node, scores)?;
    let weights = importer.emit(node.name, ops::Softmax {}, &[scores])?;
    let weights = Labelled { x: importer.reshape(node.name, weights, grouped_shape)?, labels: order };

    let values = v.grouped(importer, node, 1, [KEY, VALUE_WIDTH])?;
    let out = match q.is_heads_first {
        true => [BATCH, HEAD, SHARING, QUERY, VALUE_WIDTH],
        false => [BATCH, QUERY, HEAD, SHARING, VALUE_WIDTH],
    };
    let out: Vec<Label> = out.into_iter().filter(has_groups).collect();
    let y = contract(importer, node.name, [weights, values], &out, None)?;
    let shape = match q.is_heads_first {
        true => vec![q.batch, Dim::fixed(q.heads), q.rows, v.width],
        false => vec![q.batch, q.rows, Dim::fixed(q.heads * v.width.factor())],
    };
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, Shape(shape))?)])
}

/// Scores within the bounds of softcap.
fn capped(importer: &mut Importer, node: &Node, scores: NodeId) -> Result<NodeId, String> {
    let cap = node.float("softcap")?.unwrap_or(0.0);
    if cap <= 0.0 {
        return Ok(scores);
    }
    let share = importer.emit(node.name, ops::Scale { by: Real(decimal((1.0 / cap) as f32)) }, &[scores])?;
    let share = importer.emit(node.name, ops::Tanh {}, &[share])?;
    importer.emit(node.name, ops::Scale { by: Real(cap) }, &[share])
}

/// Scores `[batch, heads, queries, keys]` plus the masks.
fn masked(importer: &mut Importer, node: &Node, scores: NodeId) -> Result<NodeId, String> {
    let (shape, mut scores) = (importer.shape(scores), scores);
    if node.input(3).is_some() {
        let mask = importer.tensor(node, 3)?;
        scores = importer.emit(node.name, ops::Add {}, &[scores, mask])?;
        if importer.shape(scores) != shape {
            return Err(format!("the mask {} does not broadcast to the scores {shape}", importer.shape(mask)));
        }
    }
    let (causal, before, after) = (node.flag("is_causal")?, window(node, "left")?, window(node, "right")?);
    if !causal && before.is_none() && after.is_none() {
        return Ok(scores);
    }
    let (Some(queries), Some(keys)) = (shape.0[2].as_fixed(), shape.0[3].as_fixed()) else {
        return Err("a causal mask or a window needs a fixed length".into());
    };
    let is_seen = |query: usize, key: usize| {
        let near =
            |from: usize, to: usize, most: Option<usize>| most.is_none_or(|most| to.saturating_sub(from) <= most);
        (!causal || key <= query) && near(key, query, before) && near(query, key, after)
    };
    let at = |i: usize| if is_seen(i / keys, i % keys) { 0.0 } else { f32::NEG_INFINITY };
    let mask =
        Constant { shape: vec![queries, keys], elements: Elements::Floats((0..queries * keys).map(at).collect()) };
    let name = importer.fresh_name(&format!("{}.mask", node.name));
    let mask = importer.constant_source(&name, &mask)?;
    importer.emit(node.name, ops::Add {}, &[scores, mask])
}

/// How far a query sees to one side, where that is bounded.
fn window(node: &Node, side: &str) -> Result<Option<usize>, String> {
    Ok(node.int(&format!("{side}_window_size"))?.and_then(|size| usize::try_from(size).ok()))
}
