//! BERT (Devlin et al., arXiv 1810.04805) as a classifier of sequences, with the names of `transformers`.

use crate::layers::Layers;
use crate::transformer::{Mask, scaled};
use crate::vit::DEVIATION;
use bitbudget_ir::{DType, Dim, GraphError, NodeId, Shape, ops};

const EPSILON: f64 = 1e-12;
/// The score of what is masked: its weight is zero, and a row of which all is masked stays finite.
const MASKED: f32 = -1e9;

/// Inputs are the ids and a mask, 1 for tokens and 0 for padding.
pub(crate) fn logits(
    net: &mut Layers,
    width: f64,
    depth: usize,
    sequence: usize,
    [vocabulary, classes]: [usize; 2],
) -> Result<NodeId, GraphError> {
    let channels = scaled(768, width);
    let ids = net.tokens("input_ids", sequence);
    let mask = net.tokens("attention_mask", sequence);
    let named = |part: &str| format!("bert.embeddings.{part}");
    let table = net.normal_parameter(&named("word_embeddings.weight"), &[vocabulary, channels], DEVIATION);
    let words = net.embedding(&named("word_embeddings"), table, ids)?;
    let types = net.normal_parameter(&named("token_type_embeddings.weight"), &[2, channels], DEVIATION);
    let first = Shape::fixed(&[1, channels]);
    let slice = ops::Slice { begin: vec![0; 2], step: vec![1; 2], shape: first };
    let kind = net.emit(&named("token_type_embeddings"), slice, &[types])?;
    let x = net.add(&named("add1"), words, kind)?;
    let positions = net.normal_parameter(&named("position_embeddings.weight"), &[sequence, channels], DEVIATION);
    let x = net.add(&named("add2"), x, positions)?;
    let mut x = net.layer_norm(&named("LayerNorm"), x, EPSILON)?;

    let stays = net.emit("attention_mask.bool", ops::Convert { from: DType::I32, to: DType::Bool }, &[mask])?;
    let stays = net.reshape("attention_mask.rows", stays, [Dim::BATCH, 1.into(), 1.into(), sequence.into()])?;
    let mask = Mask::Chosen(stays, net.constant("masked_score", MASKED));
    for i in 0..depth {
        x = layer(net, &format!("bert.encoder.layer.{i}"), x, mask)?;
    }
    let x = net.first_row("bert.pooler.first", x)?;
    let x = net.linear_normal("bert.pooler.dense", x, channels, DEVIATION)?;
    let x = net.emit("bert.pooler.activation", ops::Tanh {}, &[x])?;
    net.linear_normal("classifier", x, classes, DEVIATION)
}

fn layer(net: &mut Layers, name: &str, x: NodeId, mask: Mask) -> Result<NodeId, GraphError> {
    let channels = net.size(x, 2);
    let named = |part: &str| format!("{name}.{part}");
    let mut part = |part: &str| net.linear_last(&named(&format!("attention.self.{part}")), x, channels, DEVIATION);
    let qkv = [part("query")?, part("key")?, part("value")?];
    let y = net.attention(&named("attention.self"), qkv, mask)?;
    let y = net.linear_last(&named("attention.output.dense"), y, channels, DEVIATION)?;
    let y = net.add(&named("attention.output.add"), y, x)?;
    let x = net.layer_norm(&named("attention.output.LayerNorm"), y, EPSILON)?;
    let y = net.linear_last(&named("intermediate.dense"), x, 4 * channels, DEVIATION)?;
    let y = net.emit(&named("intermediate.act"), ops::Gelu { tanh: false }, &[y])?;
    let y = net.linear_last(&named("output.dense"), y, channels, DEVIATION)?;
    let y = net.add(&named("output.add"), y, x)?;
    net.layer_norm(&named("output.LayerNorm"), y, EPSILON)
}
