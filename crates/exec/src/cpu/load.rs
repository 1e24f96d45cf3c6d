//! A program bound to this processor's kernels: everything in its steps that does not depend on values.

use super::chain::{self, Chain};
use super::derive::{Given, Split};
use super::elementwise;
use super::kernel::{BoundKernel, BoundPair};
use super::part::{BoundPart, Origin, TRUTH, missing};
use crate::error::{ExecError, Fault};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::DType;
use bitbudget_kernels::{ChainPlan, ResultStorage, Storage};
use bitbudget_program::{Buffer, BufferId, Family, Instruction, Kernel, Part, Program, Source};
use std::ops::Range;

/// Everything that a program's steps need besides values.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The buffer whose storage each buffer shows.
    shows: Vec<BufferId>,
    /// The instructions that compute or store something, by their places in the program.
    pub(super) tasks: Vec<Option<Task>>,
}

/// An instruction with the memory that it reaches.
#[derive(Debug)]
pub(super) enum Task {
    Compute(Compute),
    Store { reach: Reach, value: Origin },
}

/// Parts that run together.
#[derive(Debug)]
pub(super) struct Compute {
    pub(super) reach: Reach,
    pub(super) parts: Vec<BoundPart>,
    pub(super) way: Way,
}

/// How the parts of an instruction are computed: heads, which may read derived operands.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) split: Split,
    pub(super) heads: Heads,
}

/// The parts of an instruction that are not derived.
#[derive(Debug)]
pub(super) enum Heads {
    Chain(Box<Chain<ChainPlan>>),
    One(BoundKernel),
    /// Two operators that share a pass.
    Pair(BoundPair),
}

/// The memory that an instruction reads and writes.
#[derive(Debug)]
pub(super) struct Reach {
    /// Kept buffers that it only reads.
    pub(super) kept: Vec<BufferId>,
    /// The results in order.
    pub(super) written: Vec<BufferId>,
    /// Kept buffers among these.
    pub(super) replaced: Vec<BufferId>,
    /// The places in the arena of the others, and of the workspace.
    pub(super) ranges: Vec<Range<usize>>,
}

impl Bound {
    /// Binds a program.
    ///
    /// # Errors
    /// If an instruction reads what is not there, or its parts cannot be computed together.
    pub(crate) fn new(program: &Program) -> Result<Bound, ExecError> {
        let mut bound = Bound { shows: program.storages(), tasks: Vec::new() };
        let tasks = program.instructions.iter().map(|instruction| match instruction {
            Instruction::Compute { parts, kernel, workspace } => {
                let compute = bound.compute(program, parts, kernel, *workspace);
                compute
                    .map(|compute| Some(Task::Compute(compute)))
                    .map_err(|e| ExecError::new(place(program, parts), e))
            }
            Instruction::Store { value, target } => {
                let reach = bound.reach(program, &[*value], &[*target], None);
                let value = bound.origin(program, *value, &reach);
                let value = value.map_err(|e| ExecError::new(format!("store {target}"), e))?;
                Ok(Some(Task::Store { reach, value }))
            }
            // Places are known beforehand.
            Instruction::View { .. } | Instruction::Free { .. } => Ok(None),
        });
        let tasks: Result<_, ExecError> = tasks.collect();
        bound.tasks = tasks?;
        Ok(bound)
    }

