//! ConvNeXt (Liu et al., arXiv 2201.03545) in its tiny form, with the names of torchvision.

use crate::layers::{Kernel, Layers};
use crate::vit::DEVIATION;
use crate::width::scaled;
use bitbudget_ir::{GraphError, NodeId, ops};

const EPSILON: f64 = 1e-6;
/// The first factor of a block's result.
const LAYER_SCALE: f32 = 1e-6;
/// Channels and blocks of the stages.
const STAGES: [(usize, usize); 4] = [(96, 3), (192, 3), (384, 9), (768, 3)];

/// `depth` is the number of blocks of the third stage.
pub(crate) fn logits(
    net: &mut Layers,
    x: NodeId,
    width: f64,
    depth: usize,
    classes: usize,
) -> Result<NodeId, GraphError> {
    let mut x = net.conv_bias("features.0.0", x, scaled(STAGES[0].0, width), Kernel::patches(4))?;
    x = channel_norm(net, "features.0.1", x)?;
    for (stage, (channels, blocks)) in STAGES.into_iter().enumerate() {
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            x = channel_norm(net, &format!("{name}.0"), x)?;
            x = net.conv_bias(&format!("{name}.1"), x, scaled(channels, width), Kernel::patches(2))?;
        }
        for i in 0..if stage == 2 { depth } else { blocks } {
            x = block(net, &format!("features.{}.{i}", 2 * stage + 1), x)?;
        }
    }
    let axes = vec![2, 3];
    let x = net.emit("avgpool", ops::ReduceMean { axes, keep: false }, &[x])?;
    let x = net.layer_norm("classifier.0", x, EPSILON)?;
    net.linear_normal("classifier.2", x, classes, DEVIATION)
}

/// Normalisation over the channels of each pixel.
fn channel_norm(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    let x = net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
    let x = net.layer_norm(name, x, EPSILON)?;
    net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])
}

fn block(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    let channels = net.channels(x);
    let named = |part: &str| format!("{name}.{part}");
    let y = net.conv_bias(&named("block.0"), x, channels, Kernel::padded(7).each())?;
    let y = net.transpose(&named("block.1"), y, &[0, 2, 3, 1])?;
    let y = net.layer_norm(&named("block.2"), y, EPSILON)?;
    let y = net.linear_last(&named("block.3"), y, 4 * channels, DEVIATION)?;
    let y = net.emit(&named("block.4"), ops::Gelu { tanh: false }, &[y])?;
    let y = net.linear_last(&named("block.5"), y, channels, DEVIATION)?;
    let y = net.transpose(&named("block.6"), y, &[0, 3, 1, 2])?;
    let scale = net.parameter(named("layer_scale"), &[channels, 1, 1], vec![LAYER_SCALE; channels]);
    let y = net.emit(&named("scaled"), ops::Mul {}, &[y, scale])?;
    net.add(&named("add"), y, x)
}
