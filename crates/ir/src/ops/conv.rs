//! Two-dimensional convolution.

use super::{ConvGradInput, ConvGradWeight, Operator, Precision, ReduceSum, Sample, Window, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// Convolution of `[N, C, H, W]` with `[M, C/groups, KH, KW]` and an optional bias `[M]` (ONNX Conv).
    pub struct Conv {
        /// Steps between windows, height and width.
        strides: [usize; 2] = [1, 1],
        /// Padding above and left.
        pads_begin: [usize; 2] = [0, 0],
        /// Padding below and right.
        pads_end: [usize; 2] = [0, 0],
        /// Distances between taps.
        dilations: [usize; 2] = [1, 1],
        /// Groups of channels that do not see each other.
        groups: usize = 1,
    }
}

impl Conv {
    /// The sliding window of a kernel of the given size.
    pub fn window(&self, kernel: [usize; 2]) -> Window {
        Window {
            kernel,
            strides: self.strides,
            pads_begin: self.pads_begin,
            pads_end: self.pads_end,
            dilations: self.dilations,
            ceil: false,
        }
    }

    fn of(strides: usize, pad: usize, dilation: usize, groups: usize) -> Conv {
        let (strides, pads, dilations) = ([strides; 2], [pad; 2], [dilation; 2]);
        Conv { strides, pads_begin: pads, pads_end: pads, dilations, groups }
    }
}

/// Kernel height and width of a weight `[M, C/groups, KH, KW]`.
pub(super) fn kernel(weight: &TensorType) -> Result<[usize; 2], Reason> {
    let fixed = |axis| weight.shape.get(axis).and_then(Dim::as_fixed);
    match (weight.shape.rank(), fixed(0), fixed(1), fixed(2), fixed(3)) {
        (4, Some(_), Some(_), Some(height), Some(width)) => Ok([height, width]),
        _ => Err(Reason::new(format!("needs a weight of shape [M, C/groups, KH, KW], has {}", weight.shape))),
    }
}

/// Calls `f` with the offsets into x, w and y of every multiply-add of a convolution.
pub(super) fn products(
    conv: &Conv,
    x: &[usize],
    w: &[usize],
    y: &[usize],
    mut f: impl FnMut(usize, usize, usize),
) {
    let window = conv.window([w[2], w[3]]);
    let (in_group, out_group) = (w[1], w[0] / conv.groups);
    for n in 0..y[0] {
        for m in 0..y[1] {
            for c in 0..in_group {
                let channel = m / out_group * in_group + c;
                for oh in 0..y[2] {
                    for ow in 0..y[3] {
                        window.taps([oh, ow], [x[2], x[3]], |row, column, tap| {
                            f(
                                ((n * x[1] + channel) * x[2] + row) * x[3] + column,
                                (m * w[1] + c) * w[2] * w[3] + tap,
                                ((n * y[1] + m) * y[2] + oh) * y[3] + ow,
                            );
                        });
                    }
                }
            }
        }
    }
}

/// Twice the multiply-adds of a convolution with the given weight and output.
pub(super) fn conv_work(weight: &TensorType, output: &TensorType, batch: usize) -> Work {
    let per_output: usize = weight.shape.0.iter().skip(1).map(|d| d.at(batch)).product();
    Work { flops: 2 * (output.shape.elements(batch) as u64) * per_output as u64 }
}

impl Operator for Conv {
    const NAME: &'static str = "conv";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::all_floats(operands)?;
        let (x, w, bias) = match operands {
            [x, w] => (x, w, None),
            [x, w, bias] => (x, w, Some(bias)),
            _ => return Err(Reason::new(format!("needs 2 or 3 operands, has {}", operands.len()))),
        };
        let window = self.window(kernel(w)?);
        let (channels, m, per_group) = (check::channels(x)?.factor(), w.shape.0[0].factor(), w.shape.0[1].factor());
        let fits = per_group.checked_mul(self.groups) == Some(channels);
        if self.groups == 0 || !fits || m % self.groups != 0 {
            return Err(Reason::new(format!(
                "{} groups of a weight {} do not fit {channels} input channels: the weight's second dimension times \
                 the groups must be the input's channels, and its first a multiple of the groups",
                self.groups, w.shape
            )));
        }
        let shape = window.infer(x, m.into())?;
        if let Some(bias) = bias
            && bias.shape.0 != [Dim::fixed(m)]
        {
            return Err(Reason::new(format!("the bias must have shape [{m}], but is {}", bias.shape)));
        }
        Ok(TensorType::f32(shape))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let operands = graph.operands(node).to_vec();
        let (x, w) = (operands[0], operands[1]);
        let Conv { strides, pads_begin, pads_end, dilations, groups } = *self;
        let (input, weight) = (graph.ty(x).shape.clone(), graph.ty(w).shape.clone());
        let dx = ConvGradInput { strides, pads_begin, pads_end, dilations, groups, input };
        let dw = ConvGradWeight { strides, pads_begin, pads_end, dilations, groups, weight };
        let mut gradients = vec![Some(graph.add(dx, &[dy, w])?), Some(graph.add(dw, &[x, dy])?)];
        if operands.len() == 3 {
            gradients.push(Some(graph.add(ReduceSum { axes: vec![0, 2, 3], keep: false }, &[dy])?));
        }
        Ok(gradients)
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Product, Reads::All(Read::Whole))
    }

    fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        operands.get(1).map_or(Work::default(), |w| conv_work(w, result, batch))
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (x, w) = (operands[0], operands[1]);
        let mut y = match operands.get(2) {
            Some(bias) => Array::from_fn(shape, |i| bias.data[i[1]]),
            None => Array::zeros(shape),
        };
        products(self, &x.shape, &w.shape, shape, |i, j, k| y.data[k] = y.data[k] + x.data[i] * w.data[j]);
        y
    }

    fn samples() -> Vec<Sample> {
        let uneven = Conv {
            strides: [2, 1],
            pads_begin: [1, 0],
            pads_end: [0, 2],
            dilations: [1, 2],
            groups: 1,
        };
        [
            Sample::of(Conv::of(1, 1, 1, 1), &[&[2, 3, 5, 4], &[4, 3, 3, 3], &[4]]),
            Sample::of(Conv::of(1, 0, 1, 1), &[&[2, 3, 2, 2], &[4, 3, 1, 1]]),
            Sample::of(Conv::of(2, 1, 1, 4), &[&[2, 4, 5, 5], &[4, 1, 3, 3]]),
            Sample::of(Conv::of(1, 2, 2, 2), &[&[1, 4, 5, 5], &[6, 2, 3, 3]]),
            Sample::of(uneven, &[&[1, 2, 6, 6], &[3, 2, 2, 3], &[3]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
