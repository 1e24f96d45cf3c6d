//! What kernels need beside their operands and results.

use super::geometry::conv2d;
use super::kernel::product;
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_kernels::{Pass, SCRATCH, matmul_scratch};
use bitbudget_program::{Instruction, Program};

/// An operand's shape and the format in which it is stored.
type Stored = (Vec<usize>, Format);

/// Bytes in the arena that an operator needs while it runs, from its operands' shapes and formats and the result's shape.
pub fn workspace(op: &Op, operands: &[Stored], shape: &[usize]) -> usize {
    let elements = match (op, operands) {
        (Op::Conv(op), [(x, fx), (w, fw), ..]) => conv2d(op, x, w).map_or(0, |g| g.workspace(Pass::Forward, *fx, *fw)),
        (Op::ConvGradInput(op), [(_, fdy), (w, fw)]) => {
            conv2d(&op.forward(), shape, w).map_or(0, |g| g.workspace(Pass::GradInput, *fdy, *fw))
        }
        (Op::ConvGradWeight(op), [(x, fx), (_, fdy)]) => {
            conv2d(&op.forward(), x, shape).map_or(0, |g| g.workspace(Pass::GradWeight, *fx, *fdy))
        }
        _ => 0,
    };
    elements.saturating_mul(size_of::<f32>())
}

/// Bytes that each thread needs to run a program.
pub(crate) fn scratch(program: &Program) -> usize {
    let parts = program.instructions.iter().filter_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => Some(parts),
        _ => None,
    });
    let elements = parts.flatten().map(|part| {
        let stored = |i: usize| part.inputs.get(i).map(|&id| program.buffer(id)).map(|b| (&b.shape, b.format));
        let shape = &program.buffer(part.output).shape;
        let geometry = match (&part.op, stored(0), stored(1)) {
            (Op::Conv(op), Some((x, fx)), Some((w, fw))) => conv2d(op, x, w).map(|g| g.scratch(Pass::Forward, fx, fw)),
            (Op::ConvGradInput(op), Some((_, fdy)), Some((w, fw))) => {
                conv2d(&op.forward(), shape, w).map(|g| g.scratch(Pass::GradInput, fdy, fw))
            }
            (Op::ConvGradWeight(op), Some((x, fx)), Some((_, fdy))) => {
                conv2d(&op.forward(), x, shape).map(|g| g.scratch(Pass::GradWeight, fx, fdy))
            }
            (Op::Matmul(op), Some((a, fa)), Some((_, fb))) => {
                product(shape, a, op.trans_a).map(|[m, n, k]| matmul_scratch(m, n, k, fa, fb))
            }
            _ => Ok(0),
        };
        geometry.unwrap_or(0)
    });
    let bytes = elements.max().unwrap_or(0).saturating_mul(size_of::<f32>());
    bytes.max(SCRATCH).next_multiple_of(64)
}
