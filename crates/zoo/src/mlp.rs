//! A multilayer perceptron: fully connected layers and rectifiers on the flat input.

use crate::layers::Layers;
use crate::width::scaled;
use bitbudget_ir::{Dim, GraphError, NodeId};

const HIDDEN: usize = 512;

/// `depth` is the number of hidden layers.
pub(crate) fn logits(
    net: &mut Layers,
    x: NodeId,
    width: f64,
    depth: usize,
    classes: usize,
) -> Result<NodeId, GraphError> {
    let features: usize = (1..4).map(|axis| net.size(x, axis)).product();
    let mut x = net.reshape("flatten", x, [Dim::BATCH, features.into()])?;
    for i in 0..depth {
        x = net.linear(&format!("fc{}", i + 1), x, scaled(HIDDEN, width))?;
        x = net.relu(&format!("relu{}", i + 1), x)?;
    }
    net.linear(&format!("fc{}", depth + 1), x, classes)
}
