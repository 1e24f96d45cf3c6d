//! ResNet-18 (He et al., arXiv 1512.03385) in its CIFAR form: a 3x3 stem without pooling.

use crate::layers::{Kernel, Layers};
use crate::width::scaled;
use bitbudget_ir::{GraphError, NodeId};

pub(crate) fn logits(net: &mut Layers, x: NodeId, width: f64, classes: usize) -> Result<NodeId, GraphError> {
    let x = net.conv("conv1", x, scaled(64, width), Kernel::THREE)?;
    let x = net.batch_norm("bn1", x)?;
    let mut x = net.relu("relu1", x)?;
    for (stage, (channels, stride)) in [(64, 1), (128, 2), (256, 2), (512, 2)].into_iter().enumerate() {
        for (i, stride) in [stride, 1].into_iter().enumerate() {
            x = basic(net, &format!("layer{}.{i}", stage + 1), x, scaled(channels, width), stride)?;
        }
    }
    let x = net.pool_and_flatten("avgpool2d", x)?;
    net.linear("linear", x, classes)
}

fn basic(net: &mut Layers, name: &str, x: NodeId, out: usize, stride: usize) -> Result<NodeId, GraphError> {
    let y = net.conv(&format!("{name}.conv1"), x, out, Kernel::THREE.stride(stride))?;
    let y = net.batch_norm(&format!("{name}.bn1"), y)?;
    let y = net.relu(&format!("{name}.relu1"), y)?;
    let y = net.conv(&format!("{name}.conv2"), y, out, Kernel::THREE)?;
    let y = net.batch_norm(&format!("{name}.bn2"), y)?;
    let mut shortcut = x;
    if stride != 1 || net.channels(x) != out {
        shortcut = net.conv(&format!("{name}.shortcut.0"), shortcut, out, Kernel::POINT.stride(stride))?;
        shortcut = net.batch_norm(&format!("{name}.shortcut.1"), shortcut)?;
    }
    let y = net.add(&format!("{name}.add"), y, shortcut)?;
    net.relu(&format!("{name}.relu3"), y)
}
