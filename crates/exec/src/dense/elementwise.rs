//! Operators that compute each element by itself. A NaN passes through activations, so that it stays visible.

use super::{along_channels, operand, per_channel};
use crate::error::Fault;
use bitbudget_ir::Op;
use bitbudget_ir::ops::RunningVariance;
use candle_core::Tensor;

/// `value` where `condition` holds, `other` elsewhere.
fn choose(condition: &Tensor, value: &Tensor, other: &Tensor) -> Result<Tensor, Fault> {
    Ok(condition.where_cond(value, other)?)
}

fn constant(x: &Tensor, value: f64) -> Result<Tensor, Fault> {
    Ok(Tensor::full(value as f32, (), x.device())?.broadcast_as(x.shape())?)
}

/// The inverse of the standard deviation per channel, shaped to broadcast against `x`.
fn inverse_deviation(variance: &Tensor, epsilon: f64, x: &Tensor) -> Result<Tensor, Fault> {
    along_channels(&(variance + epsilon)?.sqrt()?.recip()?, x)
}

pub(super) fn elementwise(op: &Op, operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let x = operand(operands, 0)?;
    let other = |i: usize| operand(operands, i);
    Ok(match op {
        Op::BatchNormalize(op) => {
            let channel = |i: usize| along_channels(other(i)?, x);
            let inverse = inverse_deviation(other(2)?, op.epsilon.0, x)?;
            let normalised = x.broadcast_sub(&channel(1)?)?.broadcast_mul(&inverse)?;
            normalised.broadcast_mul(&channel(3)?)?.broadcast_add(&channel(4)?)?
        }
        Op::BatchNormGradInput(op) => {
            let (dy, x, count) = (x, other(1)?, per_channel(x) as f64);
            let channel = |i: usize| along_channels(other(i)?, x);
            let inverse = inverse_deviation(other(3)?, op.epsilon.0, x)?;
            let normalised = x.broadcast_sub(&channel(2)?)?.broadcast_mul(&inverse)?;
            let through_scale = normalised.broadcast_mul(&(channel(5)? / count)?)?;
            let inner = dy.broadcast_sub(&(channel(6)? / count)?)?.sub(&through_scale)?;
            inner.broadcast_mul(&channel(4)?.mul(&inverse)?)?
        }
        Op::RunningAverage(op) => running(x, other(1)?, op.momentum.0)?,
        Op::RunningVariance(op) => {
            let correction = RunningVariance::correction(per_channel(other(2)?) as f64);
            running(x, &(other(1)? * correction)?, op.momentum.0)?
        }
        Op::Relu(_) => choose(&x.lt(0f32)?, &x.zeros_like()?, x)?,
        Op::ReluGrad(_) => choose(&other(1)?.le(0f32)?, &x.zeros_like()?, x)?,
        Op::Clip(op) => {
            let raised = choose(&x.lt(op.min.0 as f32)?, &constant(x, op.min.0)?, x)?;
            choose(&raised.gt(op.max.0 as f32)?, &constant(x, op.max.0)?, &raised)?
        }
        Op::ClipGrad(op) => {
            let (input, zeros) = (other(1)?, x.zeros_like()?);
            let above = choose(&input.le(op.min.0 as f32)?, &zeros, x)?;
            choose(&input.ge(op.max.0 as f32)?, &zeros, &above)?
        }
        Op::LeakyRelu(op) => choose(&x.lt(0f32)?, &(x * op.alpha.0)?, x)?,
        Op::LeakyReluGrad(op) => choose(&other(1)?.le(0f32)?, &(x * op.alpha.0)?, x)?,
        Op::Sigmoid(_) => (x.neg()?.exp()? + 1.0)?.recip()?,
        Op::Tanh(_) => x.tanh()?,
        Op::Exp(_) => x.exp()?,
        Op::Log(_) => x.log()?,
        Op::Sqrt(_) => x.sqrt()?,
        Op::Scale(op) => (x * op.by.0)?,
        Op::Add(_) => x.broadcast_add(other(1)?)?,
        Op::Sub(_) => x.broadcast_sub(other(1)?)?,
        Op::Mul(_) => x.broadcast_mul(other(1)?)?,
        Op::Div(_) => x.broadcast_div(other(1)?)?,
        Op::Sum(_) => operands.iter().skip(1).try_fold(x.clone(), |sum, part| sum.add(part))?,
        other => return Err(Fault::Operands(format!("{} is not computed element by element", other.name()))),
    })
}

fn running(old: &Tensor, new: &Tensor, momentum: f64) -> Result<Tensor, Fault> {
    Ok(((old * (1.0 - momentum))? + (new * momentum)?)?)
}

/// An optimizer's update; the last operand says whether it is made, else the first one stays as it was.
pub(super) fn update(op: &Op, operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let x = |i: usize| operand(operands, i);
    let old = x(0)?;
    let new = match op {
        Op::SgdVelocity(op) => {
            let gradient = (x(2)?.broadcast_mul(x(3)?)? + (x(1)? * op.weight_decay.0)?)?;
            ((old * op.momentum.0)? + gradient)?
        }
        Op::SgdParameter(_) => (old - x(1)?.broadcast_mul(x(2)?)?)?,
        Op::AdamFirstMoment(op) => {
            let gradient = x(1)?.broadcast_mul(x(2)?)?;
            ((old * op.beta.0)? + (gradient * (1.0 - op.beta.0))?)?
        }
        Op::AdamSecondMoment(op) => {
            let gradient = x(1)?.broadcast_mul(x(2)?)?;
            ((old * op.beta.0)? + (gradient.sqr()? * (1.0 - op.beta.0))?)?
        }
        Op::AdamwParameter(op) => {
            let rate = x(3)?;
            let (m, v) = (x(1)?.broadcast_div(x(4)?)?, x(2)?.broadcast_div(x(5)?)?);
            let step = m.broadcast_mul(rate)?.div(&(v.sqrt()? + op.epsilon.0)?)?;
            let kept = ((rate * -op.weight_decay.0)? + 1.0)?;
            (old.broadcast_mul(&kept)? - step)?
        }
        other => return Err(Fault::Operands(format!("{} is not an update", other.name()))),
    };
    let made = x(operands.len().saturating_sub(1))?.ne(0f32)?;
    choose(&made.broadcast_as(old.shape())?, &new, old)
}
