//! Slices by index, and indices of the largest elements.

use crate::error::Fault;
use candle_core::{DType, Tensor};

/// Indices in one dimension, none of them negative or out of range.
fn resolved(indices: &Tensor, size: usize) -> Result<Tensor, Fault> {
    let indices = indices.flatten_all()?;
    let (least, largest) = (indices.min(0)?.to_scalar::<f32>()?, indices.max(0)?.to_scalar::<f32>()?);
    let bound = size as f32;
    if least < -bound || largest >= bound {
        let wrong = if least < -bound { least } else { largest };
        return Err(Fault::Operands(format!("index {wrong} is out of range: the dimension has {size} elements")));
    }
    let wrapped = (&indices + f64::from(bound))?;
    Ok(indices.lt(0f32)?.where_cond(&wrapped, &indices)?.to_dtype(DType::U32)?)
}

pub(super) fn gather(x: &Tensor, indices: &Tensor, axis: usize, shape: &[usize]) -> Result<Tensor, Fault> {
    let indices = resolved(indices, x.dim(axis)?)?;
    Ok(x.contiguous()?.index_select(&indices, axis)?.reshape(shape)?)
}

pub(super) fn gather_grad(dy: &Tensor, indices: &Tensor, axis: usize, shape: &[usize]) -> Result<Tensor, Fault> {
    let indices = resolved(indices, shape.get(axis).copied().unwrap_or(0))?;
    let mut slices = shape.to_vec();
    slices[axis] = indices.elem_count();
    let zeros = Tensor::zeros(shape, DType::F32, dy.device())?;
    Ok(zeros.index_add(&indices, &dy.reshape(slices)?.contiguous()?, axis)?)
}

/// The index of the largest element of each row along the last axis: the first one of equal ones, or the last.
pub(super) fn arg_max(x: &Tensor, last: bool) -> Result<Tensor, Fault> {
    let (axis, columns) = (x.rank().saturating_sub(1), x.dim(candle_core::D::Minus1)?);
    if !last {
        return Ok(x.argmax_keepdim(axis)?.to_dtype(DType::F32)?);
    }
    // What comes first in the reversed row is last.
    let reversed: Vec<u32> = (0..columns as u32).rev().collect();
    let reversed = x.contiguous()?.index_select(&Tensor::from_vec(reversed, columns, x.device())?, axis)?;
    let at = reversed.argmax_keepdim(axis)?.to_dtype(DType::F32)?;
    Ok(at.affine(-1.0, columns as f64 - 1.0)?)
}
