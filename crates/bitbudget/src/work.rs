//! The work and the traffic of a program's instructions.

use crate::Program;
use bitbudget_ir::{Op, Shape, TensorType};
use bitbudget_program::{BufferId, Instruction, Part};

/// The operators of an instruction, their work and their traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct InstructionWork {
    /// The names of what it computes, together; those of convolutions with the size of the kernel and whether channels are apart.
    pub kind: String,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes that it has to read and write at least.
    pub bytes: f64,
    /// Whether it is a product of numbers that BF16 holds, which processors may multiply faster.
    pub narrow: bool,
}

/// By instruction of a program, its work; nothing for those that compute nothing.
pub fn instruction_work(program: &Program) -> Vec<Option<InstructionWork>> {
    let work = |instruction: &Instruction| {
        let Instruction::Compute { parts, .. } = instruction else { return None };
        Some(InstructionWork {
            kind: parts.iter().map(|part| kind(program, part)).collect::<Vec<_>>().join("+"),
            flops: parts.iter().map(|part| flops(program, part)).sum(),
            bytes: traffic(program, parts),
            narrow: is_narrow(program, parts),
        })
    };
    program.instructions.iter().map(work).collect()
}

/// The name of a part's computation; for convolutions with the size of the kernel and whether channels are apart.
fn kind(program: &Program, part: &Part) -> String {
    let name = part.op.name();
    let shape = |id| program.buffer(id).shape.as_slice();
    let (weights, groups) = match &part.op {
        Op::Conv(op) => (part.inputs.get(1).map(|&w| shape(w)), op.groups),
        Op::ConvGradInput(op) => (part.inputs.get(1).map(|&w| shape(w)), op.groups),
        Op::ConvGradWeight(op) => (Some(shape(part.output)), op.groups),
        _ => return name.to_string(),
    };
    match weights {
        Some(&[_, 1, height, width]) if groups > 1 => format!("{name} {height}x{width} depthwise"),
        Some(&[_, _, height, width]) if groups > 1 => format!("{name} {height}x{width} grouped"),
        Some(&[_, _, height, width]) => format!("{name} {height}x{width}"),
        _ => name.to_string(),
    }
}

/// Whether a product multiplies numbers that BF16 holds.
fn is_narrow(program: &Program, parts: &[Part]) -> bool {
    let product = |op: &Op| matches!(op, Op::Conv(_) | Op::ConvGradInput(_) | Op::ConvGradWeight(_) | Op::Matmul(_));
    let narrow = |id: &BufferId| program.buffer(*id).format.exact_in_bf16();
    parts.iter().any(|part| product(&part.op) && part.inputs.iter().take(2).all(narrow))
}

fn flops(program: &Program, part: &Part) -> f64 {
    let ty = |id| {
        let buffer = program.buffer(id);
        TensorType { dtype: buffer.dtype, shape: Shape::fixed(&buffer.shape) }
    };
    let operands: Vec<TensorType> = part.inputs.iter().map(|&id| ty(id)).collect();
    part.op.work(&operands.iter().collect::<Vec<_>>(), &ty(part.output), program.batch).flops as f64
}

/// Bytes that an instruction has to read and write at least.
fn traffic(program: &Program, parts: &[Part]) -> f64 {
    let inside = |id| program.buffer(id).offset.is_none() && parts.iter().any(|part| part.output == id);
    let mut touched: Vec<_> = parts.iter().flat_map(|part| part.inputs.clone()).collect();
    touched.sort_unstable();
    touched.dedup();
    touched.extend(parts.iter().map(|part| part.output));
    touched.into_iter().filter(|&id| !inside(id)).map(|id| program.buffer(id).bytes() as f64).sum()
}
