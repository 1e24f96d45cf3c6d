//! The vision transformer (Dosovitskiy et al., arXiv 2010.11929) in its small form, with the names of timm.

use crate::layers::{Kernel, Layers};
use crate::transformer::{Mask, scaled};
use bitbudget_ir::{Dim, GraphError, NodeId, Shape, ops};

pub(crate) const DEVIATION: f64 = 0.02;
const EPSILON: f64 = 1e-6;

/// The side of a patch: 16 for images of 112 and more, 4 for small ones.
pub(crate) fn patch([_, height, width]: [usize; 3]) -> usize {
    if height.min(width) >= 112 { 16 } else { 4 }
}

pub(crate) fn logits(
    net: &mut Layers,
    x: NodeId,
    width: f64,
    depth: usize,
    classes: usize,
) -> Result<NodeId, GraphError> {
    let channels = scaled(384, width);
    let side = patch([0, net.size(x, 2), net.size(x, 3)]);
    let x = net.conv_bias("patch_embed.proj", x, channels, Kernel::patches(side))?;
    let patches = net.size(x, 2) * net.size(x, 3);
    let x = net.reshape("patch_embed.flatten", x, [Dim::BATCH, channels.into(), patches.into()])?;
    let x = net.transpose("patch_embed.rows", x, &[0, 2, 1])?;
    let token = net.normal_parameter("cls_token", &[1, 1, channels], 1e-6);
    let shape = Shape::from([Dim::BATCH, 1.into(), channels.into()]);
    let token = net.emit("cls_token.expand", ops::Broadcast { shape }, &[token])?;
    let x = net.emit("patch_embed.concat", ops::Concat { axis: 1 }, &[token, x])?;
    let positions = net.normal_parameter("pos_embed", &[1, patches + 1, channels], DEVIATION);
    let mut x = net.add("pos_embed.add", x, positions)?;
    for i in 0..depth {
        x = block(net, &format!("blocks.{i}"), x)?;
    }
    let x = net.layer_norm("norm", x, EPSILON)?;
    let x = net.first_row("pool", x)?;
    net.linear_normal("head", x, classes, DEVIATION)
}

fn block(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    let channels = net.size(x, 2);
    let named = |part: &str| format!("{name}.{part}");
    let y = net.layer_norm(&named("norm1"), x, EPSILON)?;
    let y = net.linear_last(&named("attn.qkv"), y, 3 * channels, DEVIATION)?;
    let mut part = |i: usize, part: &str| net.part(&named(&format!("attn.{part}")), y, i * channels, channels);
    let qkv = [part(0, "query")?, part(1, "key")?, part(2, "value")?];
    let y = net.attention(&named("attn"), qkv, Mask::None)?;
    let y = net.linear_last(&named("attn.proj"), y, channels, DEVIATION)?;
    let x = net.add(&named("add1"), x, y)?;
    let y = net.layer_norm(&named("norm2"), x, EPSILON)?;
    let y = net.linear_last(&named("mlp.fc1"), y, 4 * channels, DEVIATION)?;
    let y = net.emit(&named("mlp.act"), ops::Gelu { tanh: false }, &[y])?;
    let y = net.linear_last(&named("mlp.fc2"), y, channels, DEVIATION)?;
    net.add(&named("add2"), x, y)
}
