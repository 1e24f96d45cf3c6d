//! GPT-2 (Radford et al., 2019) with the names of `transformers`: a score per token of the vocabulary for each position.

use crate::layers::Layers;
use crate::transformer::{Mask, scaled};
use crate::vit::DEVIATION;
use bitbudget_ir::{Dim, GraphError, NodeId, Shape, TensorType, ops};

const EPSILON: f64 = 1e-5;

pub(crate) fn logits(
    net: &mut Layers,
    width: f64,
    depth: usize,
    sequence: usize,
    vocabulary: usize,
) -> Result<NodeId, GraphError> {
    let channels = scaled(768, width);
    let ids = net.tokens("input_ids", sequence);
    let table = net.normal_parameter("transformer.wte.weight", &[vocabulary, channels], DEVIATION);
    let x = net.embedding("transformer.wte", table, ids)?;
    let positions = net.normal_parameter("transformer.wpe.weight", &[sequence, channels], DEVIATION / 2.0);
    let mut x = net.add("transformer.wpe", x, positions)?;
    let mask = causal_mask(net, sequence);
    for i in 0..depth {
        x = block(net, &format!("transformer.h.{i}"), x, mask, DEVIATION / (2.0 * depth as f64).sqrt())?;
    }
    let x = net.layer_norm("transformer.ln_f", x, EPSILON)?;
    let rows = net.reshape("lm_head.rows", x, [Dim::batches(sequence), channels.into()])?;
    let scores = net.emit("lm_head", ops::Matmul { trans_a: false, trans_b: true }, &[rows, table])?;
    net.reshape("lm_head.out", scores, [Dim::BATCH, sequence.into(), vocabulary.into()])
}

/// Zeros for what a position may see, and minus infinity for what comes after it.
fn causal_mask(net: &mut Layers, sequence: usize) -> Mask {
    let at = |i: usize| if i % sequence <= i / sequence { 0.0 } else { f32::NEG_INFINITY };
    let ty = TensorType::f32(Shape::fixed(&[sequence, sequence]));
    Mask::Added(net.constants("causal_mask", ty, (0..sequence * sequence).map(at).collect()))
}

fn block(net: &mut Layers, name: &str, x: NodeId, mask: Mask, deviation: f64) -> Result<NodeId, GraphError> {
    let channels = net.size(x, 2);
    let named = |part: &str| format!("{name}.{part}");
    let y = net.layer_norm(&named("ln_1"), x, EPSILON)?;
    let y = conv1d(net, &named("attn.c_attn"), y, 3 * channels, DEVIATION)?;
    let mut part = |i: usize, part: &str| net.part(&named(&format!("attn.{part}")), y, i * channels, channels);
    let qkv = [part(0, "query")?, part(1, "key")?, part(2, "value")?];
    let y = net.attention(&named("attn"), qkv, mask)?;
    let y = conv1d(net, &named("attn.c_proj"), y, channels, deviation)?;
    let x = net.add(&named("add1"), x, y)?;
    let y = net.layer_norm(&named("ln_2"), x, EPSILON)?;
    let y = conv1d(net, &named("mlp.c_fc"), y, 4 * channels, DEVIATION)?;
    let y = net.emit(&named("mlp.act"), ops::Gelu { tanh: true }, &[y])?;
    let y = conv1d(net, &named("mlp.c_proj"), y, channels, deviation)?;
    net.add(&named("add2"), x, y)
}

/// A fully connected layer whose weight is `[in, out]`.
fn conv1d(net: &mut Layers, name: &str, x: NodeId, out: usize, deviation: f64) -> Result<NodeId, GraphError> {
    let features = net.size(x, 2);
    let weight = net.normal_parameter(&format!("{name}.weight"), &[features, out], deviation);
    let bias = net.parameter(format!("{name}.bias"), &[out], vec![0.0; out]);
    net.dense(name, x, [weight, bias], false)
}
