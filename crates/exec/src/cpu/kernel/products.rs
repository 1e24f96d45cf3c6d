//! Matrix products.

use super::call::Call;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels as kernels;
use bitbudget_select::geometry;

pub(super) fn matmul(op: &ops::Matmul, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (a, a_shape) = operands.shaped(0)?;
    let sizes = geometry::matmul(op, a_shape, shape)?;
    Ok(kernels::matmul(&sizes, a, operands.numbers(1)?, operands.optional(2)?, y)?)
}
