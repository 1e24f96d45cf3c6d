//! From shapes and attributes to the kernels' geometries.

use bitbudget_ir::ops::{self, Conv, Window};
use bitbudget_ir::{Activation, ActivationFunction, Cell};
use bitbudget_kernels::{self as kernels, Conv2d, Indexed, Matmul, Pool2d, RecurrentCell};

/// Why shapes are not those of a kernel's operands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GeometryError(String);

/// Batch, channels and elements per channel and example of `[N, C, …]`.
pub fn channels(shape: &[usize]) -> [usize; 3] {
    let inner = shape.get(2..).map_or(1, |rest| rest.iter().product());
    [shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1), inner]
}

/// Rows and columns, the last dimension being a row.
pub fn rows(shape: &[usize]) -> (usize, usize) {
    let columns = shape.last().copied().unwrap_or(1);
    (shape.iter().product::<usize>() / columns.max(1), columns)
}

/// Rows and columns, a row being everything from dimension `axis` on.
pub fn rows_from(shape: &[usize], axis: usize) -> [usize; 2] {
    let (before, row) = shape.split_at(axis.min(shape.len()));
    [elements(before), elements(row)]
}

/// A tensor of a shape whose dimension `axis` is indexed, by a list of indices for each index of the first `batch_dims` dimensions.
pub fn indexed(shape: &[usize], axis: usize, batch_dims: usize) -> Indexed {
    let (outer, rest) = shape.split_at(axis.min(shape.len()));
    let (lists, outer) = outer.split_at(batch_dims.min(outer.len()));
    let (size, inner) = rest.split_first().map_or((1, rest), |(size, inner)| (*size, inner));
    Indexed { lists: elements(lists), outer: elements(outer), size, inner: elements(inner) }
}

/// The elements of a shape, the largest number there is where they are more.
pub fn elements(shape: &[usize]) -> usize {
    shape.iter().copied().fold(1, usize::saturating_mul)
}

fn four(shape: &[usize]) -> Result<[usize; 4], GeometryError> {
    shape.try_into().map_err(|_| GeometryError(format!("{shape:?} is not [N, C, H, W]")))
}

/// The convolution of an input and weights of these shapes.
///
/// # Errors
/// If they are not `[N, C, H, W]`.
pub fn conv2d(conv: &Conv, x: &[usize], w: &[usize]) -> Result<Conv2d, GeometryError> {
    let ([batch, in_channels, in_height, in_width], [out_channels, _, height, width]) = (four(x)?, four(w)?);
    Ok(Conv2d {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        kernel: [height, width],
        stride: conv.strides,
        dilation: conv.dilations,
        pad_begin: conv.pads_begin,
        pad_end: conv.pads_end,
        groups: conv.groups,
    })
}

/// The pooling that leads from one shape to another.
///
/// # Errors
/// If they are not `[N, C, H, W]`.
pub fn pool2d(window: &Window, x: &[usize], y: &[usize]) -> Result<Pool2d, GeometryError> {
    let ([batch, channels, in_height, in_width], [.., out_height, out_width]) = (four(x)?, four(y)?);
    let Window { kernel, strides, pads_begin, pads_end, dilations, .. } = *window;
    Ok(Pool2d {
        batch,
        channels,
        in_height,
        in_width,
        out_height,
        out_width,
        kernel,
        stride: strides,
        dilation: dilations,
        pad_begin: pads_begin,
        pad_end: pads_end,
    })
}

/// The sizes of matrix products.
///
/// # Errors
/// If an operand or the result is not made of matrices.
pub fn matmul(op: &ops::Matmul, a: &[usize], shape: &[usize]) -> Result<Matmul, GeometryError> {
    let ops::Matmul { trans_a, trans_b } = *op;
    match (shape, a) {
        (&[ref leading @ .., m, n], &[.., first, second]) => {
            Ok(Matmul { count: elements(leading), m, n, k: if trans_a { first } else { second }, trans_a, trans_b })
        }
        _ => Err(GeometryError("operands must be matrices".into())),
    }
}

/// The recurrent layer of an input and weights R of these shapes.
///
/// # Errors
/// If they have not three dimensions.
pub fn recurrent(op: &ops::Recurrent, x: &[usize], r: &[usize]) -> Result<kernels::Recurrent, GeometryError> {
    let (&[steps, batch, inputs], &[_, _, hidden]) = (x, r) else {
        return Err(GeometryError(format!("{x:?} and {r:?} are not the input and the weights of a recurrent layer")));
    };
    let cell = match op.cell {
        Cell::Lstm => RecurrentCell::Lstm { input_forget: op.input_forget },
        Cell::Gru => RecurrentCell::Gru { linear_before_reset: op.linear_before_reset },
        Cell::Rnn => RecurrentCell::Rnn,
    };
    Ok(kernels::Recurrent {
        cell,
        steps,
        batch,
        inputs,
        hidden,
        reversed: op.direction.is_reversed().to_vec(),
        activations: op.activations.0.iter().map(activation).collect(),
        clip: op.clip.0 as f32,
    })
}

fn activation(of: &Activation) -> kernels::Activation {
    let (alpha, beta) = (of.alpha.0 as f32, of.beta.0 as f32);
    match of.function {
        ActivationFunction::Sigmoid => kernels::Activation::Sigmoid,
        ActivationFunction::Tanh => kernels::Activation::Tanh,
        ActivationFunction::Relu => kernels::Activation::Relu,
        ActivationFunction::Affine => kernels::Activation::Affine(alpha, beta),
        ActivationFunction::LeakyRelu => kernels::Activation::LeakyRelu(alpha),
        ActivationFunction::ThresholdedRelu => kernels::Activation::ThresholdedRelu(alpha),
        ActivationFunction::ScaledTanh => kernels::Activation::ScaledTanh(alpha, beta),
        ActivationFunction::HardSigmoid => kernels::Activation::HardSigmoid(alpha, beta),
        ActivationFunction::Elu => kernels::Activation::Elu(alpha),
        ActivationFunction::Softsign => kernels::Activation::Softsign,
        ActivationFunction::Softplus => kernels::Activation::Softplus,
    }
}
