//! The parts of transformers: layers over the last dimension, attention, embeddings.

use crate::layers::Layers;
use bitbudget_ir::{DType, Dim, GraphError, NodeId, Real, Shape, TensorType, ops};

type Built = Result<NodeId, GraphError>;

/// How widths are divided into heads: 64 numbers each, or 32 where that does not divide them.
const WIDE_HEAD: usize = 64;
const NARROW_HEAD: usize = 32;

/// The width of a transformer: `width` times `channels`, a multiple of a head's.
pub(crate) fn scaled(channels: usize, width: f64) -> usize {
    let heads = (width * channels as f64 / NARROW_HEAD as f64).round();
    NARROW_HEAD * (heads as usize).max(1)
}

fn heads(channels: usize) -> usize {
    channels / if channels.is_multiple_of(WIDE_HEAD) { WIDE_HEAD } else { NARROW_HEAD }
}

/// What scores are masked by.
#[derive(Clone, Copy)]
pub(crate) enum Mask {
    None,
    /// A tensor that is added.
    Added(NodeId),
    /// Truth values by which scores stay, with the number that stands in the place of the others.
    Chosen(NodeId, NodeId),
}

impl Layers {
    /// An input of token ids `[N, sequence]`.
    pub(crate) fn tokens(&mut self, name: &str, sequence: usize) -> NodeId {
        let ty = TensorType { dtype: DType::I32, shape: [Dim::BATCH, sequence.into()].into() };
        self.source(ops::Input { name: name.into(), target: false }, ty)
    }

    /// Parameters drawn from a normal distribution.
    pub(crate) fn normal_parameter(&mut self, name: &str, shape: &[usize], deviation: f64) -> NodeId {
        let values = self.normal(shape.iter().product(), deviation);
        self.parameter(name.into(), shape, values)
    }

    /// The rows of a table that ids name.
    pub(crate) fn embedding(&mut self, name: &str, table: NodeId, ids: NodeId) -> Built {
        self.emit(name, ops::Gather { axis: 0, batch_dims: 0 }, &[table, ids])
    }

    /// Normalisation over the last dimension.
    pub(crate) fn layer_norm(&mut self, name: &str, x: NodeId, epsilon: f64) -> Built {
        let axis = self.shape(x).rank() - 1;
        let channels = self.size(x, axis);
        let scale = self.parameter(format!("{name}.weight"), &[channels], vec![1.0; channels]);
        let bias = self.parameter(format!("{name}.bias"), &[channels], vec![0.0; channels]);
        self.emit(name, ops::LayerNormalization { axis, epsilon: Real(epsilon) }, &[x, scale, bias])
    }

    /// The product with a weight `[out, in]`, or `[in, out]` where it is not transposed, over the last dimension, and a bias.
    pub(crate) fn dense(&mut self, name: &str, x: NodeId, [weight, bias]: [NodeId; 2], trans_b: bool) -> Built {
        let shape = self.shape(x);
        let (rows, out) = (flat(&shape), self.size(bias, 0));
        let flat = self.reshape(&format!("{name}.rows"), x, [rows, self.size(x, shape.rank() - 1).into()])?;
        let y = self.emit(name, ops::Matmul { trans_a: false, trans_b }, &[flat, weight, bias])?;
        let dims = [&shape.0[..shape.rank() - 1], &[out.into()]].concat();
        self.reshape(&format!("{name}.out"), y, dims)
    }

    /// A fully connected layer over the last dimension; weights with this deviation, biases of zeros.
    pub(crate) fn linear_last(&mut self, name: &str, x: NodeId, out: usize, deviation: f64) -> Built {
        let features = self.size(x, self.shape(x).rank() - 1);
        let weight = self.normal_parameter(&format!("{name}.weight"), &[out, features], deviation);
        let bias = self.parameter(format!("{name}.bias"), &[out], vec![0.0; out]);
        self.dense(name, x, [weight, bias], true)
    }

    /// A part of the last dimension.
    pub(crate) fn part(&mut self, name: &str, x: NodeId, begin: usize, count: usize) -> Built {
        let mut shape = self.shape(x);
        let last = shape.rank() - 1;
        shape.0[last] = count.into();
        let mut from = vec![0; shape.rank()];
        from[last] = begin;
        self.emit(name, ops::Slice { begin: from, step: vec![1; shape.rank()], shape }, &[x])
    }

    /// Attention of several heads over `[N, rows, channels]`.
    pub(crate) fn attention(&mut self, name: &str, [q, k, v]: [NodeId; 3], mask: Mask) -> Built {
        let (rows, channels) = (self.size(q, 1), self.size(q, 2));
        let heads = heads(channels);
        let width = channels / heads;
        let split: Shape = [Dim::BATCH, rows.into(), heads.into(), width.into()].into();
        let mut by_head = |part: &str, x: NodeId| {
            let x = self.reshape(&format!("{name}.{part}.split"), x, split.clone())?;
            self.transpose(&format!("{name}.{part}.heads"), x, &[0, 2, 1, 3])
        };
        let (q, k, v) = (by_head("q", q)?, by_head("k", k)?, by_head("v", v)?);
        let product = |trans_b| ops::Matmul { trans_a: false, trans_b };
        let scores = self.emit(&format!("{name}.product"), product(true), &[q, k])?;
        let by = Real(1.0 / (width as f64).sqrt());
        let scores = self.emit(&format!("{name}.scores"), ops::Scale { by }, &[scores])?;
        let masked = format!("{name}.masked");
        let scores = match mask {
            Mask::None => scores,
            Mask::Added(mask) => self.emit(&masked, ops::Add {}, &[scores, mask])?,
            Mask::Chosen(stays, other) => {
                let shape = self.shape(scores);
                let stays = self.emit(&format!("{name}.mask"), ops::Broadcast { shape }, &[stays])?;
                self.emit(&masked, ops::Where {}, &[stays, scores, other])?
            }
        };
        let weights = self.emit(&format!("{name}.softmax"), ops::Softmax {}, &[scores])?;
        let y = self.emit(&format!("{name}.values"), product(false), &[weights, v])?;
        let y = self.transpose(&format!("{name}.rows"), y, &[0, 2, 1, 3])?;
        self.reshape(&format!("{name}.join"), y, [Dim::BATCH, rows.into(), channels.into()])
    }

    /// The first of the rows of `[N, rows, channels]`, as `[N, channels]`.
    pub(crate) fn first_row(&mut self, name: &str, x: NodeId) -> Built {
        let channels = self.size(x, 2);
        let shape = [Dim::BATCH, 1.into(), channels.into()].into();
        let first =
            self.emit(&format!("{name}.slice"), ops::Slice { begin: vec![0; 3], step: vec![1; 3], shape }, &[x])?;
        self.reshape(name, first, [Dim::BATCH, channels.into()])
    }
}

/// The product of all dimensions but the last.
fn flat(shape: &Shape) -> Dim {
    let factor = shape.0[..shape.rank() - 1].iter().map(|dim| dim.factor()).product();
    if shape.0.iter().any(|dim| dim.is_batch()) { Dim::batches(factor) } else { Dim::fixed(factor) }
}
