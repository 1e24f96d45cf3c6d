//! Invariants of programs, checked on every new program.
//!
//! 1. Every buffer has at least one and at most [`MAX_ELEMENTS`] elements. Kept buffers and constants have names of
//!    their own, and so have inputs, which hold FP32 numbers, whole numbers or truth values.
//! 2. A buffer is written once, before it is read. A source is not written, except a kept buffer, once, by an instruction
//!    that reads it.
//! 3. A view is read only while the storage that it shows is there: until that is freed, stored, or replaced.
//! 4. Only storage of the step is freed or stored: no views, no sources.
//! 5. Every result has the type that its operator infers.
//! 6. Outputs are there at the end.
//! 7. A buffer with a place lies inside the arena, and overlaps nothing that is there, except that it may take exactly the
//!    place of an operand of its instruction, which is not read later. A workspace overlaps nothing.
//! 8. A result takes the place of an operand, or of the kept buffer that it replaces, only if the format is the same, and if
//!    every part of the instruction that reads the operand does so element by element, in one pass with the result
//!    ([`ops::one_pass`]). Other parts may read any element at any time.
//! 9. A computed buffer without a place is read in its own instruction only.

use crate::program::{Buffer, BufferId, Instruction, Part, Program, Source};
use bitbudget_ir::{DType, Facts, Read, Shape, TensorType, ops};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The largest buffer in elements: a terabyte of FP32.
const MAX_ELEMENTS: usize = 1 << 38;

/// The storage that a buffer shows at some point of the program.
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
    /// Storage with a new value, or that something else lies in: the old one must not be read any more.
    replaced: BTreeSet<BufferId>,
    /// The buffers in the arena, by their first byte.
    arena: BTreeMap<usize, (usize, BufferId)>,
}

/// Why a program is wrong: which buffer or instruction breaks which rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProgramError(String);

impl Program {
    /// Checks what holds for every program: buffers exist, are written before they are read, fit their operators, and lie
    /// over nothing that is still needed.
    ///
    /// # Errors
    /// If it does not hold.
    pub fn check(&self) -> Result<(), ProgramError> {
        all(self).map_err(ProgramError)
    }
}

fn all(program: &Program) -> Result<(), String> {
    if program.batch == 0 {
        return Err("the batch size is missing".into());
    }
    buffers(&program.buffers)?;
    let source = |(i, b): (usize, &Buffer)| match b.source {
        Source::None => State::Unwritten,
        _ => State::Shows(BufferId(i as u32)),
    };
    let states = program.buffers.iter().enumerate().map(source).collect();
    let mut checker = Checker { program, states, replaced: BTreeSet::new(), arena: BTreeMap::new() };
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
    let (mut names, mut inputs) = (BTreeSet::new(), BTreeSet::new());
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
        if buffer.source == Source::Input && !inputs.insert(&buffer.name) {
            return Err(format!("two inputs are named `{}`", buffer.name));
        }
        if buffer.source == Source::Input && buffer.dtype == DType::Index8 {
            return Err(format!("input `{}` holds {}, which a step cannot be given", buffer.name, buffer.dtype));
        }
    }
    Ok(())
}

/// Whether the elements of a buffer lie in the places of another one's. A transposition's do, if each has its own order.
fn shows(from: &Buffer, to: &Buffer) -> bool {
    let [of, by] = [from, to].map(|buffer| Shape::fixed(&buffer.shape));
    from.layout != to.layout || from.layout.shows(&of, to.layout, &by)
}

