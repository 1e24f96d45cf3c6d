//! Memory of kernels beside their operands and results.

use super::chain::Elementwise;
use super::geometry::{conv2d, elements, rows_from};
use super::kernel::matmul_sizes;
use super::operands::{Operand, Operands};
use bitbudget_formats::Format;
use bitbudget_ir::Op;
use bitbudget_kernels::{Pass, SCRATCH, derived_scratch, layer_norm_scratch, layer_norm_workspace, matmul_scratch};
use bitbudget_program::{BufferId, Instruction, Part, Program, Source};

/// An operand's shape and the format in which it is stored.
type Stored = (Vec<usize>, Format);

/// Bytes in the arena that an operator needs while it runs, from its operands' shapes and formats and the result's shape.
pub fn workspace(op: &Op, operands: &[Stored], shape: &[usize]) -> usize {
    let needed = match (op, operands) {
        (Op::Conv(op), [(x, fx), (w, fw), ..]) => conv2d(op, x, w).map_or(0, |g| g.workspace(Pass::Forward, *fx, *fw)),
        (Op::ConvGradInput(op), [(_, fdy), (w, fw)]) => {
            conv2d(&op.forward(), shape, w).map_or(0, |g| g.workspace(Pass::GradInput, *fdy, *fw))
        }
        (Op::ConvGradWeight(op), [(x, fx), (_, fdy)]) => {
            conv2d(&op.forward(), x, shape).map_or(0, |g| g.workspace(Pass::GradWeight, *fx, *fdy))
        }
        (Op::LayerNormGradScale(op), [(dy, _), ..]) => {
            let [rows, columns] = rows_from(dy, op.axis);
            layer_norm_workspace(rows, columns)
        }
        _ => 0,
    };
    needed.saturating_mul(size_of::<f32>())
}

/// Bytes of scratch memory that each thread needs at least where a program has this operator, derived operands apart.
pub fn kernel_scratch(op: &Op, operands: &[Stored], shape: &[usize]) -> usize {
    let geometry = match (op, operands) {
        (Op::Conv(op), [(x, fx), (w, fw), ..]) => conv2d(op, x, w).map(|g| g.scratch(Pass::Forward, *fx, *fw)),
        (Op::ConvGradInput(op), [(_, fdy), (w, fw)]) => {
            conv2d(&op.forward(), shape, w).map(|g| g.scratch(Pass::GradInput, *fdy, *fw))
        }
        (Op::ConvGradWeight(op), [(x, fx), (_, fdy)]) => {
            conv2d(&op.forward(), x, shape).map(|g| g.scratch(Pass::GradWeight, *fx, *fdy))
        }
        (Op::Matmul(op), [(a, fa), (_, fb)]) => {
            matmul_sizes(shape, a, op.trans_a).map(|[m, n, k]| matmul_scratch(m, n, k, *fa, *fb))
        }
        (Op::LayerNormalization(_), [_, (scale, _), ..]) | (Op::LayerNormGradInput(_), [.., (scale, _)]) => {
            Ok(layer_norm_scratch(elements(scale)))
        }
        (Op::LayerNormGradScale(_), _) => Ok(layer_norm_scratch(elements(shape))),
        _ => Ok(0),
    };
    geometry.unwrap_or(0).saturating_mul(size_of::<f32>()).max(SCRATCH)
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
