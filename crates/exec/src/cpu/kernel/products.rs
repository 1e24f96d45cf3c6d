//! Convolutions, their gradients, and matrix products.

use super::call::Call;
use crate::cpu::geometry::conv2d;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops;
use bitbudget_kernels::{self as kernels, Matmul};

pub(super) fn conv(op: &ops::Conv, Call { operands, y, workspace, .. }: Call) -> Result<Counts, Fault> {
    let ((x, x_shape), (w, w_shape)) = (operands.shaped(0)?, operands.shaped(1)?);
    Ok(kernels::conv2d(&conv2d(op, x_shape, w_shape)?, x, w, operands.optional(2)?, y, workspace)?)
}

pub(super) fn conv_grad_input(op: &ops::ConvGradInput, call: Call) -> Result<Counts, Fault> {
    let Call { operands, y, shape, workspace } = call;
    let (w, w_shape) = operands.shaped(1)?;
    let g = conv2d(&op.forward(), shape, w_shape)?;
    Ok(kernels::conv2d_grad_input(&g, operands.numbers(0)?, w, y, workspace)?)
}

pub(super) fn conv_grad_weight(op: &ops::ConvGradWeight, call: Call) -> Result<Counts, Fault> {
    let Call { operands, y, shape, workspace } = call;
    let (x, x_shape) = operands.shaped(0)?;
    let g = conv2d(&op.forward(), x_shape, shape)?;
    Ok(kernels::conv2d_grad_weight(&g, x, operands.numbers(1)?, y, workspace)?)
}

pub(super) fn matmul(op: &ops::Matmul, Call { operands, y, shape, .. }: Call) -> Result<Counts, Fault> {
    let (a, a_shape) = operands.shaped(0)?;
    let [m, n, k] = matmul_sizes(shape, a_shape, op.trans_a)?;
    let g = Matmul { m, n, k, trans_a: op.trans_a, trans_b: op.trans_b };
    Ok(kernels::matmul(&g, a, operands.numbers(1)?, operands.optional(2)?, y)?)
}

/// Rows, columns and depth of a matrix product.
pub(in crate::cpu) fn matmul_sizes(shape: &[usize], a: &[usize], trans_a: bool) -> Result<[usize; 3], Fault> {
    match (shape, a) {
        (&[m, n], &[first, second]) => Ok([m, n, if trans_a { first } else { second }]),
        _ => Err(Fault::Operands("operands must be matrices".into())),
    }
}