    /// How this machine computes an instruction, in words, where there is a choice.
    pub(crate) fn way(&self, at: usize) -> Option<&'static str> {
        match self.tasks.get(at)?.as_ref()? {
            Task::Compute(Compute { way: Way { heads: Heads::One(kernel), .. }, .. }) => kernel.way(),
            Task::Compute(_) | Task::Store { .. } => None,
        }
    }

    /// The buffer whose storage a buffer shows.
    pub(super) fn root(&self, id: BufferId) -> BufferId {
        self.shows[id.index()]
    }

    /// Where the storage of a buffer lies in the arena.
    pub(super) fn range(&self, program: &Program, id: BufferId) -> Option<Range<usize>> {
        let buffer = program.buffer(self.root(id));
        buffer.offset.map(|offset| offset..offset.saturating_add(buffer.bytes()))
    }

    /// The memory for some buffers that are read and `written`, and a workspace.
    pub(super) fn reach(
        &self,
        program: &Program,
        reads: &[BufferId],
        written: &[BufferId],
        workspace: Option<Range<usize>>,
    ) -> Reach {
        let is_kept = |id: &BufferId| matches!(program.buffer(*id).source, Source::Kept | Source::Constant);
        let mut kept: Vec<BufferId> =
            reads.iter().map(|&id| self.root(id)).filter(|id| is_kept(id) && !written.contains(id)).collect();
        kept.sort_unstable();
        kept.dedup();
        let mut ranges: Vec<Range<usize>> = written.iter().filter_map(|&id| self.range(program, id)).collect();
        ranges.extend(workspace);
        let replaced = written.iter().map(|&id| self.root(id)).filter(is_kept).collect();
        Reach { kept, written: written.to_vec(), replaced, ranges }
    }

    /// Where a buffer's numbers are for an instruction that reaches so far.
    pub(super) fn origin(&self, program: &Program, id: BufferId, reach: &Reach) -> Result<Origin, Fault> {
        let root = self.root(id);
        let range = self.range(program, root);
        let is_written = |&w: &BufferId| w == root || range.is_some() && self.range(program, w) == range;
        if let Some(output) = reach.written.iter().position(is_written) {
            return Ok(Origin::Output(output));
        }
        if let Some(range) = range {
            return Ok(Origin::Arena(root, range));
        }
        match program.buffer(root).source {
            Source::Input => Ok(Origin::Given(root)),
            Source::Scalar(_) => Ok(Origin::Scalar(root)),
            Source::Kept | Source::Constant => {
                let position = reach.kept.iter().position(|&kept| kept == root);
                position.map(Origin::Kept).ok_or_else(|| missing(id))
            }
            Source::None => Err(missing(id)),
        }
    }

    fn compute(
        &self,
        program: &Program,
        parts: &[Part],
        kernel: &Kernel,
        workspace: Option<usize>,
    ) -> Result<Compute, Fault> {
        let reads: Vec<BufferId> = parts.iter().flat_map(|part| part.inputs.iter().copied()).collect();
        let stored = |id: &BufferId| {
            let buffer = program.buffer(*id);
            buffer.offset.is_some() || buffer.source == Source::Kept
        };
        let written: Vec<BufferId> = parts.iter().map(|part| part.output).filter(stored).collect();
        let workspace = workspace.map(|offset| offset..offset.saturating_add(kernel.workspace));
        let reach = self.reach(program, &reads, &written, workspace);
        let bound: Result<Vec<BoundPart>, Fault> =
            (0..parts.len()).map(|i| self.part(program, parts, i, &reach)).collect();
        let bound = bound?;
        let way = self.together(program, parts, kernel, &bound, &reach)?;
        Ok(Compute { reach, parts: bound, way })
    }

    fn part(&self, program: &Program, parts: &[Part], i: usize, reach: &Reach) -> Result<BoundPart, Fault> {
        let part = &parts[i];
        let origin = |&id: &BufferId| {
            let earlier = parts[..i].iter().rposition(|earlier| earlier.output == self.root(id));
            earlier.map_or_else(|| self.origin(program, id, reach), |earlier| Ok(Origin::Part(earlier)))
        };
        let origins: Result<Vec<Origin>, Fault> = part.inputs.iter().map(origin).collect();
        let operands: Vec<&[usize]> = part.inputs.iter().map(|&id| program.buffer(id).shape.as_slice()).collect();
        let buffer = program.buffer(part.output);
        let rounding = match buffer.dtype {
            DType::Bool => Some((TRUTH, Overflow::Saturate)),
            _ => part.rounding.filter(|_| buffer.format != Format::FP32).map(|r| (buffer.format, r.overflow)),
        };
        Ok(BoundPart {
            origins: origins?,
            elementwise: elementwise::function(&part.op, &operands, &buffer.shape),
            rounding,
            is_counted: rounding.is_some() && part.rounding.is_some_and(|r| r.counted.is_some()),
            format: buffer.format,
            place: reach.written.iter().position(|id| *id == part.output),
        })
    }

    /// How a kernel computes its parts together.
    fn together(
        &self,
        program: &Program,
        parts: &[Part],
        kernel: &Kernel,
        bound: &[BoundPart],
        reach: &Reach,
    ) -> Result<Way, Fault> {
        let shape = |id: BufferId| program.buffer(id).shape.as_slice();
        let shapes: Vec<&[usize]> = parts.iter().map(|part| shape(part.output)).collect();
        let operands: Vec<Vec<&[usize]>> =
            parts.iter().map(|part| part.inputs.iter().map(|&id| shape(id)).collect()).collect();
        let storage = |origin: &Origin| storage(program, origin);
        let given = Given { parts, bound, shapes: &shapes, operands: &operands, storage: &storage };
        let mut split = Split::new(given, kernel)?;
        if kernel.family == Family::Elementwise && split.is_whole() {
            // Parts that nothing reads are computed for their counts.
            split.heads = (0..parts.len()).collect();
        }
        let heads = match (kernel.family, split.heads.as_slice(), reach.written.as_slice()) {
            (Family::Elementwise, heads @ [first, ..], written) => {
                let results: Vec<ResultStorage> = written.iter().map(|&id| self.result(program, id, parts)).collect();
                Heads::Chain(Box::new(given.chain(&split, heads, shapes[*first], &chain::stored(&results))?))
            }
            (_, &[head], [_]) => {
                let inputs = given.inputs(&split, head);
                let format = |storage: Option<Storage>| storage.map_or(Format::FP32, Storage::format);
                let stored: Vec<_> = inputs.iter().map(|input| (input.shape, format(input.storage))).collect();
                Heads::One(BoundKernel::new(&parts[head].op, &stored, shapes[head])?)
            }
            (_, &[first, second], _) => {
                let ops = [&parts[first].op, &parts[second].op];
                Heads::Pair(BoundPair::new(ops, &operands[first], shapes[first])?)
            }
            _ => return Err(Fault::Operands("the parts cannot be computed together".into())),
        };
        Ok(Way { split, heads })
    }

    /// How a result is stored.
    fn result(&self, program: &Program, id: BufferId, parts: &[Part]) -> ResultStorage {
        let part = parts.iter().find(|part| part.output == id);
        let overflow = part.and_then(|part| part.rounding).map(|r| r.overflow);
        let is_in_arena = program.buffer(self.root(id)).offset.is_some();
        let buffer = program.buffer(id);
        let rounding = match buffer.dtype {
            DType::Bool => Some((TRUTH, Overflow::Saturate)),
            _ => rounding(buffer, overflow),
        };
        let rounding = rounding.filter(|_| is_in_arena);
        ResultStorage { is_packed: rounding.is_some() && buffer.width() <= 2, rounding }
    }
}

