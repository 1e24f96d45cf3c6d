//! Matrix products.

use super::call::Call;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels::{self as kernels, Matmul};
use bitbudget_select::geometry::matmul_sizes;

pub(super) fn matmul(op: &ops::Matmul, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (a, a_shape) = operands.shaped(0)?;
    let [m, n, k] = matmul_sizes(shape, a_shape, op.trans_a)?;
    let g = Matmul { m, n, k, trans_a: op.trans_a, trans_b: op.trans_b };
    Ok(kernels::matmul(&g, a, operands.numbers(1)?, operands.optional(2)?, y)?)
}
