//! ResNet-50 (He et al., arXiv 1512.03385) as torchvision has it, for images of 224x224.

use crate::layers::{Kernel, Layers};
use crate::width::scaled;
use bitbudget_ir::{GraphError, NodeId};

/// Channels of the inner convolutions, blocks and stride of the stages.
const STAGES: [(usize, usize, usize); 4] = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)];
/// How many times more channels a block has at its end.
const EXPANSION: usize = 4;

pub(crate) fn logits(net: &mut Layers, x: NodeId, width: f64, classes: usize) -> Result<NodeId, GraphError> {
    let x = net.conv("conv1", x, scaled(64, width), Kernel::padded(7).stride(2))?;
    let x = net.batch_norm("bn1", x)?;
    let x = net.relu("relu", x)?;
    let mut x = net.max_pool_of("maxpool", x, 3, 1)?;
    for (stage, (channels, blocks, stride)) in STAGES.into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if i == 0 { stride } else { 1 };
            x = bottleneck(net, &format!("layer{}.{i}", stage + 1), x, scaled(channels, width), stride)?;
        }
    }
    let x = net.pool_and_flatten("avgpool", x)?;
    net.linear("fc", x, classes)
}

fn bottleneck(net: &mut Layers, name: &str, x: NodeId, channels: usize, stride: usize) -> Result<NodeId, GraphError> {
    let out = EXPANSION * channels;
    let mut y = x;
    for (i, to, kernel) in
        [(1, channels, Kernel::POINT), (2, channels, Kernel::THREE.stride(stride)), (3, out, Kernel::POINT)]
    {
        y = net.conv(&format!("{name}.conv{i}"), y, to, kernel)?;
        y = net.batch_norm(&format!("{name}.bn{i}"), y)?;
        if i < 3 {
            y = net.relu(&format!("{name}.relu{i}"), y)?;
        }
    }
    let mut shortcut = x;
    if stride != 1 || net.channels(x) != out {
        shortcut = net.conv(&format!("{name}.downsample.0"), x, out, Kernel::POINT.stride(stride))?;
        shortcut = net.batch_norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    let y = net.add(&format!("{name}.add"), y, shortcut)?;
    net.relu(&format!("{name}.relu3"), y)
}
