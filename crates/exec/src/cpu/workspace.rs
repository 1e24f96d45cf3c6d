//! Memory of kernels beside their operands and results.

use super::chain::Elementwise;
use super::geometry::{conv2d, elements, rows_from};
use super::kernel::matmul_sizes;
use super::operands::{Operand, Operands};
use crate::error::Fault;
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_kernels::{
    Conv2d, Pass, SCRATCH, derived_scratch, layer_norm_scratch, layer_norm_workspace, matmul_scratch,
};
use bitbudget_program::{BufferId, Instruction, Part, Program, Source};

/// An operand's shape and the format in which it is stored.
pub(super) type Stored = (Vec<usize>, Format);

/// The convolution of an operator with its pass and the formats of its operands, if it is one.
pub(super) fn convolution(op: &Op, operands: &[Stored], shape: &[usize]) -> Option<Result<Convolution, Fault>> {
    let (conv, pass) = match (op, operands) {
        (Op::Conv(op), [(x, _), (w, _), ..]) => (conv2d(op, x, w), Pass::Forward),
        (Op::ConvGradInput(op), [_, (w, _)]) => (conv2d(&op.forward(), shape, w), Pass::GradInput),
        (Op::ConvGradWeight(op), [(x, _), _]) => (conv2d(&op.forward(), x, shape), Pass::GradWeight),
        _ => return None,
    };
    Some(conv.map(|geometry| (geometry, pass, [operands[0].1, operands[1].1])))
}

type Convolution = (Conv2d, Pass, [Format; 2]);

/// Bytes in the arena that an operator needs while it runs, from its operands' shapes and formats and the result's shape.
pub fn workspace(op: &Op, operands: &[Stored], shape: &[usize]) -> usize {
    let needed = match (op, operands, convolution(op, operands, shape)) {
        (_, _, Some(Ok((conv, pass, [a, b])))) => conv.workspace(pass, a, b),
        (Op::LayerNormGradScale(op), [(dy, _), ..], _) => {
            let [rows, columns] = rows_from(dy, op.axis);
            layer_norm_workspace(rows, columns)
        }
        _ => 0,
    };
    needed.saturating_mul(size_of::<f32>())
}

/// Bytes of scratch memory that each thread needs at least where a program has this operator, derived operands apart.
pub fn kernel_scratch(op: &Op, operands: &[Stored], shape: &[usize]) -> usize {
    let elements = match (op, operands, convolution(op, operands, shape)) {
        (_, _, Some(conv)) => conv.map(|(conv, pass, [a, b])| conv.scratch(pass, a, b)),
        (Op::Matmul(op), [(a, fa), (_, fb)], _) => {
            matmul_sizes(shape, a, op.trans_a).map(|[m, n, k]| matmul_scratch(m, n, k, *fa, *fb))
        }
        (Op::LayerNormalization(_), [_, (scale, _), ..], _) | (Op::LayerNormGradInput(_), [.., (scale, _)], _) => {
            Ok(layer_norm_scratch(elements(scale)))
        }
        (Op::LayerNormGradScale(_), _, _) => Ok(layer_norm_scratch(elements(shape))),
        _ => Ok(0),
    };
    elements.unwrap_or(0).saturating_mul(size_of::<f32>()).max(SCRATCH)
}

/// Bytes that each thread needs to run a program.
pub(crate) fn scratch(program: &Program) -> usize {
    let parts = program.instructions.iter().filter_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => Some(parts),
        _ => None,
    });
    let of_kernel = |part: &Part| {
        let stored = |&id: &BufferId| (program.buffer(id).shape.clone(), program.buffer(id).format);
        let operands: Vec<Stored> = part.inputs.iter().map(stored).collect();
        kernel_scratch(&part.op, &operands, &program.buffer(part.output).shape)
    };
    let of_instruction = |parts: &[Part]| {
        let kernels = parts.iter().map(of_kernel).max().unwrap_or(SCRATCH);
        kernels.saturating_add(derived(program, parts).saturating_mul(size_of::<f32>()))
    };
    parts.map(|parts| of_instruction(parts)).max().unwrap_or(SCRATCH).next_multiple_of(64)
}

/// Elements that a thread needs to derive the parts of an instruction that are stored nowhere.
fn derived(program: &Program, parts: &[Part]) -> usize {
    let shape = |id: BufferId| program.buffer(id).shape.as_slice();
    let is_elementwise = |part: &Part| {
        // Shapes alone decide.
        let operands = part.inputs.iter().map(|&id| (Operand::Part(0), shape(id))).collect();
        Elementwise::new(&part.op, &Operands(operands), shape(part.output)).is_some()
    };
    let same = |part: &Part| Some(shape(part.output)) == parts.first().map(|first| shape(first.output));
    if parts.iter().all(|part| is_elementwise(part) && same(part)) {
        return 0;
    }
    let is_inside = |part: &&Part| {
        let buffer = program.buffer(part.output);
        buffer.offset.is_none() && buffer.source == Source::None
    };
    let (chained, mut moved): (Vec<&Part>, Vec<&Part>) =
        parts.iter().filter(is_inside).partition(|part| is_elementwise(part));
    // What only shows something else by another shape takes nothing, unless it parts two chains.
    let shows_chain = |part: &Part| chained.iter().any(|chain| part.inputs.contains(&chain.output));
    moved.retain(|part| !matches!(part.op, Op::Reshape(_)) || shows_chain(part));
    // Chains read each other only through what is no chain, so these say how many are at work at the same time.
    let operands = chained.iter().map(|part| part.inputs.len()).sum();
    match chained.len() + moved.len() {
        0 => 0,
        _ => derived_scratch(operands, chained.len()).saturating_mul(1 + moved.len()),
    }
}
