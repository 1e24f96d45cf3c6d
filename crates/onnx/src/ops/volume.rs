//! Convolution and pooling in three spatial dimensions, composed of those in two.

use super::large_windows;
use super::part::part;
use super::window::{WindowAttributes, list, pair, window_attributes};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{Dim, NodeId, Op, Shape, ops};

/// `[N, C, D, H, W]` with all sizes but the batch known.
#[derive(Clone, Copy)]
struct Volume {
    batch: Dim,
    channels: usize,
    sizes: [usize; 3],
}

impl Volume {
    fn of(shape: &Shape) -> Result<Volume, String> {
        let fixed: Option<Vec<usize>> = shape.0.iter().skip(1).map(|dim| dim.as_fixed()).collect();
        match fixed.as_deref() {
            Some(&[channels, depth, height, width]) => {
                Ok(Volume { batch: shape.0[0], channels, sizes: [depth, height, width] })
            }
            _ => Err(format!("an input [N, C, D, H, W] is needed, but it is {shape}")),
        }
    }

    /// A shape with the batch, or so many times the batch, in front.
    fn shape(&self, times: usize, sizes: &[usize]) -> Shape {
        let batch = match self.batch.as_fixed() {
            Some(size) => Dim::fixed(size * times),
            None => Dim::batches(self.batch.factor() * times),
        };
        Shape([batch].into_iter().chain(sizes.iter().map(|&size| Dim::fixed(size))).collect())
    }
}

/// Whether a tensor has three spatial dimensions.
pub(super) fn is_volume(importer: &Importer, x: NodeId) -> bool {
    importer.shape(x).rank() == 5
}

/// The attributes of a convolution.
pub(super) struct Convolution {
    pub(super) window: WindowAttributes,
    pub(super) groups: usize,
}

/// A convolution in the planes, whose channels hold those of as many planes as the kernel is deep.
pub(super) fn conv(importer: &mut Importer, node: &Node, x: NodeId, conv: &Convolution) -> Result<Vec<Value>, String> {
    let w = importer.tensor(node, 1)?;
    let volume = Volume::of(&importer.shape(x))?;
    let weight = importer.shape(w).0.iter().map(|dim| dim.factor()).collect::<Vec<_>>();
    let [outputs, per_group, deep, high, wide] = weight[..] else {
        return Err("its weight has no five dimensions".into());
    };
    let Convolution { window, groups } = conv;
    let (planes, depth) = depth_windows(importer, node, x, volume, deep, window)?;
    let op = ops::Conv {
        strides: pair(&window.strides[1..], 1),
        pads_begin: pair(&window.pads_begin[1..], 0),
        pads_end: pair(&window.pads_end[1..], 0),
        dilations: pair(&window.dilations[1..], 1),
        groups: *groups,
    };
    let w = importer.reshape(node.name, w, Shape::fixed(&[outputs, per_group * deep, high, wide]))?;
    let mut operands = vec![planes, w];
    if node.input(2).is_some() {
        operands.push(importer.tensor(node, 2)?);
    }
    let y = importer.inner(node, "planes", op, &operands)?;
    let [height, width] = [2, 3].map(|axis| importer.shape(y).0[axis].factor());
    let y = importer.reshape(node.name, y, volume.shape(1, &[depth, outputs, height, width]))?;
    let perm = vec![0, 2, 1, 3, 4];
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Transpose { perm }, &[y])?)])
}

/// The planes under each position of a kernel, as channels: `[N * depth, C * deep, H, W]`, and the depth of the result.
fn depth_windows(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    volume: Volume,
    deep: usize,
    window: &WindowAttributes,
) -> Result<(NodeId, usize), String> {
    let Volume { channels, sizes: [depth, height, width], .. } = volume;
    let (begin, end) = (window.pads_begin[0], window.pads_end[0]);
    let (stride, dilation, padded) = (window.strides[0], window.dilations[0], depth + begin + end);
    let room = padded.checked_sub((deep - 1) * dilation + 1);
    let count = room.ok_or("the window is deeper than the padded input")? / stride + 1;
    let mut x = x;
    if padded > depth {
        let shape = volume.shape(1, &[channels, padded, height, width]);
        let op = ops::SliceScatter { begin: vec![0, 0, begin, 0, 0], step: vec![1; 5], shape };
        x = importer.inner(node, "padded", op, &[x])?;
    }
    let step = if count == 1 { 1 } else { stride as i64 };
    let layers = (0..deep).map(|k| {
        let mut layer = x;
        if count < padded {
            layer = part(importer, &format!("{}.layer{k}", node.name), x, 2, (k * dilation, count, step))?;
            importer.make_internal(layer);
        }
        importer.reshape(node.name, layer, volume.shape(1, &[channels, 1, count, height, width]))
    });
    let layers = layers.collect::<Result<Vec<_>, String>>()?;
    let stacked = match layers[..] {
        [only] => only,
        _ => importer.inner(node, "stacked", ops::Concat { axis: 2 }, &layers)?,
    };
    let y = importer.inner(node, "windows", ops::Transpose { perm: vec![0, 3, 1, 2, 4, 5] }, &[stacked])?;
    Ok((importer.reshape(node.name, y, volume.shape(count, &[channels * deep, height, width]))?, count))
}

