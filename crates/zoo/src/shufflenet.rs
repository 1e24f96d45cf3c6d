//! ShuffleNet-v2 (Ma et al., arXiv 1807.11164).

use crate::layers::{Kernel, Layers};
use bitbudget_ir::{GraphError, NodeId};

/// Blocks per stage, the down block among them.
const BLOCKS: [usize; 3] = [4, 8, 4];

fn stage_channels(width: f64) -> [usize; 3] {
    match width {
        0.1 => [12, 24, 48],
        0.25 => [28, 56, 112],
        0.5 => [56, 112, 224],
        _ => [116, 232, 464],
    }
}

pub(crate) fn logits(net: &mut Layers, x: NodeId, width: f64, classes: usize) -> Result<NodeId, GraphError> {
    let x = net.conv("conv1", x, 24, Kernel::THREE)?;
    let x = net.batch_norm("bn1", x)?;
    let mut x = net.relu("relu1", x)?;
    for (stage, (channels, blocks)) in std::iter::zip(stage_channels(width), BLOCKS).enumerate() {
        x = down(net, &format!("layer{}.0", stage + 1), x, channels)?;
        for block in 1..blocks {
            x = basic(net, &format!("layer{}.{block}", stage + 1), x)?;
        }
    }
    let x = net.conv("conv2", x, 1024, Kernel::POINT)?;
    let x = net.batch_norm("bn2", x)?;
    let x = net.relu("relu2", x)?;
    let x = net.pool_and_flatten("avgpool2d", x)?;
    net.linear("linear", x, classes)
}

/// Halves the plane; both branches read all channels.
fn down(net: &mut Layers, name: &str, x: NodeId, out: usize) -> Result<NodeId, GraphError> {
    let (channels, half) = (net.channels(x), out / 2);
    let left = net.conv(&format!("{name}.conv1"), x, channels, Kernel::DEPTHWISE.stride(2))?;
    let left = net.batch_norm(&format!("{name}.bn1"), left)?;
    let left = net.conv(&format!("{name}.conv2"), left, half, Kernel::POINT)?;
    let left = net.batch_norm(&format!("{name}.bn2"), left)?;
    let left = net.relu(&format!("{name}.relu2"), left)?;
    let right = net.conv(&format!("{name}.conv3"), x, half, Kernel::POINT)?;
    let right = net.batch_norm(&format!("{name}.bn3"), right)?;
    let right = net.relu(&format!("{name}.relu3"), right)?;
    let right = net.conv(&format!("{name}.conv4"), right, half, Kernel::DEPTHWISE.stride(2))?;
    let right = net.batch_norm(&format!("{name}.bn4"), right)?;
    let right = net.conv(&format!("{name}.conv5"), right, half, Kernel::POINT)?;
    let right = net.batch_norm(&format!("{name}.bn5"), right)?;
    let right = net.relu(&format!("{name}.relu5"), right)?;
    let x = net.concat(&format!("{name}.cat"), left, right)?;
    net.shuffle(&format!("{name}.shuffle"), x)
}

/// Works on the second half of the channels and passes the first on.
fn basic(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    let [first, second] = net.halves(&format!("{name}.split"), x)?;
    let half = net.channels(second);
    let y = net.conv(&format!("{name}.conv1"), second, half, Kernel::POINT)?;
    let y = net.batch_norm(&format!("{name}.bn1"), y)?;
    let y = net.relu(&format!("{name}.relu1"), y)?;
    let y = net.conv(&format!("{name}.conv2"), y, half, Kernel::DEPTHWISE)?;
    let y = net.batch_norm(&format!("{name}.bn2"), y)?;
    let y = net.conv(&format!("{name}.conv3"), y, half, Kernel::POINT)?;
    let y = net.batch_norm(&format!("{name}.bn3"), y)?;
    let y = net.relu(&format!("{name}.relu3"), y)?;
    let x = net.concat(&format!("{name}.cat"), first, y)?;
    net.shuffle(&format!("{name}.shuffle"), x)
}
