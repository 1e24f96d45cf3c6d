//! Regular parts of tensors.

use crate::error::Fault;
use candle_core::{DType, Tensor};

/// The indices `begin + i * step` for `i` below `count`.
fn indices(begin: usize, step: i64, count: usize, like: &Tensor) -> Result<Tensor, Fault> {
    let index = |i: usize| u32::try_from(begin as i128 + i as i128 * i128::from(step)).ok();
    let indices: Option<Vec<u32>> = (0..count).map(index).collect();
    let indices = indices.ok_or_else(|| Fault::Operands("an index leaves the tensor".into()))?;
    Ok(Tensor::from_vec(indices, count, like.device())?)
}

pub(super) fn slice(x: &Tensor, begin: &[usize], step: &[i64], shape: &[usize]) -> Result<Tensor, Fault> {
    let mut y = x.clone();
    for (axis, ((&begin, &step), &count)) in begin.iter().zip(step).zip(shape).enumerate() {
        y = match step {
            1 => y.narrow(axis, begin, count)?,
            _ => y.index_select(&indices(begin, step, count, x)?, axis)?,
        };
    }
    Ok(y)
}

pub(super) fn slice_scatter(part: &Tensor, begin: &[usize], step: &[i64], shape: &[usize]) -> Result<Tensor, Fault> {
    let mut y = part.clone();
    for (axis, ((&begin, &step), &size)) in begin.iter().zip(step).zip(shape).enumerate() {
        let count = y.dim(axis)?;
        y = match step {
            1 => y.pad_with_zeros(axis, begin, size.saturating_sub(begin + count))?,
            _ => {
                let mut whole = y.dims().to_vec();
                whole[axis] = size;
                let zeros = Tensor::zeros(whole, DType::F32, part.device())?;
                zeros.index_add(&indices(begin, step, count, part)?, &y.contiguous()?, axis)?
            }
        };
    }
    Ok(y)
}
