//! Slices by index, and indices of the largest elements.

use crate::error::Fault;
use bitbudget_ir::ops;
use bitbudget_kernels::Indexed;
use bitbudget_select::geometry::indexed;
use candle_core::{DType, Tensor};

/// Indices of all lists in one dimension of slices, list by list.
fn resolved(indices: &Tensor, Indexed { lists, size, .. }: Indexed) -> Result<Tensor, Fault> {
    let shape = (lists, indices.elem_count() / lists.max(1));
    let indices = indices.flatten_all()?;
    let (least, largest) = (indices.min(0)?.to_scalar::<f32>()?, indices.max(0)?.to_scalar::<f32>()?);
    let bound = size as f32;
    if least < -bound || largest >= bound {
        let wrong = if least < -bound { least } else { largest };
        return Err(Fault::Operands(format!("index {wrong} is out of range: the dimension has {size} elements")));
    }
    let wrapped = (&indices + f64::from(bound))?;
    let indices = indices.lt(0f32)?.where_cond(&wrapped, &indices)?.to_dtype(DType::U32)?.reshape(shape)?;
    let first: Vec<u32> = (0..lists).map(|list| (list * size) as u32).collect();
    let first = Tensor::from_vec(first, (lists, 1), indices.device())?;
    Ok(indices.broadcast_add(&first)?.flatten_all()?)
}

/// `[lists, outer, slices, inner]` as `[outer, lists * slices, inner]`.
fn joined(x: &Tensor, of: Indexed, slices: usize) -> Result<Tensor, Fault> {
    let apart = x.reshape((of.lists, of.outer, slices, of.inner))?.transpose(0, 1)?.contiguous()?;
    Ok(apart.reshape((of.outer, of.lists * slices, of.inner))?)
}

/// `[outer, lists * slices, inner]` as `[lists, outer, slices, inner]`, under a shape.
fn apart(y: &Tensor, of: Indexed, slices: usize, shape: &[usize]) -> Result<Tensor, Fault> {
    Ok(y.reshape((of.outer, of.lists, slices, of.inner))?.transpose(0, 1)?.contiguous()?.reshape(shape)?)
}

pub(super) fn gather(x: &Tensor, indices: &Tensor, op: &ops::Gather, shape: &[usize]) -> Result<Tensor, Fault> {
    let of = indexed(x.dims(), op.axis, op.batch_dims);
    let indices = resolved(indices, of)?;
    let y = joined(x, of, of.size)?.index_select(&indices, 1)?;
    apart(&y, of, indices.elem_count() / of.lists.max(1), shape)
}

pub(super) fn gather_grad(
    dy: &Tensor,
    indices: &Tensor,
    op: &ops::GatherGrad,
    shape: &[usize],
) -> Result<Tensor, Fault> {
    let of = indexed(shape, op.axis, op.batch_dims);
    let indices = resolved(indices, of)?;
    let dy = joined(dy, of, indices.elem_count() / of.lists.max(1))?;
    let zeros = Tensor::zeros((of.outer, of.lists * of.size, of.inner), DType::F32, dy.device())?;
    apart(&zeros.index_add(&indices, &dy, 1)?, of, of.size, shape)
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

/// The indices of the largest elements of each row along the last axis, in descending order: rounds of [`arg_max`], each of which
/// takes its element out.
pub(super) fn top_k(x: &Tensor, count: usize) -> Result<Tensor, Fault> {
    let (mut left, lowest) = (x.clone(), Tensor::full(f32::NEG_INFINITY, x.shape(), x.device())?);
    let axis = x.rank().saturating_sub(1);
    let columns = Tensor::arange(0f32, x.dim(axis)? as f32, x.device())?.broadcast_as(x.shape())?;
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let at = arg_max(&left, false)?;
        left = columns.broadcast_eq(&at)?.where_cond(&lowest, &left)?;
        taken.push(at);
    }
    Ok(Tensor::cat(&taken, axis)?)
}
