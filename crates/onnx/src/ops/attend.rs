//! The products of attention with their scale, masks and softmax, for the standard's operator and others.

use super::contract::{Label, Labelled, contract};
use super::fold;
use super::logic::number;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, decimal};
use bitbudget_ir::{Dim, NodeId, Real, Shape, ops};

const BATCH: Label = 0;
/// Heads of keys and values, and the heads of queries that share one.
const HEAD: Label = 1;
const SHARING: Label = 2;
const QUERY: Label = 3;
const KEY: Label = 4;
const WIDTH: Label = 5;
const VALUE_WIDTH: Label = 6;

/// An operand with one dimension for each of the batch, the rows, the heads and the width, in its own order.
pub(super) struct Heads {
    pub(super) x: NodeId,
    pub(super) batch: Dim,
    pub(super) rows: Dim,
    pub(super) heads: usize,
    pub(super) width: Dim,
    /// Whether the heads stand before the rows, as in operands of four dimensions.
    pub(super) is_heads_first: bool,
}

impl Heads {
    /// An operand `[batch, heads, rows, width]`, or `[batch, rows, heads * width]` with the number of heads as an attribute.
    pub(super) fn of(importer: &mut Importer, node: &Node, position: usize, attribute: &str) -> Result<Heads, String> {
        let x = importer.tensor(node, position)?;
        let given = node.int(attribute)?.map(|heads| usize::try_from(heads).unwrap_or(0));
        Heads::new(importer, x, given).map_err(|reason| format!("{reason} ({attribute})"))
    }

