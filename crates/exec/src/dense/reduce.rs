//! Sums over dimensions, functions of rows, losses.

use super::operands::{along_channels, operand, per_channel};
use crate::error::Fault;
use bitbudget_ir::Op;
use candle_core::{D, DType, Tensor};

/// Sums of each channel of `[N, C, …]`.
fn channel_sums(x: &Tensor) -> Result<Tensor, Fault> {
    let axes: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    Ok(x.sum(axes)?)
}

fn sums(x: &Tensor, axes: &[usize], keep: bool) -> Result<Tensor, Fault> {
    Ok(match (axes, keep) {
        ([], _) => x.clone(),
        (_, true) => x.sum_keepdim(axes)?,
        (_, false) => x.sum(axes)?,
    })
}

pub(super) fn reduce(op: &Op, operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let x = operand(operands, 0)?;
    let other = |i: usize| operand(operands, i);
    match op {
        Op::BatchMean(_) => Ok((channel_sums(x)? / per_channel(x) as f64)?),
        Op::BatchVariance(_) => {
            let squares = x.broadcast_sub(&along_channels(other(1)?, x.dims())?)?.sqr()?;
            Ok((channel_sums(&squares)? / per_channel(x) as f64)?)
        }
        Op::BatchNormGradScale(op) => {
            let centred = other(1)?.broadcast_sub(&along_channels(other(2)?, x.dims())?)?;
            Ok(channel_sums(&x.mul(&centred)?)?.div(&(other(3)? + op.epsilon.0)?.sqrt()?)?)
        }
        Op::ReduceSum(op) => sums(x, &op.axes, op.keep),
        Op::ReduceMean(op) => {
            let count: usize = op.axes.iter().filter_map(|&a| x.dims().get(a)).product();
            Ok((sums(x, &op.axes, op.keep)? / count as f64)?)
        }
        other => Err(Fault::Operands(format!("{} is not a reduction", other.name()))),
    }
}

/// The extremum over axes, which stay with size one.
pub(super) fn extremum(x: &Tensor, axes: &[usize], least: bool) -> Result<Tensor, Fault> {
    let over = |x: Tensor, &axis: &usize| if least { x.min_keepdim(axis) } else { x.max_keepdim(axis) };
    Ok(axes.iter().try_fold(x.clone(), over)?)
}

pub(super) fn extremum_grad(dy: &Tensor, x: &Tensor, axes: &[usize], least: bool) -> Result<Tensor, Fault> {
    let taken = x.broadcast_eq(&extremum(x, axes, least)?)?.to_dtype(DType::F32)?;
    let counts = sums(&taken, axes, true)?;
    Ok(taken.broadcast_mul(&dy.reshape(counts.shape())?.div(&counts)?)?)
}

/// Functions of rows, the last dimension being a row.
pub(super) fn rows(op: &Op, operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let x = operand(operands, 0)?;
    let y = || operand(operands, 1);
    let centred = || x.broadcast_sub(&x.max_keepdim(D::Minus1)?);
    Ok(match op {
        Op::Softmax(_) => {
            let exponentials = centred()?.exp()?;
            exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?
        }
        Op::SoftmaxGrad(_) => {
            let sum = x.mul(y()?)?.sum_keepdim(D::Minus1)?;
            x.broadcast_sub(&sum)?.mul(y()?)?
        }
        Op::LogSoftmax(_) => {
            let centred = centred()?;
            centred.broadcast_sub(&centred.exp()?.sum_keepdim(D::Minus1)?.log()?)?
        }
        Op::LogSoftmaxGrad(_) => x.sub(&y()?.exp()?.broadcast_mul(&x.sum_keepdim(D::Minus1)?)?)?,
        other => return Err(Fault::Operands(format!("{} is not computed row by row", other.name()))),
    })
}

/// The rows of labels that count: their labels as a column of indices, none of which a device's gather could take out of range; 1 for
/// each row that counts and 0 for others.
fn counted(labels: &Tensor, classes: usize) -> Result<(Tensor, Tensor), Fault> {
    let largest = labels.max(0)?.to_scalar::<f32>()?;
    if largest >= classes as f32 {
        return Err(Fault::Operands(format!("label {largest} is not one of {classes} classes, which count from 0")));
    }
    let counts = labels.ge(0f32)?.to_dtype(DType::F32)?;
    let indices = labels.relu()?.to_dtype(DType::U32)?.unsqueeze(1)?;
    Ok((indices, counts.unsqueeze(1)?))
}

/// The target of each row at each class `[rows, classes]`, and the weight of all rows.
fn targets(
    labels: &Tensor,
    weights: Option<&Tensor>,
    smoothing: f64,
    (rows, classes): (usize, usize),
) -> Result<(Tensor, f64), Fault> {
    let (indices, counts) = counted(labels, classes)?;
    let at_label = Tensor::zeros((rows, classes), DType::F32, labels.device())?.scatter_add(&indices, &counts, 1)?;
    let (mut targets, mut weighted) = (at_label.clone(), at_label);
    if smoothing > 0.0 {
        let everywhere = (counts * (smoothing / classes as f64))?;
        targets = (targets * (1.0 - smoothing))?.broadcast_add(&everywhere)?;
    }
    if let Some(weights) = weights {
        (targets, weighted) = (targets.broadcast_mul(weights)?, weighted.broadcast_mul(weights)?);
    }
    let total = f64::from(weighted.sum_all()?.to_scalar::<f32>()?);
    Ok((targets, if total > 0.0 { total } else { 1.0 }))
}

pub(super) fn nll_loss(
    scores: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
    smoothing: f64,
) -> Result<Tensor, Fault> {
    let (targets, total) = targets(labels, weights, smoothing, scores.dims2()?)?;
    // A score that is not finite and that no target asks for makes nothing of the sum not finite.
    let products = targets.gt(0f32)?.where_cond(&targets.mul(scores)?, &targets.zeros_like()?)?;
    Ok((products.sum_all()? / -total)?)
}

pub(super) fn nll_loss_grad(
    dloss: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
    smoothing: f64,
    shape: &[usize],
) -> Result<Tensor, Fault> {
    let &[rows, classes] = shape else {
        return Err(Fault::Operands(format!("{shape:?} is not [N, classes]")));
    };
    let (targets, total) = targets(labels, weights, smoothing, (rows, classes))?;
    Ok(targets.broadcast_mul(&(dloss / -total)?)?)
}

/// Zero times a number is zero, unless the number is not finite.
pub(super) fn all_finite(operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let Some((first, rest)) = operands.split_first() else {
        return Err(Fault::Operands("needs at least one operand on this device".into()));
    };
    let zero = |x: &Tensor| (x * 0.0)?.sum_all();
    let sum = rest.iter().try_fold(zero(first)?, |sum, x| sum.add(&zero(x)?))?;
    Ok(sum.eq(0f32)?.to_dtype(DType::F32)?)
}
