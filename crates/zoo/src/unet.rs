//! U-Net (Ronneberger et al., arXiv 1505.04597), padded and with batch normalisation: scores for each pixel.

use crate::layers::{Kernel, Layers};
use crate::width::scaled;
use bitbudget_ir::{Dim, GraphError, NodeId, Shape, ops};

const CHANNELS: usize = 64;

/// `depth` is how often the plane is halved.
pub(crate) fn logits(
    net: &mut Layers,
    x: NodeId,
    width: f64,
    depth: usize,
    classes: usize,
) -> Result<NodeId, GraphError> {
    let channels = |level: usize| scaled(CHANNELS << level, width);
    let mut x = double_conv(net, "inc.double_conv", x, channels(0))?;
    let mut skipped = Vec::new();
    for level in 1..=depth {
        skipped.push(x);
        x = net.max_pool(&format!("down{level}.maxpool_conv.0"), x)?;
        x = double_conv(net, &format!("down{level}.maxpool_conv.1.double_conv"), x, channels(level))?;
    }
    for (i, skip) in skipped.into_iter().rev().enumerate() {
        let (name, out) = (format!("up{}", i + 1), net.channels(skip));
        x = up(net, &format!("{name}.up"), x, out)?;
        x = net.concat(&format!("{name}.concat"), skip, x)?;
        x = double_conv(net, &format!("{name}.conv.double_conv"), x, out)?;
    }
    net.conv_bias("outc.conv", x, classes, Kernel::POINT)
}

fn double_conv(net: &mut Layers, name: &str, mut x: NodeId, out: usize) -> Result<NodeId, GraphError> {
    for i in [0, 3] {
        x = net.conv(&format!("{name}.{i}"), x, out, Kernel::THREE)?;
        x = net.batch_norm(&format!("{name}.{}", i + 1), x)?;
        x = net.relu(&format!("{name}.{}", i + 2), x)?;
    }
    Ok(x)
}

/// A transposed convolution that doubles the plane.
fn up(net: &mut Layers, name: &str, x: NodeId, out: usize) -> Result<NodeId, GraphError> {
    let (channels, [height, width]) = (net.channels(x), [2, 3].map(|axis| 2 * net.size(x, axis)));
    // PyTorch's default counts a transposed convolution's fan-in by the channels that it makes.
    let fan_in = 4 * out;
    let values = net.uniform(channels * out * 4, fan_in);
    let weight = net.parameter(format!("{name}.weight"), &[channels, out, 2, 2], values);
    let values = net.uniform(out, fan_in);
    let bias = net.parameter(format!("{name}.bias"), &[out], values);
    let op = ops::ConvGradInput {
        strides: [2; 2],
        pads_begin: [0; 2],
        pads_end: [0; 2],
        dilations: [1; 2],
        groups: 1,
        input: [Dim::BATCH, out.into(), height.into(), width.into()].into(),
    };
    let y = net.emit(&format!("{name}.product"), op, &[x, weight])?;
    let bias = net.reshape(&format!("{name}.bias.channels"), bias, Shape::fixed(&[out, 1, 1]))?;
    net.add(name, y, bias)
}