/// What is taken of each window.
#[derive(Clone, Copy)]
pub(super) enum Pooling {
    Maximum,
    Mean { count_include_pad: bool },
}

/// Pooling in the planes, and then of the planes.
pub(super) fn pool(importer: &mut Importer, node: &Node, x: NodeId, pooling: Pooling) -> Result<Vec<Value>, String> {
    let volume = Volume::of(&importer.shape(x))?;
    let kernel = list(node, "kernel_shape", 3, 1)?.ok_or("attribute `kernel_shape` is missing")?;
    let window = window_attributes(node, &kernel, &volume.sizes)?;
    let ceil = node.flag("ceil_mode")? && !window.same;
    pooled(importer, node, x, pooling, &kernel, &window, ceil)
}

/// The maximum of the whole volume.
pub(super) fn whole(importer: &mut Importer, node: &Node, x: NodeId) -> Result<Vec<Value>, String> {
    let kernel = Volume::of(&importer.shape(x))?.sizes.to_vec();
    let (ones, zeros) = (vec![1; 3], vec![0; 3]);
    let window = WindowAttributes {
        strides: ones.clone(),
        pads_begin: zeros.clone(),
        pads_end: zeros,
        dilations: ones,
        same: false,
    };
    pooled(importer, node, x, Pooling::Maximum, &kernel, &window, false)
}

fn pooled(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    pooling: Pooling,
    kernel: &[usize],
    window: &WindowAttributes,
    ceil: bool,
) -> Result<Vec<Value>, String> {
    let volume = Volume::of(&importer.shape(x))?;
    let Volume { channels, sizes: [depth, height, width], .. } = volume;
    let planes = importer.reshape(node.name, x, volume.shape(1, &[channels * depth, height, width]))?;
    let both = |all: &[usize]| [all[1], all[2]];
    let line = |all: &[usize], fill: usize| [all[0], fill];
    let in_planes = Pool {
        kernel: both(kernel),
        strides: both(&window.strides),
        begin: both(&window.pads_begin),
        end: both(&window.pads_end),
        dilations: both(&window.dilations),
    };
    let of_planes = Pool {
        kernel: line(kernel, 1),
        strides: line(&window.strides, 1),
        begin: line(&window.pads_begin, 0),
        end: line(&window.pads_end, 0),
        dilations: line(&window.dilations, 1),
    };
    let y = in_planes.emit(importer, node, planes, pooling, ceil, true)?;
    let [height, width] = [2, 3].map(|axis| importer.shape(y).0[axis].factor());
    let y = importer.reshape(node.name, y, volume.shape(1, &[channels, depth, height * width]))?;
    let y = of_planes.emit(importer, node, y, pooling, ceil, false)?;
    let depth = importer.shape(y).0[2].factor();
    let y = importer.reshape(node.name, y, volume.shape(1, &[channels, depth, height, width]))?;
    Ok(vec![Value::Tensor(y)])
}

/// A window in two dimensions.
struct Pool {
    kernel: [usize; 2],
    strides: [usize; 2],
    begin: [usize; 2],
    end: [usize; 2],
    dilations: [usize; 2],
}

impl Pool {
    fn emit(
        &self,
        importer: &mut Importer,
        node: &Node,
        x: NodeId,
        pooling: Pooling,
        ceil: bool,
        is_inner: bool,
    ) -> Result<NodeId, String> {
        let Pool { kernel, strides, begin: pads_begin, end: pads_end, dilations } = *self;
        let ops: Vec<Op> = match pooling {
            Pooling::Maximum => {
                let op = ops::MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil };
                let sizes = [2, 3].map(|axis| importer.shape(x).0[axis].factor());
                large_windows::parts(&op, sizes)?.into_iter().map(Op::from).collect()
            }
            Pooling::Mean { count_include_pad } => {
                let op = ops::AveragePool { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad };
                vec![op.into()]
            }
        };
        let count = ops.len();
        ops.into_iter().enumerate().try_fold(x, |x, (at, op)| match is_inner || at + 1 < count {
            true => importer.inner(node, "planes", op, &[x]),
            false => importer.emit(node.name, op, &[x]),
        })
    }
}
