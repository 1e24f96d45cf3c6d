//! MobileNet-v2 (Sandler et al., arXiv 1801.04381) in its CIFAR form: strides 1 where ImageNet has 2 at first.

use crate::layers::{Kernel, Layers};
use crate::width::scaled;
use bitbudget_ir::{GraphError, NodeId};

/// Expansion, channels, number of blocks, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

pub(crate) fn logits(net: &mut Layers, x: NodeId, width: f64, classes: usize) -> Result<NodeId, GraphError> {
    let x = net.conv("conv1", x, scaled(32, width), Kernel::THREE)?;
    let x = net.batch_norm("bn1", x)?;
    let mut x = net.relu("relu1", x)?;
    let mut block = 0;
    for (expansion, channels, count, stride) in STAGES {
        for i in 0..count {
            let stride = if i == 0 { stride } else { 1 };
            x = inverted_residual(net, &format!("layers.{block}"), x, scaled(channels, width), expansion, stride)?;
            block += 1;
        }
    }
    let x = net.conv("conv2", x, 1280, Kernel::POINT)?;
    let x = net.batch_norm("bn2", x)?;
    let x = net.relu("relu2", x)?;
    let x = net.pool_and_flatten("avgpool2d", x)?;
    net.linear_normal("linear", x, classes, 0.01)
}

fn inverted_residual(
    net: &mut Layers,
    name: &str,
    x: NodeId,
    out: usize,
    expansion: usize,
    stride: usize,
) -> Result<NodeId, GraphError> {
    let channels = net.channels(x);
    let expanded = expansion * channels;
    let y = net.conv(&format!("{name}.conv1"), x, expanded, Kernel::POINT)?;
    let y = net.batch_norm(&format!("{name}.bn1"), y)?;
    let y = net.relu(&format!("{name}.relu1"), y)?;
    let y = net.conv(&format!("{name}.conv2"), y, expanded, Kernel::DEPTHWISE.stride(stride))?;
    let y = net.batch_norm(&format!("{name}.bn2"), y)?;
    let y = net.relu(&format!("{name}.relu2"), y)?;
    let y = net.conv(&format!("{name}.conv3"), y, out, Kernel::POINT)?;
    let y = net.batch_norm(&format!("{name}.bn3"), y)?;
    if stride != 1 {
        return Ok(y);
    }
    let mut shortcut = x;
    if channels != out {
        shortcut = net.conv(&format!("{name}.shortcut.0"), shortcut, out, Kernel::POINT)?;
        shortcut = net.batch_norm(&format!("{name}.shortcut.1"), shortcut)?;
    }
    net.add(&format!("{name}.add"), y, shortcut)
}