    /// A tensor `[batch, heads, rows, width]`, or `[batch, rows, heads * width]` with the number of heads.
    pub(super) fn new(importer: &Importer, x: NodeId, given: Option<usize>) -> Result<Heads, String> {
        let shape = importer.shape(x);
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
            _ => Err(format!("{shape} is neither of four dimensions nor of three with a number of heads")),
        }
    }

    /// Puts the heads before the rows.
    pub(super) fn put_first(&mut self, importer: &mut Importer, node: &Node) -> Result<(), String> {
        if self.is_heads_first {
            return Ok(());
        }
        let apart = Shape(vec![self.batch, self.rows, Dim::fixed(self.heads), self.width]);
        let x = importer.reshape(node.name, self.x, apart)?;
        self.x = importer.emit(node.name, ops::Transpose { perm: vec![0, 2, 1, 3] }, &[x])?;
        self.is_heads_first = true;
        Ok(())
    }

    /// Puts a cache `[batch, heads, rows, width]` in front of the rows; the heads stand before these.
    pub(super) fn append_to(&mut self, importer: &mut Importer, node: &Node, past: NodeId) -> Result<(), String> {
        self.x = importer.emit(node.name, ops::Concat { axis: 2 }, &[past, self.x])?;
        self.rows = importer.shape(self.x).0[2];
        Ok(())
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

/// What is done to scores that does not broadcast from a number.
pub(super) enum Mask {
    /// Numbers that are added.
    Added(NodeId),
    /// Truth values: scores stay where they are true.
    Seen(NodeId),
}

/// What is done to the products of queries and keys before the softmax.
pub(super) struct Scores {
    pub(super) scale: f64,
    /// The bound of the scores, unless it is 0.
    pub(super) softcap: f64,
    pub(super) is_causal: bool,
    /// How far a query sees back, and ahead, where that is bounded.
    pub(super) before: Option<usize>,
    pub(super) after: Option<usize>,
    /// Keys before that of the first query.
    pub(super) past: usize,
    pub(super) masks: Vec<Mask>,
}

/// The result, and the scores `[batch, heads, queries, keys]` on the way to it.
pub(super) struct Attended {
    pub(super) y: NodeId,
    pub(super) products: NodeId,
    pub(super) capped: NodeId,
    pub(super) masked: NodeId,
    pub(super) weights: NodeId,
}

/// The values, weighted by the softmax of the products of queries and keys; arranged as the queries are.
pub(super) fn attend(
    importer: &mut Importer,
    node: &Node,
    [q, k, v]: [Heads; 3],
    of: &Scores,
) -> Result<Attended, String> {
    let fits = q.batch == k.batch && q.batch == v.batch && k.rows == v.rows && q.width == k.width && k.heads == v.heads;
    if !fits || k.heads == 0 || !q.heads.is_multiple_of(k.heads) {
        let shapes = [&q, &k, &v].map(|heads| importer.shape(heads.x).to_string());
        return Err(format!("Q, K and V of shapes {} do not fit together", shapes.join(", ")));
    }
    let sharing = q.heads / k.heads;
    let grouped = q.grouped(importer, node, sharing, [QUERY, WIDTH])?;
    let keys = k.grouped(importer, node, 1, [KEY, WIDTH])?;
    let has_groups = |label: &Label| sharing > 1 || *label != SHARING;
    let order: Vec<Label> = [BATCH, HEAD, SHARING, QUERY, KEY].into_iter().filter(has_groups).collect();
    let products = contract(importer, node.name, [grouped, keys], &order, None)?;
    let grouped_shape = importer.shape(products);
    let products = importer.emit(node.name, ops::Scale { by: Real(of.scale) }, &[products])?;
    let whole = Shape(vec![q.batch, Dim::fixed(q.heads), q.rows, k.rows]);
    let capped = capped(importer, node, products, of.softcap)?;
    let capped = importer.reshape(node.name, capped, whole.clone())?;
    let masked = masked(importer, node, capped, of)?;
    let softmax = importer.emit(node.name, ops::Softmax {}, &[masked])?;
    let weights = Labelled { x: importer.reshape(node.name, softmax, grouped_shape)?, labels: order };

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
    let y = importer.reshape(node.name, y, Shape(shape))?;
    // The view is dropped where nothing reads it.
    let products = if of.softcap > 0.0 { importer.reshape(node.name, products, whole)? } else { capped };
    Ok(Attended { y, products, capped, masked, weights: softmax })
}

/// Scores within the bounds of softcap.
fn capped(importer: &mut Importer, node: &Node, scores: NodeId, cap: f64) -> Result<NodeId, String> {
    if cap <= 0.0 {
        return Ok(scores);
    }
    let share = importer.emit(node.name, ops::Scale { by: Real(decimal((1.0 / cap) as f32)) }, &[scores])?;
    let share = importer.emit(node.name, ops::Tanh {}, &[share])?;
    importer.emit(node.name, ops::Scale { by: Real(cap) }, &[share])
}

/// Scores `[batch, heads, queries, keys]` with the masks.
fn masked(importer: &mut Importer, node: &Node, scores: NodeId, of: &Scores) -> Result<NodeId, String> {
    let (shape, mut scores) = (importer.shape(scores), scores);
    for mask in &of.masks {
        match *mask {
            Mask::Added(mask) => {
                scores = importer.emit(node.name, ops::Add {}, &[scores, mask])?;
                if importer.shape(scores) != shape {
                    return Err(format!("the mask {} does not broadcast to the scores {shape}", importer.shape(mask)));
                }
            }
            Mask::Seen(seen) => {
                let seen = importer.broadcast(&format!("{}.seen", node.name), seen, shape.clone())?;
                let unseen = number(importer, node, "unseen", f32::NEG_INFINITY)?;
                scores = importer.emit(node.name, ops::Where {}, &[seen, scores, unseen])?;
            }
        }
    }
    if !of.is_causal && of.before.is_none() && of.after.is_none() {
        return Ok(scores);
    }
    let (Some(queries), Some(keys)) = (shape.0[2].as_fixed(), shape.0[3].as_fixed()) else {
        return Err("a causal mask or a window needs a fixed length".into());
    };
    let is_seen = |query: usize, key: usize| {
        let near =
            |from: usize, to: usize, most: Option<usize>| most.is_none_or(|most| to.saturating_sub(from) <= most);
        (!of.is_causal || key <= query) && near(key, query, of.before) && near(query, key, of.after)
    };
    let at = |i: usize| if is_seen(of.past + i / keys, i % keys) { 0.0 } else { f32::NEG_INFINITY };
    let mask = Constant {
        shape: vec![queries, keys],
        elements: Elements::Floats((0..fold::made(&[queries, keys])?).map(at).collect()),
    };
    let name = importer.fresh_name(&format!("{}.mask", node.name));
    let mask = importer.constant_source(&name, &mask)?;
    importer.emit(node.name, ops::Add {}, &[scores, mask])
}
