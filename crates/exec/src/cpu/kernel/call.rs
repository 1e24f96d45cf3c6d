//! The arguments of one operator's kernel.

use crate::cpu::operands::{Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_kernels::{Output, ShapeError};

/// Operands and result of one operator.
pub(super) struct Call<'c, 'o, 'y> {
    pub(super) operands: &'c Operands<'o>,
    pub(super) y: &'c mut Output<'y>,
    /// That of the result.
    pub(super) shape: &'c [usize],
    /// Memory that the kernel asked for beside.
    pub(super) workspace: &'c mut [f32],
}

/// Has `f` compute a small result as FP32 numbers, then rounds and packs them.
pub(super) fn put<T>(
    y: &mut Output<'_>,
    f: impl FnOnce(&mut [f32]) -> Result<T, ShapeError>,
) -> Result<(Counts, T), ShapeError> {
    if let Some(numbers) = y.numbers_mut() {
        return Ok((Counts::default(), f(numbers)?));
    }
    let mut numbers = vec![0.0; y.len()];
    let more = f(&mut numbers)?;
    Ok((y.put(&numbers)?, more))
}

/// As [`put`], of two results that are computed together.
pub(super) fn put_both(
    [first, second]: [&mut Place<'_>; 2],
    f: impl FnOnce(&mut [f32], &mut [f32]) -> Result<(), ShapeError>,
) -> Result<[Counts; 2], Fault> {
    let (first, second) = (first.numbers()?, second.numbers()?);
    let (of_first, (of_second, ())) = put(first, |first| put(second, |second| f(first, second)))?;
    Ok([of_first, of_second])
}
