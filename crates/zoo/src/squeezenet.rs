//! SqueezeNet (Iandola et al., arXiv 1602.07360) with batch normalisation.

use crate::layers::{Kernel, Layers};
use bitbudget_ir::{GraphError, NodeId};

/// Squeezed and expanded channels of fire2 to fire9, and the channels of the first convolution.
struct Channels {
    stem: usize,
    fires: [(usize, usize); 8],
}

fn channels(width: f64) -> Channels {
    let (stem, squeezed, expanded) = match width {
        0.1 => (12, [4, 4, 4, 4, 8, 8, 8, 8], [8, 8, 12, 12, 20, 20, 24, 256]),
        0.25 => (24, [4, 4, 8, 8, 12, 12, 16, 16], [16, 16, 32, 32, 48, 48, 64, 256]),
        0.5 => (48, [8, 8, 16, 16, 24, 24, 32, 32], [32, 32, 64, 64, 96, 96, 128, 256]),
        _ => (96, [16, 16, 32, 32, 48, 48, 64, 64], [64, 64, 128, 128, 192, 192, 256, 256]),
    };
    Channels { stem, fires: std::array::from_fn(|i| (squeezed[i], expanded[i])) }
}

pub(crate) fn logits(net: &mut Layers, x: NodeId, width: f64, classes: usize) -> Result<NodeId, GraphError> {
    let Channels { stem, fires } = channels(width);
    let x = net.conv_bias("conv1", x, stem, Kernel::THREE)?;
    let x = net.batch_norm("bn1", x)?;
    let x = net.relu("relu", x)?;
    let mut x = net.max_pool("maxpool1", x)?;
    for (i, (squeezed, expanded)) in fires.into_iter().enumerate() {
        x = fire(net, &format!("fire{}", i + 2), x, squeezed, expanded)?;
        match i {
            2 => x = net.max_pool("maxpool2", x)?,
            6 => x = net.max_pool("maxpool3", x)?,
            _ => {}
        }
    }
    let x = net.conv_bias("conv2", x, classes, Kernel::POINT)?;
    net.pool_and_flatten("avg_pool", x)
}

fn fire(net: &mut Layers, name: &str, x: NodeId, squeezed: usize, expanded: usize) -> Result<NodeId, GraphError> {
    let x = net.conv_bias(&format!("{name}.conv1"), x, squeezed, Kernel::POINT)?;
    let x = net.batch_norm(&format!("{name}.bn1"), x)?;
    let x = net.relu(&format!("{name}.relu1"), x)?;
    let a = net.conv_bias(&format!("{name}.conv2"), x, expanded, Kernel::POINT)?;
    let a = net.batch_norm(&format!("{name}.bn2"), a)?;
    let b = net.conv_bias(&format!("{name}.conv3"), x, expanded, Kernel::THREE)?;
    let b = net.batch_norm(&format!("{name}.bn3"), b)?;
    let x = net.concat(&format!("{name}.cat"), a, b)?;
    net.relu(&format!("{name}.relu2"), x)
}