/// How numbers are rounded that go to a buffer in the arena. What is not to be rounded holds numbers of the format already, so
/// that either mode leaves them as they are.
pub(super) fn rounding(buffer: &Buffer, overflow: Option<Overflow>) -> Option<(Format, Overflow)> {
    (buffer.format != Format::FP32).then_some((buffer.format, overflow.unwrap_or(Overflow::NotFinite)))
}

/// How what an instruction reads is stored; nothing for what holds no numbers, or is stored by the instruction itself.
fn storage(program: &Program, origin: &Origin) -> Option<Storage> {
    match origin {
        Origin::Arena(root, _) => {
            let buffer = program.buffer(*root);
            let is_packed = buffer.width() <= 2;
            match buffer.dtype {
                DType::F32 if is_packed => Some(Storage::Codes(buffer.format)),
                DType::F32 => Some(Storage::Numbers(buffer.format)),
                DType::I32 => Some(Storage::Numbers(Format::FP32)),
                DType::Bool => Some(Storage::Codes(TRUTH)),
                DType::Index8 => None,
            }
        }
        Origin::Given(_) | Origin::Scalar(_) | Origin::Kept(_) => Some(Storage::Numbers(Format::FP32)),
        Origin::Output(_) | Origin::Part(_) => None,
    }
}

/// The parts of an instruction, for errors.
pub(super) fn place(program: &Program, parts: &[Part]) -> String {
    let part = |part: &Part| format!("{} into {} `{}`", part.op.name(), part.output, program.buffer(part.output).name);
    parts.iter().map(part).collect::<Vec<_>>().join(" and ")
}
