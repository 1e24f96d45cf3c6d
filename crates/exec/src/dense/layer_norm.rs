//! Normalisation of rows and its gradients.

use super::operands::operand;
use crate::error::Fault;
use bitbudget_ir::{Op, Real};
use candle_core::{D, Tensor};

/// Rows of a tensor, of everything from dimension `axis` on.
fn rows(x: &Tensor, axis: usize) -> Result<Tensor, Fault> {
    let columns: usize = x.dims().iter().skip(axis).product();
    Ok(x.reshape(((), columns))?)
}

/// Each row without its mean, divided by its deviation, and the deviations.
fn normalised(x: &Tensor, epsilon: Real) -> Result<(Tensor, Tensor), Fault> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon.0)?.sqrt()?;
    Ok((centred.broadcast_div(&deviation)?, deviation))
}

/// The result as rows.
pub(super) fn layer_norm(op: &Op, operands: &[&Tensor]) -> Result<Tensor, Fault> {
    let rows = |i: usize, axis: usize| rows(operand(operands, i)?, axis);
    match op {
        Op::LayerNormalization(op) => {
            let (z, _) = normalised(&rows(0, op.axis)?, op.epsilon)?;
            let y = z.broadcast_mul(&rows(1, 0)?)?;
            match operands.len() {
                2 => Ok(y),
                _ => Ok(y.broadcast_add(&rows(2, 0)?)?),
            }
        }
        Op::LayerNormGradInput(op) => {
            let (z, deviation) = normalised(&rows(1, op.axis)?, op.epsilon)?;
            let g = rows(0, op.axis)?.broadcast_mul(&rows(2, 0)?)?;
            let through_mean = g.broadcast_sub(&g.mean_keepdim(D::Minus1)?)?;
            let through_deviation = z.broadcast_mul(&g.mul(&z)?.mean_keepdim(D::Minus1)?)?;
            Ok(through_mean.sub(&through_deviation)?.broadcast_div(&deviation)?)
        }
        Op::LayerNormGradScale(op) => {
            let (z, _) = normalised(&rows(1, op.axis)?, op.epsilon)?;
            Ok(rows(0, op.axis)?.mul(&z)?.sum(0)?)
        }
        other => Err(Fault::Operands(format!("{} does not normalise rows", other.name()))),
    }
}