impl Checker<'_> {
    fn instruction(&mut self, instruction: &Instruction) -> Result<(), String> {
        match instruction {
            Instruction::Compute { parts, kernel, workspace } => {
                parts.iter().try_for_each(|part| self.part(part))?;
                let reads = self.reads(parts);
                parts.iter().try_for_each(|part| self.settle(part.output, &reads))?;
                if let Some(offset) = *workspace {
                    let range = self.range(offset, kernel.workspace, "a workspace")?;
                    if let Some(other) = self.overlapping(&range).first() {
                        return Err(format!("a workspace overlaps {other}"));
                    }
                }
            }
            Instruction::View { input, output } => {
                let from = self.read(*input)?;
                let (from, storage) = (from.clone(), self.storage(*input).unwrap_or(*input));
                let to = self.write(*output, storage)?;
                let is_one_type =
                    from.elements() == to.elements() && from.format == to.format && from.dtype == to.dtype;
                if !is_one_type || !shows(&from, to) {
                    return Err(format!("{output} cannot show {input}"));
                }
            }
            Instruction::Store { value, target } => {
                self.read(*value)?;
                let (from, to) = (self.owned(*value)?, self.read(*target)?);
                let same = from.shape == to.shape && from.format == to.format && from.dtype == to.dtype;
                if to.source != Source::Kept || !same {
                    return Err(format!("{target} cannot take {value}"));
                }
                if !self.replaced.insert(*target) {
                    return Err(format!("{target} is stored twice"));
                }
                self.end(*value);
            }
            Instruction::Free { buffer } => {
                self.owned(*buffer)?;
                self.end(*buffer);
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Part) -> Result<(), String> {
        let Part { op, inputs, output, .. } = part;
        let types: Result<Vec<TensorType>, String> = inputs.iter().map(|&id| Ok(ty(self.read(id)?))).collect();
        let types = types?;
        let inferred = op.at(self.program.batch).infer(&types.iter().collect::<Vec<_>>());
        let inferred = inferred.map_err(|reason| format!("{} into {output}: {reason}", op.name()))?;
        let expected = match self.program.buffers.get(output.index()) {
            Some(buffer) if buffer.source == Source::Kept && inputs.contains(output) => ty(buffer),
            _ => ty(self.write(*output, *output)?),
        };
        match inferred == expected {
            true => Ok(()),
            false => Err(format!("{} gives {inferred}, but {output} is {expected}", op.name())),
        }
    }

    /// The operands of an instruction's parts, part by part.
    fn reads<'i>(&self, parts: &'i [Part]) -> Vec<Reads<'i>> {
        let shape = |id: BufferId| self.program.buffer(id).shape.as_slice();
        let facts = |Part { op, inputs, output, .. }: &Part| {
            let operands: Vec<Shape> = inputs.iter().map(|&id| Shape::fixed(shape(id))).collect();
            op.facts(&operands.iter().collect::<Vec<_>>(), &Shape::fixed(shape(*output)))
        };
        let facts: Vec<Facts> = parts.iter().map(facts).collect();
        let is_last = |i: usize| parts.last().is_some_and(|last| shape(last.output) == shape(parts[i].output));
        let joins = |i: usize| facts[i].is_elementwise() && is_last(i);
        let together = ops::one_pass(parts.len(), joins, |reader, i| parts[reader].inputs.contains(&parts[i].output));
        let reads = |((part, facts), together): ((&'i Part, &Facts), bool)| {
            let in_place = |position: usize| facts.reads.of(position) == Read::Each;
            let operands = part.inputs.iter().enumerate();
            let operands = operands.filter_map(|(position, &id)| Some((self.storage(id)?, in_place(position))));
            Reads { part, together, operands: operands.collect() }
        };
        parts.iter().zip(&facts).zip(together).map(reads).collect()
    }

    /// Gives a result its place when all parts of its instruction are known.
    fn settle(&mut self, id: BufferId, reads: &[Reads<'_>]) -> Result<(), String> {
        let buffer = self.program.buffer(id);
        if buffer.source == Source::Kept {
            replaces(id, id, reads)?;
            return match self.replaced.insert(id) {
                true => Ok(()),
                false => Err(format!("{id} is stored twice")),
            };
        }
        let Some(offset) = buffer.offset else {
            self.states[id.index()] = State::Ended;
            return Ok(());
        };
        let range = self.range(offset, buffer.bytes(), &id.to_string())?;
        for other in self.overlapping(&range) {
            let place = self.program.buffer(other);
            let is_operand = reads.iter().any(|reads| reads.operands.iter().any(|&(storage, _)| storage == other))
                && reads.iter().all(|reads| reads.part.output != other);
            let alike = |b: &Buffer| (b.offset, b.bytes(), b.dtype, b.format, b.packed);
            if !is_operand || alike(place) != alike(buffer) {
                return Err(format!("{id} overlaps {other}"));
            }
            replaces(id, other, reads)?;
            self.arena.remove(&offset);
            self.replaced.insert(other);
        }
        self.arena.insert(offset, (range.end, id));
        Ok(())
    }

    fn range(&self, offset: usize, bytes: usize, what: &str) -> Result<Range<usize>, String> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.program.arena && offset.is_multiple_of(self.program.alignment) => Ok(offset..end),
            _ => Err(format!(
                "{what} does not lie in the arena of {} bytes, or not at a multiple of {}",
                self.program.arena, self.program.alignment
            )),
        }
    }

    /// The storages in the arena that a range overlaps; those there do not overlap each other.
    fn overlapping(&self, range: &Range<usize>) -> Vec<BufferId> {
        let before = self.arena.range(..range.end).rev();
        before.take_while(|&(_, &(end, _))| end > range.start).map(|(_, &(_, id))| id).collect()
    }

    fn end(&mut self, id: BufferId) {
        self.states[id.index()] = State::Ended;
        if let Some(offset) = self.program.buffer(id).offset
            && self.arena.get(&offset).is_some_and(|&(_, there)| there == id)
        {
            self.arena.remove(&offset);
        }
    }

    fn storage(&self, id: BufferId) -> Option<BufferId> {
        match self.state(id) {
            Ok(State::Shows(storage)) => Some(storage),
            _ => None,
        }
    }

    fn state(&self, id: BufferId) -> Result<State, String> {
        self.states.get(id.index()).copied().ok_or_else(|| format!("{id} is not a buffer"))
    }

    /// A buffer that holds something.
    fn read(&self, id: BufferId) -> Result<&Buffer, String> {
        let kept = |storage: BufferId| storage == id && self.program.buffer(id).source == Source::Kept;
        let there = |storage: BufferId| {
            kept(storage) || (self.state(storage) == Ok(State::Shows(storage)) && !self.replaced.contains(&storage))
        };
        match self.state(id)? {
            State::Shows(storage) if there(storage) => Ok(self.program.buffer(id)),
            _ => Err(format!("{id} is read before it is written or after its end")),
        }
    }

    /// A buffer whose storage belongs to the step, though something else may lie in its place already.
    fn owned(&self, id: BufferId) -> Result<&Buffer, String> {
        let storage = match self.state(id)? {
            State::Shows(storage) => storage,
            _ => return Err(format!("{id} is read before it is written or after its end")),
        };
        let buffer = self.program.buffer(id);
        if buffer.source != Source::None || storage != id {
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

/// The operands of a part.
struct Reads<'p> {
    part: &'p Part,
    /// Whether it runs in one pass with the last part.
    together: bool,
    /// The storages of its operands, and whether it reads each element by element.
    operands: Vec<(BufferId, bool)>,
}

/// Checks that a result may be written where a storage lies that its instruction reads.
fn replaces(result: BufferId, storage: BufferId, reads: &[Reads<'_>]) -> Result<(), String> {
    for Reads { part, together, operands } in reads {
        let mut elsewhere = operands.iter().filter(|&&(read, in_place)| read == storage && !(*together && in_place));
        if elsewhere.next().is_some() || part.output == result && !together {
            let (name, output) = (part.op.name(), part.output);
            return Err(format!(
                "{result} takes the place of {storage}, which {name} into {output} does not read element by element in one \
                 pass with it"
            ));
        }
    }
    Ok(())
}

fn ty(buffer: &Buffer) -> TensorType {
    TensorType { dtype: buffer.dtype, shape: Shape::fixed(&buffer.shape) }
}
