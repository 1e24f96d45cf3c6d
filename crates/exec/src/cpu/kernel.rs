//! The CPU kernel of every operator.

use super::operands::Operands;
use crate::error::Fault;
use bitbudget_ir::Op;
use bitbudget_ir::ops::{Conv, RunningVariance, Window};
use bitbudget_kernels::{self as kernels, Binary, Conv2d, Pool2d, Unary};

/// Batch, channels and elements per channel and example of `[N, C, …]`.
fn channels(shape: &[usize]) -> (usize, usize, usize) {
    let inner = shape.get(2..).map_or(1, |rest| rest.iter().product());
    (shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1), inner)
}

/// Rows and columns, the last dimension being a row.
fn rows(shape: &[usize]) -> (usize, usize) {
    let columns = shape.last().copied().unwrap_or(1);
    (shape.iter().product::<usize>() / columns.max(1), columns)
}

fn four(shape: &[usize]) -> Result<[usize; 4], Fault> {
    shape.try_into().map_err(|_| Fault::Operands(format!("{shape:?} is not [N, C, H, W]")))
}

fn conv2d(conv: &Conv, x: &[usize], w: &[usize]) -> Result<Conv2d, Fault> {
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

fn pool2d(window: &Window, x: &[usize], y: &[usize]) -> Result<Pool2d, Fault> {
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

fn broadcasting(kind: Binary, operands: &Operands<'_>, y: &mut [f32], shape: &[usize]) -> Result<(), Fault> {
    let ((a, a_shape), (b, b_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
    Ok(kernels::binary_broadcast(kind, a, a_shape, b, b_shape, y, shape)?)
}

fn steps(step: &[i64]) -> Vec<isize> {
    step.iter().map(|&s| s as isize).collect()
}

/// Whether the last operand says that the update is to be made; if not, the old value stays.
fn skipped(operands: &Operands<'_>, y: &mut [f32]) -> Result<bool, Fault> {
    let skip = operands.scalar(operands.0.len().saturating_sub(1))? == 0.0;
    if skip {
        kernels::unary(Unary::Copy, operands.numbers(0)?, y)?;
    }
    Ok(skip)
}

/// Computes an operator whose result holds indices.
pub(super) fn compute_indices(op: &Op, operands: &Operands<'_>, y: &mut [u8], shape: &[usize]) -> Result<(), Fault> {
    match op {
        Op::MaxPoolIndices(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::max_pool_indices(&pool2d(&op.window(), x_shape, shape)?, x, y)?)
        }
        _ => Err(Fault::Operands("its result does not hold indices".into())),
    }
}

/// Computes an operator whose result holds numbers; `shape` is the result's.
pub(super) fn compute(op: &Op, operands: &Operands<'_>, y: &mut [f32], shape: &[usize]) -> Result<(), Fault> {
    let x = |i: usize| operands.numbers(i);
    let unary = |kind: Unary, y: &mut [f32]| Ok(kernels::unary(kind, x(0)?, y)?);
    match op {
        Op::Input(_) | Op::Label(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_) | Op::Scalar(_) => {
            Err(Fault::Operands("sources are bound, not computed".into()))
        }
        Op::MaxPoolIndices(_) => Err(Fault::Operands("its result holds indices".into())),
        Op::Conv(op) => {
            let ((x, x_shape), (w, w_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
            Ok(kernels::conv2d(&conv2d(op, x_shape, w_shape)?, x, w, operands.optional(2)?, y)?)
        }
        Op::ConvGradInput(op) => {
            let (w, w_shape) = operands.shaped(1)?;
            Ok(kernels::conv2d_grad_input(&conv2d(&op.forward(), shape, w_shape)?, x(0)?, w, y)?)
        }
        Op::ConvGradWeight(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::conv2d_grad_weight(&conv2d(&op.forward(), x_shape, shape)?, x, operands.numbers(1)?, y)?)
        }
        Op::Matmul(op) => {
            let (a, a_shape) = operands.shaped(0)?;
            let (&[m, n], &[first, second]) = (shape, a_shape) else {
                return Err(Fault::Operands("operands must be matrices".into()));
            };
            let k = if op.trans_a { first } else { second };
            Ok(kernels::matmul(op.trans_a, op.trans_b, m, n, k, a, x(1)?, operands.optional(2)?, y)?)
        }
        Op::BatchMean(_) => {
            let (x, x_shape) = operands.shaped(0)?;
            let (n, c, s) = channels(x_shape);
            Ok(kernels::batch_mean(n, c, s, x, y)?)
        }
        Op::BatchVariance(_) => {
            let (data, x_shape) = operands.shaped(0)?;
            let (n, c, s) = channels(x_shape);
            Ok(kernels::batch_variance(n, c, s, data, x(1)?, y)?)
        }
        Op::BatchNormalize(op) => {
            let (n, c, s) = channels(shape);
            let epsilon = op.epsilon.0 as f32;
            Ok(kernels::batch_normalize(n, c, s, x(0)?, x(1)?, x(2)?, x(3)?, x(4)?, epsilon, y)?)
        }
        Op::BatchNormGradScale(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            let (n, c, s) = channels(dy_shape);
            let epsilon = op.epsilon.0 as f32;
            Ok(kernels::batch_norm_grad_scale(n, c, s, dy, x(1)?, x(2)?, x(3)?, epsilon, y)?)
        }
        Op::BatchNormGradInput(op) => {
            let (n, c, s) = channels(shape);
            let [dy, x, mean, var, scale, dscale, dbias] = [x(0)?, x(1)?, x(2)?, x(3)?, x(4)?, x(5)?, x(6)?];
            let epsilon = op.epsilon.0 as f32;
            Ok(kernels::batch_norm_grad_input(n, c, s, dy, x, mean, var, scale, dscale, dbias, epsilon, y)?)
        }
        Op::RunningAverage(op) => Ok(kernels::running_average(x(0)?, x(1)?, op.momentum.0 as f32, 1.0, y)?),
        Op::RunningVariance(op) => {
            let (n, _, s) = channels(operands.shaped(2)?.1);
            let correction = RunningVariance::correction((n * s) as f64) as f32;
            Ok(kernels::running_average(x(0)?, x(1)?, op.momentum.0 as f32, correction, y)?)
        }
        Op::MaxPool(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::max_pool(&pool2d(&op.window(), x_shape, shape)?, x, y)?)
        }
        Op::MaxPoolGrad(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            Ok(kernels::max_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, dy, operands.indices(1)?, y)?)
        }
        Op::AveragePool(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::avg_pool(&pool2d(&op.window(), x_shape, shape)?, op.count_include_pad, x, y)?)
        }
        Op::AveragePoolGrad(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            Ok(kernels::avg_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, op.count_include_pad, dy, y)?)
        }
        Op::Relu(_) => unary(Unary::Relu, y),
        Op::ReluGrad(_) => Ok(kernels::relu_grad(x(0)?, x(1)?, y)?),
        Op::Clip(op) => unary(Unary::Clip { min: op.min.0 as f32, max: op.max.0 as f32 }, y),
        Op::ClipGrad(op) => Ok(kernels::clip_grad(x(0)?, x(1)?, op.min.0 as f32, op.max.0 as f32, y)?),
        Op::LeakyRelu(op) => unary(Unary::LeakyRelu { alpha: op.alpha.0 as f32 }, y),
        Op::LeakyReluGrad(op) => Ok(kernels::leaky_relu_grad(x(0)?, x(1)?, op.alpha.0 as f32, y)?),
        Op::Sigmoid(_) => unary(Unary::Sigmoid, y),
        Op::Tanh(_) => unary(Unary::Tanh, y),
        Op::Exp(_) => unary(Unary::Exp, y),
        Op::Log(_) => unary(Unary::Log, y),
        Op::Sqrt(_) => unary(Unary::Sqrt, y),
        Op::Scale(op) => unary(Unary::Scale { by: op.by.0 as f32 }, y),
        Op::Cast(_) | Op::Reshape(_) => unary(Unary::Copy, y),
        Op::Add(_) => broadcasting(Binary::Add, operands, y, shape),
        Op::Sub(_) => broadcasting(Binary::Sub, operands, y, shape),
        Op::Mul(_) => broadcasting(Binary::Mul, operands, y, shape),
        Op::Div(_) => broadcasting(Binary::Div, operands, y, shape),
        Op::Sum(_) => {
            let inputs: Vec<&[f32]> = operands.all()?.into_iter().map(|(x, _)| x).collect();
            Ok(kernels::sum(&inputs, y)?)
        }
        Op::Transpose(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::transpose(x, x_shape, &op.perm, y)?)
        }
        Op::Slice(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::slice(x, x_shape, &op.begin, &steps(&op.step), shape, y)?)
        }
        Op::SliceScatter(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            Ok(kernels::slice_scatter(dy, dy_shape, &op.begin, &steps(&op.step), shape, y)?)
        }
        Op::Concat(op) => {
            let parts = operands.all()?;
            let parts: Vec<(&[f32], usize)> =
                parts.into_iter().map(|(x, s)| (x, s.get(op.axis).copied().unwrap_or(0))).collect();
            let (outer, inner) = (shape[..op.axis].iter().product(), shape[op.axis + 1..].iter().product());
            Ok(kernels::concat(&parts, outer, inner, y)?)
        }
        Op::Broadcast(_) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::broadcast(x, x_shape, shape, y)?)
        }
        Op::ReduceSum(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::reduce_sum(x, x_shape, &op.axes, y)?)
        }
        Op::ReduceMean(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            Ok(kernels::reduce_mean(x, x_shape, &op.axes, y)?)
        }
        Op::Softmax(_) => {
            let (rows, columns) = rows(shape);
            Ok(kernels::softmax(rows, columns, x(0)?, y)?)
        }
        Op::SoftmaxGrad(_) => {
            let (rows, columns) = rows(shape);
            Ok(kernels::softmax_grad(rows, columns, x(0)?, x(1)?, y)?)
        }
        Op::LogSoftmax(_) => {
            let (rows, columns) = rows(shape);
            Ok(kernels::log_softmax(rows, columns, x(0)?, y)?)
        }
        Op::LogSoftmaxGrad(_) => {
            let (rows, columns) = rows(shape);
            Ok(kernels::log_softmax_grad(rows, columns, x(0)?, x(1)?, y)?)
        }
        Op::NllLoss(_) => {
            let (scores, scores_shape) = operands.shaped(0)?;
            let (rows, columns) = rows(scores_shape);
            y.fill(kernels::nll_loss(rows, columns, scores, operands.labels(1)?)?);
            Ok(())
        }
        Op::NllLossGrad(_) => {
            let (rows, columns) = rows(shape);
            Ok(kernels::nll_loss_grad(rows, columns, operands.labels(1)?, operands.scalar(0)?, y)?)
        }
        Op::AllFinite(_) => {
            let finite = operands.all()?.into_iter().all(|(x, _)| kernels::all_finite(x));
            y.fill(if finite { 1.0 } else { 0.0 });
            Ok(())
        }
        Op::SgdVelocity(op) => {
            if skipped(operands, y)? {
                return Ok(());
            }
            let (momentum, decay) = (op.momentum.0 as f32, op.weight_decay.0 as f32);
            Ok(kernels::sgd_velocity(x(0)?, x(1)?, x(2)?, operands.scalar(3)?, momentum, decay, y)?)
        }
        Op::SgdParameter(_) => {
            if skipped(operands, y)? {
                return Ok(());
            }
            Ok(kernels::sgd_parameter(x(0)?, x(1)?, operands.scalar(2)?, y)?)
        }
        Op::AdamFirstMoment(op) => {
            if skipped(operands, y)? {
                return Ok(());
            }
            Ok(kernels::adam_first_moment(x(0)?, x(1)?, operands.scalar(2)?, op.beta.0 as f32, y)?)
        }
        Op::AdamSecondMoment(op) => {
            if skipped(operands, y)? {
                return Ok(());
            }
            Ok(kernels::adam_second_moment(x(0)?, x(1)?, operands.scalar(2)?, op.beta.0 as f32, y)?)
        }
        Op::AdamwParameter(op) => {
            if skipped(operands, y)? {
                return Ok(());
            }
            let [rate, first_bias, second_bias] = [operands.scalar(3)?, operands.scalar(4)?, operands.scalar(5)?];
            let (decay, epsilon) = (op.weight_decay.0 as f32, op.epsilon.0 as f32);
            let (m, v) = (x(1)?, x(2)?);
            Ok(kernels::adamw_parameter(x(0)?, m, v, rate, decay, epsilon, first_bias, second_bias, y)?)
        }
    }
}
