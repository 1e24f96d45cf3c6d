//! What holds for every program; a decoded one is checked, since files can be wrong.

use crate::{BufferId, Instruction, Program, Source};
use bitbudget_ir::{Shape, TensorType};

/// Checks that buffers exist, are written before they are read and not after their end, and fit their operators.
pub(crate) fn check(program: &Program) -> Result<(), String> {
    let mut alive: Vec<bool> = program.buffers.iter().map(|b| b.source != Source::None).collect();
    for buffer in &program.buffers {
        let bytes = buffer.shape.iter().try_fold(4usize, |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|b| b > isize::MAX as usize) {
            return Err(format!("buffer `{}` of shape {:?} is too large", buffer.name, buffer.shape));
        }
    }
    let known = |id: BufferId| {
        if id.index() < program.buffers.len() { Ok(id.index()) } else { Err(format!("{id} is no buffer")) }
    };
    for instruction in &program.instructions {
        let reads = match instruction {
            Instruction::Compute { inputs, .. } => inputs.clone(),
            Instruction::View { input, .. } => vec![*input],
            Instruction::Store { value, target } => vec![*value, *target],
            Instruction::Free { buffer } => vec![*buffer],
        };
        for id in reads {
            if !alive[known(id)?] {
                return Err(format!("{id} is read before it is written or after its end"));
            }
        }
        match instruction {
            Instruction::Compute { op, inputs, output, .. } => {
                let ty = |id: BufferId| TensorType {
                    dtype: program.buffer(id).dtype,
                    shape: Shape::fixed(&program.buffer(id).shape),
                };
                known(*output)?;
                let types: Vec<TensorType> = inputs.iter().map(|&id| ty(id)).collect();
                let inferred = op.at(program.batch).infer(&types.iter().collect::<Vec<_>>());
                let inferred = inferred.map_err(|reason| format!("{} into {output}: {reason}", op.name()))?;
                if inferred != ty(*output) {
                    return Err(format!("{} gives {inferred}, but {output} is {}", op.name(), ty(*output)));
                }
                alive[output.index()] = true;
            }
            Instruction::View { input, output } => {
                let (from, to) = (program.buffer(*input), &program.buffers[known(*output)?]);
                if from.elements() != to.elements() || from.format != to.format || from.dtype != to.dtype {
                    return Err(format!("{output} cannot show {input}"));
                }
                alive[output.index()] = true;
            }
            Instruction::Store { value, target } => {
                let (from, to) = (program.buffer(*value), program.buffer(*target));
                if to.source != Source::Kept
                    || from.shape != to.shape
                    || from.format != to.format
                    || from.dtype != to.dtype
                {
                    return Err(format!("{target} cannot take {value}"));
                }
                alive[value.index()] = false;
            }
            Instruction::Free { buffer } => alive[buffer.index()] = false,
        }
    }
    for (name, id) in &program.outputs {
        if !alive[known(*id)?] {
            return Err(format!("output `{name}` is {id}, which is not there at the end"));
        }
    }
    Ok(())
}
