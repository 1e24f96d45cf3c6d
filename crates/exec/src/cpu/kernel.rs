//! The CPU kernel of every operator that is computed by itself.

use super::geometry::{channels, conv2d, pool2d, rows};
use super::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::Op;
use bitbudget_kernels::{self as kernels, Binary, Elements, Matmul};

fn steps(step: &[i64]) -> Vec<isize> {
    step.iter().map(|&s| s as isize).collect()
}

/// Computes an operator; `shape` is the result's, `workspace` what its kernel needs beside.
pub(super) fn compute(
    op: &Op,
    operands: &Operands<'_>,
    place: &mut Place<'_>,
    shape: &[usize],
    workspace: &mut [f32],
) -> Result<Counts, Fault> {
    let x = |i: usize| operands.numbers(i);
    if let Op::MaxPoolIndices(op) = op {
        let (x, x_shape) = operands.shaped(0)?;
        kernels::max_pool_indices(&pool2d(&op.window(), x_shape, shape)?, x, place.indices()?)?;
        return Ok(Counts::default());
    }
    let y = place.numbers()?;
    Ok(match op {
        Op::Conv(op) => {
            let ((x, x_shape), (w, w_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
            kernels::conv2d(&conv2d(op, x_shape, w_shape)?, x, w, operands.optional(2)?, y, workspace)?
        }
        Op::ConvGradInput(op) => {
            let (w, w_shape) = operands.shaped(1)?;
            kernels::conv2d_grad_input(&conv2d(&op.forward(), shape, w_shape)?, x(0)?, w, y, workspace)?
        }
        Op::ConvGradWeight(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            let dy = operands.numbers(1)?;
            kernels::conv2d_grad_weight(&conv2d(&op.forward(), x_shape, shape)?, x, dy, y, workspace)?
        }
        Op::Matmul(op) => {
            let (a, a_shape) = operands.shaped(0)?;
            let [m, n, k] = product(shape, a_shape, op.trans_a)?;
            let (b, bias) = (x(1)?, operands.optional(2)?);
            kernels::matmul(&Matmul { m, n, k, trans_a: op.trans_a, trans_b: op.trans_b }, a, b, bias, y)?
        }
        Op::BatchMean(_) => {
            let (x, x_shape) = operands.shaped(0)?;
            let [n, c, s] = channels(x_shape);
            put(y, |mean| kernels::batch_mean(n, c, s, x, mean))?.0
        }
        Op::BatchVariance(_) => {
            let (data, x_shape) = operands.shaped(0)?;
            let [n, c, s] = channels(x_shape);
            let mean = operands.exact(1)?;
            put(y, |variance| kernels::batch_variance(n, c, s, data, mean, variance))?.0
        }
        Op::BatchNormGradScale(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            let [n, c, s] = channels(dy_shape);
            let (x, mean, var, epsilon) = (x(1)?, operands.exact(2)?, operands.exact(3)?, op.epsilon.0 as f32);
            put(y, |dscale| {
                kernels::batch_norm_grad_scale(
                    &kernels::NormGradient { shape: [n, c, s], dy, x, mean, var, epsilon },
                    dscale,
                )
            })?
            .0
        }
        Op::MaxPool(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::max_pool(&pool2d(&op.window(), x_shape, shape)?, x, y)?
        }
        Op::MaxPoolGrad(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            kernels::max_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, dy, operands.indices(1)?, y)?
        }
        Op::AveragePool(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::avg_pool(&pool2d(&op.window(), x_shape, shape)?, op.count_include_pad, x, y)?
        }
        Op::AveragePoolGrad(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            kernels::avg_pool_grad(&pool2d(&op.window(), shape, dy_shape)?, op.count_include_pad, dy, y)?
        }
        Op::Add(_) => broadcasting(Binary::Add, operands, y, shape)?,
        Op::Sub(_) => broadcasting(Binary::Sub, operands, y, shape)?,
        Op::Mul(_) => broadcasting(Binary::Mul, operands, y, shape)?,
        Op::Div(_) => broadcasting(Binary::Div, operands, y, shape)?,
        Op::Transpose(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::transpose(x, x_shape, &op.perm, y)?
        }
        Op::Slice(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::slice(x, x_shape, &op.begin, &steps(&op.step), shape, y)?
        }
        Op::SliceScatter(op) => {
            let (dy, dy_shape) = operands.shaped(0)?;
            kernels::slice_scatter(dy, dy_shape, &op.begin, &steps(&op.step), shape, y)?
        }
        Op::Concat(op) => {
            let size = |s: &[usize]| s.get(op.axis).copied().unwrap_or(0);
            let parts: Vec<(Elements<'_>, usize)> = operands.all()?.into_iter().map(|(x, s)| (x, size(s))).collect();
            let (outer, inner) = (shape[..op.axis].iter().product(), shape[op.axis + 1..].iter().product());
            kernels::concat(&parts, outer, inner, y)?
        }
        Op::Broadcast(_) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::broadcast(x, x_shape, shape, y)?
        }
        Op::ReduceSum(op) if is_over_channels(&op.axes, operands.shaped(0)?.1) => {
            let (x, x_shape) = operands.shaped(0)?;
            let [n, c, s] = channels(x_shape);
            put(y, |sums| kernels::channel_sum(n, c, s, x, sums))?.0
        }
        Op::ReduceSum(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::reduce_sum(x, x_shape, &op.axes, y)?
        }
        Op::ReduceMean(op) => {
            let (x, x_shape) = operands.shaped(0)?;
            kernels::reduce_mean(x, x_shape, &op.axes, y)?
        }
        Op::Softmax(_) => {
            let (rows, columns) = rows(shape);
            kernels::softmax(rows, columns, x(0)?, y)?
        }
        Op::SoftmaxGrad(_) => {
            let (rows, columns) = rows(shape);
            kernels::softmax_grad(rows, columns, x(0)?, x(1)?, y)?
        }
        Op::LogSoftmax(_) => {
            let (rows, columns) = rows(shape);
            kernels::log_softmax(rows, columns, x(0)?, y)?
        }
        Op::LogSoftmaxGrad(_) => {
            let (rows, columns) = rows(shape);
            kernels::log_softmax_grad(rows, columns, x(0)?, x(1)?, y)?
        }
        Op::NllLoss(_) => {
            let (scores, scores_shape) = operands.shaped(0)?;
            let (rows, columns) = rows(scores_shape);
            let loss = kernels::nll_loss(rows, columns, scores, operands.labels(1)?)?;
            y.put(&[loss])?
        }
        Op::NllLossGrad(_) => {
            let (rows, columns) = rows(shape);
            kernels::nll_loss_grad(rows, columns, operands.labels(1)?, operands.scalar(0)?, y)?
        }
        Op::AllFinite(_) => {
            let finite = operands.all()?.into_iter().all(|(x, _)| kernels::all_finite(x));
            y.put(&[if finite { 1.0 } else { 0.0 }])?
        }
        Op::Input(_) | Op::Label(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_) | Op::Scalar(_) => {
            return Err(Fault::Operands("sources are bound, not computed".into()));
        }
        Op::MaxPoolIndices(_) => return Err(Fault::Operands("its result holds indices".into())),
        // Element by element, which `chain` computes where operands fit.
        _ => return Err(Fault::Operands("its operands do not fit each other".into())),
    })
}

/// Whether a sum leaves the channels of `[N, C, …]`.
fn is_over_channels(axes: &[usize], shape: &[usize]) -> bool {
    shape.len() > 1 && axes.iter().copied().eq((0..shape.len()).filter(|&axis| axis != 1))
}

/// Rows, columns and depth of a matrix product.
pub(super) fn product(shape: &[usize], a: &[usize], trans_a: bool) -> Result<[usize; 3], Fault> {
    match (shape, a) {
        (&[m, n], &[first, second]) => Ok([m, n, if trans_a { first } else { second }]),
        _ => Err(Fault::Operands("operands must be matrices".into())),
    }
}

/// Has `f` compute a small result as FP32 numbers, then rounds and packs them.
fn put<T>(
    y: &mut kernels::Output<'_>,
    f: impl FnOnce(&mut [f32]) -> Result<T, kernels::ShapeError>,
) -> Result<(Counts, T), kernels::ShapeError> {
    if let Some(numbers) = y.numbers_mut() {
        return Ok((Counts::default(), f(numbers)?));
    }
    let mut numbers = vec![0.0; y.len()];
    let more = f(&mut numbers)?;
    Ok((y.put(&numbers)?, more))
}

/// As [`put`], of two results that are computed together.
fn put_both(
    [first, second]: [&mut Place<'_>; 2],
    f: impl FnOnce(&mut [f32], &mut [f32]) -> Result<(), kernels::ShapeError>,
) -> Result<[Counts; 2], Fault> {
    let (first, second) = (first.numbers()?, second.numbers()?);
    let (of_first, (of_second, ())) = put(first, |first| put(second, |second| f(first, second)))?;
    Ok([of_first, of_second])
}

fn broadcasting(
    kind: Binary,
    operands: &Operands<'_>,
    y: &mut kernels::Output<'_>,
    shape: &[usize],
) -> Result<Counts, Fault> {
    let ((a, a_shape), (b, b_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
    Ok(kernels::binary_broadcast(kind, a, a_shape, b, b_shape, y, shape)?)
}

/// Computes several parts in one pass over what they share, which are not elementwise.
pub(super) fn pair(
    parts: [(&Op, &Operands<'_>); 2],
    places: &mut [Place<'_>],
    shapes: [&[usize]; 2],
) -> Result<[Counts; 2], Fault> {
    let [first, second] = places else {
        return Err(Fault::Operands("two results are needed".into()));
    };
    match parts {
        [(Op::BatchMean(_), operands), (Op::BatchVariance(_), _)] => {
            let (x, x_shape) = operands.shaped(0)?;
            let [n, c, s] = channels(x_shape);
            put_both([first, second], |mean, variance| kernels::batch_moments(n, c, s, x, mean, variance))
        }
        [(Op::BatchNormGradScale(op), operands), (Op::ReduceSum(_), _)] => grad_sums(op, operands, [first, second]),
        [(Op::ReduceSum(_), _), (Op::BatchNormGradScale(op), operands)] => {
            let [scale, bias] = grad_sums(op, operands, [second, first])?;
            Ok([bias, scale])
        }
        [(Op::MaxPool(op), operands), (Op::MaxPoolIndices(_), _)] => {
            let (x, x_shape) = operands.shaped(0)?;
            let g = pool2d(&op.window(), x_shape, shapes[0])?;
            let counts = kernels::max_pool_with_indices(&g, x, first.numbers()?, second.indices()?)?;
            Ok([counts, Counts::default()])
        }
        [(a, _), (b, _)] => Err(Fault::Operands(format!("{} and {} are not one pass", a.name(), b.name()))),
    }
}

/// The gradients by scale and bias, and what they overflow.
fn grad_sums(
    op: &bitbudget_ir::ops::BatchNormGradScale,
    operands: &Operands<'_>,
    results: [&mut Place<'_>; 2],
) -> Result<[Counts; 2], Fault> {
    let (dy, dy_shape) = operands.shaped(0)?;
    let [n, c, s] = channels(dy_shape);
    let (x, mean, var) = (operands.numbers(1)?, operands.exact(2)?, operands.exact(3)?);
    let epsilon = op.epsilon.0 as f32;
    put_both(results, |dscale, dbias| {
        kernels::batch_norm_grad_sums(
            &kernels::NormGradient { shape: [n, c, s], dy, x, mean, var, epsilon },
            dscale,
            dbias,
        )
    })
}
