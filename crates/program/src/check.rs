//! What holds for every program; a decoded one is checked, since files can be wrong.
//!
//! 1. Every buffer has at least one and at most [`MAX_ELEMENTS`] elements; kept buffers and constants have names of
//!    their own.
//! 2. A buffer is written once, before it is read, and never if it is a source.
//! 3. A view is read only while the storage that it shows is there: until that is freed, stored, or replaced by a store.
//! 4. Only storage of the step is freed or stored: no views, no sources.
//! 5. Every result has the type that its operator infers.
//! 6. Outputs are there at the end.

use crate::{Buffer, BufferId, Instruction, Program, Source};
use bitbudget_ir::{Shape, TensorType};
use std::collections::BTreeSet;

/// The largest buffer in elements: a terabyte of FP32.
const MAX_ELEMENTS: usize = 1 << 38;

/// What a buffer shows at some point of the program.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Unwritten,
    /// Its own storage, or that of another buffer.
    Shows(BufferId),
    Ended,
}

struct Checker<'p> {
    program: &'p Program,
    states: Vec<State>,
    /// Kept buffers with a new value; views of the old one must not be read any more.
    replaced: BTreeSet<BufferId>,
}

/// Checks the invariants that the module lists.
pub(crate) fn check(program: &Program) -> Result<(), String> {
    if program.batch == 0 {
        return Err("the batch size is missing".into());
    }
    buffers(&program.buffers)?;
    let source = |(i, b): (usize, &Buffer)| match b.source {
        Source::None => State::Unwritten,
        _ => State::Shows(BufferId(i as u32)),
    };
    let states = program.buffers.iter().enumerate().map(source).collect();
    let mut checker = Checker { program, states, replaced: BTreeSet::new() };
    program.instructions.iter().try_for_each(|instruction| checker.instruction(instruction))?;
    for (name, id) in &program.outputs {
        checker.read(*id).map_err(|_| format!("output `{name}` is {id}, which is not there at the end"))?;
    }
    Ok(())
}

fn buffers(buffers: &[Buffer]) -> Result<(), String> {
    if u32::try_from(buffers.len()).is_err() {
        return Err(format!("{} buffers are too many", buffers.len()));
    }
    let mut names = BTreeSet::new();
    for buffer in buffers {
        // Beside a dimension of size zero, others could be of any size.
        if buffer.shape.contains(&0) {
            return Err(format!("buffer `{}` of shape {:?} is empty", buffer.name, buffer.shape));
        }
        let elements = buffer.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(format!("buffer `{}` of shape {:?} is too large", buffer.name, buffer.shape));
        }
        if matches!(buffer.source, Source::Kept | Source::Constant) && !names.insert(&buffer.name) {
            return Err(format!("two kept buffers are named `{}`", buffer.name));
        }
    }
    Ok(())
}

impl Checker<'_> {
    fn instruction(&mut self, instruction: &Instruction) -> Result<(), String> {
        match instruction {
            Instruction::Compute { op, inputs, output, .. } => {
                let types: Result<Vec<TensorType>, String> = inputs.iter().map(|&id| Ok(ty(self.read(id)?))).collect();
                let types = types?;
                let inferred = op.at(self.program.batch).infer(&types.iter().collect::<Vec<_>>());
                let inferred = inferred.map_err(|reason| format!("{} into {output}: {reason}", op.name()))?;
                let expected = ty(self.write(*output, *output)?);
                if inferred != expected {
                    return Err(format!("{} gives {inferred}, but {output} is {expected}", op.name()));
                }
            }
            Instruction::View { input, output } => {
                let from = self.read(*input)?;
                let (from, storage) = (from.clone(), self.storage(*input).unwrap_or(*input));
                let to = self.write(*output, storage)?;
                if from.elements() != to.elements() || from.format != to.format || from.dtype != to.dtype {
                    return Err(format!("{output} cannot show {input}"));
                }
            }
            Instruction::Store { value, target } => {
                let (from, to) = (self.owned(*value)?, self.read(*target)?);
                let same = from.shape == to.shape && from.format == to.format && from.dtype == to.dtype;
                if to.source != Source::Kept || !same {
                    return Err(format!("{target} cannot take {value}"));
                }
                if !self.replaced.insert(*target) {
                    return Err(format!("{target} is stored twice"));
                }
                self.states[value.index()] = State::Ended;
            }
            Instruction::Free { buffer } => {
                self.owned(*buffer)?;
                self.states[buffer.index()] = State::Ended;
            }
        }
        Ok(())
    }

    fn storage(&self, id: BufferId) -> Option<BufferId> {
        match self.state(id) {
            Ok(State::Shows(storage)) => Some(storage),
            _ => None,
        }
    }

    fn state(&self, id: BufferId) -> Result<State, String> {
        self.states.get(id.index()).copied().ok_or_else(|| format!("{id} is no buffer"))
    }

    /// A buffer that holds something.
    fn read(&self, id: BufferId) -> Result<&Buffer, String> {
        let there = |storage: BufferId| {
            storage == id || (self.state(storage) == Ok(State::Shows(storage)) && !self.replaced.contains(&storage))
        };
        match self.state(id)? {
            State::Shows(storage) if there(storage) => Ok(self.program.buffer(id)),
            _ => Err(format!("{id} is read before it is written or after its end")),
        }
    }

    /// A buffer whose storage belongs to the step.
    fn owned(&self, id: BufferId) -> Result<&Buffer, String> {
        let buffer = self.read(id)?;
        if buffer.source != Source::None || self.storage(id) != Some(id) {
            return Err(format!("{id} is a source or a view, so its storage cannot be given away"));
        }
        Ok(buffer)
    }

    fn write(&mut self, id: BufferId, storage: BufferId) -> Result<&Buffer, String> {
        if self.state(id)? != State::Unwritten {
            return Err(format!("{id} is written twice, or is a source"));
        }
        self.states[id.index()] = State::Shows(storage);
        Ok(self.program.buffer(id))
    }
}

fn ty(buffer: &Buffer) -> TensorType {
    TensorType { dtype: buffer.dtype, shape: Shape::fixed(&buffer.shape) }
}
