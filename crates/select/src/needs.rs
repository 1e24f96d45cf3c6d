//! The memory of kernels beside their operands and results, the same on every processor.

use crate::geometry::{GeometryError, conv2d, elements, indexed, matmul, recurrent, rows_from};
use crate::group::Member;
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_kernels::{
    Conv2d, Pass, SCRATCH, gather_grad_workspace, layer_norm_scratch, layer_norm_workspace, matmul_scratch,
    recurrent_grad_workspace, recurrent_scratch, recurrent_workspace, reduce_extremum_workspace, top_k_scratch,
};

/// The memory that one operator's kernel needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes in the arena while it runs, shared by all threads.
    pub workspace: usize,
    /// Bytes of scratch memory of each thread.
    pub scratch: usize,
}

/// A convolution, the pass that is computed, and the formats of its operands.
pub type Convolution = (Conv2d, Pass, [Format; 2]);

/// The convolution of an operator, if it is one; operands have shapes and formats, `shape` is the result's.
pub fn convolution(
    op: &Op,
    operands: &[(&[usize], Format)],
    shape: &[usize],
) -> Option<Result<Convolution, GeometryError>> {
    let (conv, pass) = match (op, operands) {
        (Op::Conv(op), [(x, _), (w, _), ..]) => (conv2d(op, x, w), Pass::Forward),
        (Op::ConvGradInput(op), [_, (w, _)]) => (conv2d(&op.forward(), shape, w), Pass::GradInput),
        (Op::ConvGradWeight(op), [(x, _), _]) => (conv2d(&op.forward(), x, shape), Pass::GradWeight),
        _ => return None,
    };
    Some(conv.map(|geometry| (geometry, pass, [operands[0].1, operands[1].1])))
}

/// The memory that an operator's kernel needs on a CPU.
pub(crate) fn needs(member: &Member) -> Needs {
    let (op, shape) = (&member.op, member.shape.as_slice());
    let operands: Vec<(&[usize], Format)> =
        member.operands.iter().map(|operand| (operand.shape.as_slice(), operand.format)).collect();
    let (workspace, scratch) = match (op, operands.as_slice(), convolution(op, &operands, shape)) {
        (_, _, Some(Ok((conv, pass, [a, b])))) => (conv.workspace(pass, a, b), conv.scratch(pass, a, b)),
        (Op::Matmul(op), &[(a, fa), (_, fb), ..], _) => {
            (0, matmul(op, a, shape).map_or(0, |sizes| matmul_scratch(&sizes, fa, fb)))
        }
        (Op::Recurrent(op), [(x, _), _, (r, _), ..], _) => {
            recurrent(op, x, r).map_or((0, 0), |sizes| (recurrent_workspace(&sizes), recurrent_scratch(&sizes)))
        }
        (Op::RecurrentGrad(op), [_, _, (x, _), _, (r, _), ..], _) => recurrent(&op.forward(), x, r)
            .map_or((0, 0), |sizes| (recurrent_grad_workspace(&sizes), recurrent_scratch(&sizes))),
        (Op::LayerNormalization(_), [_, (scale, _), ..], _) | (Op::LayerNormGradInput(_), [.., (scale, _)], _) => {
            (0, layer_norm_scratch(elements(scale)))
        }
        (Op::LayerNormGradScale(op), [(dy, _), ..], _) => {
            let [rows, columns] = rows_from(dy, op.axis);
            (layer_norm_workspace(rows, columns), layer_norm_scratch(elements(shape)))
        }
        (Op::GatherGrad(op), [_, (indices, _)], _) => {
            (gather_grad_workspace(indexed(shape, op.axis, op.batch_dims), elements(indices)), 0)
        }
        (Op::TopK(_), [(x, _)], _) => (0, top_k_scratch(x.last().copied().unwrap_or(1))),
        (Op::ReduceExtremumGrad(_), [(dy, _), ..], _) => (reduce_extremum_workspace(elements(dy)), 0),
        _ => (0, 0),
    };
    let bytes = |elements: usize| elements.saturating_mul(size_of::<f32>());
    Needs { workspace: bytes(workspace), scratch: bytes(scratch).max(SCRATCH) }
}
