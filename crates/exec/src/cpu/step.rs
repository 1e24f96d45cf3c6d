//! One step of a program on the CPU.

use super::arena::{Arena, Split, overwrite};
use super::chain::{self, Elementwise, Link};
use super::derive::Parts;
use super::kernel;
use super::operands::{Operand, Operands, Place};
use crate::error::{ExecError, Fault};
use crate::inputs::{Inputs, Numbers};
use crate::outcome::{OverflowCount, Step, Watch, are_finite, written};
use crate::values::Values;
use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_ir::DType;
use bitbudget_kernels::{Elements, Function, Output};
use bitbudget_program::{Buffer, BufferId, Instruction, Part, Program, Source, Workspace};
use candle_core::{CpuStorage, Layout, Storage, Tensor};
use std::ops::Range;
use std::time::Instant;

/// Runs a step; kept tensors change in place.
pub(crate) fn run(
    program: &Program,
    arena: &mut Arena,
    values: &mut Values,
    inputs: &Inputs<'_>,
    watch: &mut Watch<'_>,
) -> Result<Step, ExecError> {
    arena.reserve(program.arena).map_err(|e| ExecError::new("the memory of a step", e))?;
    let run = Run::new(program, arena, values, inputs)?;
    let mut step = Step::default();
    for (at, instruction) in program.instructions.iter().enumerate() {
        let start = Instant::now();
        run.instruction(instruction, &mut step)?;
        watch.took(at, start.elapsed());
        if let Watch::Numbers(observe) = watch {
            run.show(instruction, *observe)?;
        }
        if let Some(id) = watch.ends_with(instruction) {
            let numbers = run.numbers(id).map_err(|e| ExecError::new(id.to_string(), e))?;
            if !are_finite(&numbers) {
                return Ok(Step::ended(program, id, &numbers));
            }
        }
    }
    for (name, id) in &program.outputs {
        let numbers = run.numbers(*id).map_err(|e| ExecError::new(format!("output `{name}`"), e))?;
        step.outputs.insert(name.clone(), numbers);
    }
    Ok(step)
}

struct Run<'a> {
    program: &'a Program,
    arena: &'a Arena,
    /// What the inputs hold, by buffer.
    given: Vec<Option<Numbers<'a>>>,
    /// The buffer whose storage each buffer shows.
    shows: Vec<BufferId>,
    /// What is kept, by buffer.
    kept: Vec<Option<Tensor>>,
    /// The numbers of the training loop, by buffer.
    scalars: Vec<[f32; 1]>,
}

/// The memory that an instruction reads and writes.
struct Memory<'t> {
    split: Split<'t>,
    /// Kept tensors that it reads, by buffer.
    kept: Vec<(BufferId, &'t [f32])>,
}

impl<'a> Run<'a> {
    fn new(program: &'a Program, arena: &'a Arena, values: &Values, inputs: &Inputs<'a>) -> Result<Run<'a>, ExecError> {
        let given = inputs.bound(program)?;
        let mut shows: Vec<BufferId> = (0..program.buffers.len() as u32).map(BufferId).collect();
        for instruction in &program.instructions {
            if let Instruction::View { input, output } = instruction {
                shows[output.index()] = shows[input.index()];
            }
        }
        let mut kept = vec![None; program.buffers.len()];
        let mut scalars = vec![[0.0]; program.buffers.len()];
        for (i, buffer) in program.buffers.iter().enumerate() {
            match buffer.source {
                Source::Kept | Source::Constant => kept[i] = Some(values.checked(buffer)?.clone()),
                Source::Scalar(kind) => scalars[i] = [inputs.scalar(kind, values.progress.updates)],
                Source::Input | Source::None => {}
            }
        }
        Ok(Run { program, arena, given, shows, kept, scalars })
    }

    fn instruction(&self, instruction: &Instruction, step: &mut Step) -> Result<(), ExecError> {
        match instruction {
            Instruction::Compute { parts, workspace } => {
                let counts = self.compute(parts, *workspace).map_err(|e| ExecError::new(self.place(parts), e))?;
                for (part, counts) in parts.iter().zip(counts) {
                    let buffer = self.program.buffer(part.output);
                    let counted = part.rounding.and_then(|r| r.counted);
                    if let (Some(tensor), true) = (counted, buffer.format != Format::FP32) {
                        step.overflows.push(OverflowCount { tensor, counts, elements: buffer.elements() as u64 });
                    }
                }
                Ok(())
            }
            Instruction::Store { value, target } => {
                self.store(*value, *target).map_err(|e| ExecError::new(format!("store {target}"), e))
            }
            // Places are known beforehand.
            Instruction::View { .. } | Instruction::Free { .. } => Ok(()),
        }
    }

    fn place(&self, parts: &[Part]) -> String {
        let part = |part: &Part| {
            format!("{} into {} `{}`", part.op.name(), part.output, self.program.buffer(part.output).name)
        };
        parts.iter().map(part).collect::<Vec<_>>().join(" and ")
    }

    /// Where the storage of a buffer lies in the arena.
    fn range(&self, id: BufferId) -> Option<Range<usize>> {
        let buffer = self.program.buffer(self.shows[id.index()]);
        buffer.offset.map(|offset| offset..offset.saturating_add(buffer.bytes()))
    }

    /// Runs `f` with the memory of an instruction: what it reads, `written` in order, and the workspace last.
    fn with_memory<R>(
        &self,
        reads: &[BufferId],
        written: &[BufferId],
        workspace: Option<Workspace>,
        f: impl FnOnce(&Memory<'_>, Vec<Written<'_>>, &mut [f32]) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let kept = |id: &BufferId| self.kept[self.shows[id.index()].index()].as_ref();
        let replaced: Vec<&Tensor> = written.iter().filter_map(kept).collect();
        let read: Vec<(BufferId, &Tensor)> = reads
            .iter()
            .filter(|id| !written.contains(&self.shows[id.index()]))
            .filter_map(|id| kept(id).map(|tensor| (self.shows[id.index()], tensor)))
            .collect();
        let guards: Vec<_> = read.iter().map(|(id, tensor)| (*id, tensor.storage_and_layout())).collect();
        let kept_slices: Result<Vec<(BufferId, &[f32])>, Fault> =
            guards.iter().map(|(id, (storage, layout))| Ok((*id, numbers(storage, layout)?))).collect();
        let kept_slices = kept_slices?;
        let mut ranges: Vec<Range<usize>> = written.iter().filter_map(|&id| self.range(id)).collect();
        ranges.extend(workspace.map(|w| w.offset..w.offset.saturating_add(w.bytes)));
        self.arena.with(|block| {
            lend(
                &replaced,
                &mut Vec::new(),
                &mut Some(|replaced: Vec<&mut [f32]>| {
                    let mut split = Split::new(block, &ranges)?;
                    let mut pieces = std::mem::take(&mut split.written).into_iter();
                    let mut replaced = replaced.into_iter();
                    let mut slots = Vec::with_capacity(written.len());
                    for id in written {
                        let slot = match self.range(*id) {
                            Some(_) => pieces.next().map(Written::Arena),
                            None => replaced.next().map(Written::Kept),
                        };
                        slots.push(slot.ok_or_else(|| Fault::Operands(format!("{id} has no place")))?);
                    }
                    let workspace = pieces.next().map_or(Ok(&mut [][..]), words)?;
                    f(&Memory { split, kept: kept_slices }, slots, workspace)
                }),
            )
        })
    }

    fn compute(&self, parts: &[Part], workspace: Option<Workspace>) -> Result<Vec<Counts>, Fault> {
        let reads: Vec<BufferId> = parts.iter().flat_map(|part| part.inputs.iter().copied()).collect();
        let stored = |id: &BufferId| {
            let buffer = self.program.buffer(*id);
            buffer.offset.is_some() || buffer.source == Source::Kept
        };
        let written: Vec<BufferId> = parts.iter().map(|part| part.output).filter(stored).collect();
        self.with_memory(&reads, &written, workspace, |memory, slots, workspace| {
            let mut places = Vec::with_capacity(slots.len());
            for (slot, id) in slots.into_iter().zip(&written) {
                let part = parts.iter().find(|part| part.output == *id);
                let overflow = part.and_then(|part| part.rounding).map(|r| r.overflow);
                places.push(result(self.program.buffer(*id), overflow, slot)?);
            }
            let links: Result<Vec<Link<'_>>, Fault> =
                (0..parts.len()).map(|i| self.link(parts, i, &written, memory)).collect();
            execute(&links?, &mut places, &self.shapes(parts), workspace)
        })
    }

    fn shapes(&self, parts: &[Part]) -> Vec<&'a [usize]> {
        parts.iter().map(|part| self.program.buffer(part.output).shape.as_slice()).collect()
    }

    /// A part with its operands.
    fn link<'t>(
        &'t self,
        parts: &'t [Part],
        i: usize,
        written: &[BufferId],
        memory: &Memory<'t>,
    ) -> Result<Link<'t>, Fault> {
        let part = &parts[i];
        let operand = |&id: &BufferId| {
            let earlier = parts[..i].iter().rposition(|earlier| earlier.output == self.shows[id.index()]);
            let operand = match earlier {
                Some(earlier) => Operand::Part(earlier),
                None => self.operand(id, written, memory)?,
            };
            Ok((operand, self.program.buffer(id).shape.as_slice()))
        };
        let operands: Result<Vec<_>, Fault> = part.inputs.iter().map(operand).collect();
        let buffer = self.program.buffer(part.output);
        let rounding = part.rounding.filter(|_| buffer.format != Format::FP32).map(|r| (buffer.format, r.overflow));
        let place = written.iter().position(|id| *id == part.output);
        let is_counted = rounding.is_some() && part.rounding.is_some_and(|r| r.counted.is_some());
        Ok(Link { op: &part.op, operands: Operands(operands?), rounding, is_counted, format: buffer.format, place })
    }

    fn operand<'t>(&'t self, id: BufferId, written: &[BufferId], memory: &Memory<'t>) -> Result<Operand<'t>, Fault> {
        let root = self.shows[id.index()];
        let buffer = self.program.buffer(root);
        let range = self.range(root);
        if let Some(output) = written.iter().position(|&w| w == root || range.is_some() && self.range(w) == range) {
            return Ok(Operand::Output(output));
        }
        if let Some(range) = range {
            return stored(buffer, memory.split.read(&range)?);
        }
        match buffer.source {
            Source::Input => match self.given[root.index()] {
                Some(Numbers::F32(x)) => Ok(Operand::Numbers(x.into())),
                Some(Numbers::Integers(x)) => Ok(Operand::Labels(x)),
                None => Err(missing(id)),
            },
            Source::Scalar(_) => Ok(Operand::Numbers(self.scalars[root.index()].as_slice().into())),
            Source::Kept | Source::Constant => {
                let found = memory.kept.iter().find(|(kept, _)| *kept == root);
                found.map(|(_, x)| Operand::Numbers((*x).into())).ok_or_else(|| missing(id))
            }
            Source::None => Err(missing(id)),
        }
    }

    fn store(&self, value: BufferId, target: BufferId) -> Result<(), Fault> {
        self.with_memory(&[value], &[target], None, |memory, slots, _| {
            let Operand::Numbers(x) = self.operand(value, &[target], memory)? else { return Err(missing(value)) };
            match slots.into_iter().next() {
                Some(Written::Kept(y)) => Ok(x.copy_to(y)?),
                _ => Err(missing(target)),
            }
        })
    }

    /// The numbers that a buffer holds, indices as such.
    fn numbers(&self, id: BufferId) -> Result<Vec<f32>, Fault> {
        self.with_memory(&[id], &[], None, |memory, _, _| match self.operand(id, &[], memory)? {
            Operand::Numbers(x) => {
                let mut numbers = vec![0.0; x.len()];
                x.copy_to(&mut numbers)?;
                Ok(numbers)
            }
            Operand::Indices(x) => Ok(x.iter().map(|&i| f32::from(i)).collect()),
            Operand::Labels(x) => Ok(x.iter().map(|&i| i as f32).collect()),
            Operand::Output(_) | Operand::Part(_) => Err(missing(id)),
        })
    }

    /// Shows the numbers that an instruction wrote.
    fn show(
        &self,
        instruction: &Instruction,
        observe: &mut (dyn FnMut(BufferId, &[f32]) + Send),
    ) -> Result<(), ExecError> {
        for id in written(instruction) {
            let root = self.program.buffer(self.shows[id.index()]);
            let there = root.offset.is_some() || root.source != Source::None;
            if there {
                observe(id, &self.numbers(id).map_err(|e| ExecError::new(id.to_string(), e))?);
            }
        }
        Ok(())
    }
}

/// Memory that an instruction writes.
enum Written<'t> {
    Arena(&'t mut [u8]),
    Kept(&'t mut [f32]),
}

fn missing(id: BufferId) -> Fault {
    Fault::Operands(format!("{id} holds nothing"))
}

/// Lends the storages of all `tensors` at once.
fn lend<R>(
    tensors: &[&Tensor],
    lent: &mut Vec<&mut [f32]>,
    f: &mut Option<impl FnOnce(Vec<&mut [f32]>) -> Result<R, Fault>>,
) -> Result<R, Fault> {
    match tensors.split_first() {
        Some((first, rest)) => overwrite(first, |storage| match storage {
            CpuStorage::F32(numbers) => {
                let mut more: Vec<&mut [f32]> = lent.iter_mut().map(|slice| &mut **slice).collect();
                more.push(numbers);
                lend(rest, &mut more, f)
            }
            _ => Err(Fault::Operands("what is kept must be FP32 numbers".into())),
        }),
        None => match f.take() {
            Some(f) => f(lent.iter_mut().map(|slice| &mut **slice).collect()),
            None => Err(Fault::Operands("memory is lent once".into())),
        },
    }
}

/// The numbers of a contiguous tensor in CPU memory.
fn numbers<'t>(storage: &'t Storage, layout: &Layout) -> Result<&'t [f32], Fault> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(x)), Some((begin, end))) => Ok(&x[begin..end]),
        _ => Err(Fault::Operands("what is kept must be contiguous FP32 numbers in CPU memory".into())),
    }
}

fn unaligned(error: bytemuck::PodCastError) -> Fault {
    Fault::Operands(format!("bytes of the arena cannot be read as elements: {error}"))
}

fn words(bytes: &mut [u8]) -> Result<&mut [f32], Fault> {
    bytemuck::try_cast_slice_mut(bytes).map_err(unaligned)
}

/// What a buffer's bytes stand for.
fn stored<'t>(buffer: &Buffer, bytes: &'t [u8]) -> Result<Operand<'t>, Fault> {
    let format = buffer.format;
    Ok(match (buffer.dtype, buffer.width()) {
        (DType::Index8, _) => Operand::Indices(bytes),
        (DType::Label, _) => Operand::Labels(bytemuck::try_cast_slice(bytes).map_err(unaligned)?),
        (DType::F32, 1) => Operand::Numbers(Elements::u8(format, bytes)?),
        (DType::F32, 2) => {
            Operand::Numbers(Elements::u16(format, bytemuck::try_cast_slice(bytes).map_err(unaligned)?)?)
        }
        (DType::F32, _) => {
            Operand::Numbers(Elements::rounded(format, bytemuck::try_cast_slice(bytes).map_err(unaligned)?))
        }
    })
}

/// Where a result goes.
fn result<'t>(buffer: &Buffer, overflow: Option<Overflow>, written: Written<'t>) -> Result<Place<'t>, Fault> {
    let format = buffer.format;
    let bytes = match written {
        Written::Kept(numbers) => return Ok(Place::Numbers(numbers.into())),
        Written::Arena(bytes) => bytes,
    };
    // What is not rounded holds numbers of the format already, so that either mode leaves them as they are.
    let mode = overflow.unwrap_or(Overflow::NotFinite);
    Ok(match (buffer.dtype, buffer.width()) {
        (DType::Index8, _) => Place::Indices(bytes),
        (DType::Label, _) => return Err(Fault::Operands("labels are not computed".into())),
        (DType::F32, 1) => Place::Numbers(Output::u8(format, mode, bytes)?),
        (DType::F32, 2) => {
            Place::Numbers(Output::u16(format, mode, bytemuck::try_cast_slice_mut(bytes).map_err(unaligned)?)?)
        }
        (DType::F32, _) if format != Format::FP32 => Place::Numbers(Output::rounded(format, mode, words(bytes)?)),
        (DType::F32, _) => Place::Numbers(words(bytes)?.into()),
    })
}

/// Computes the parts of one instruction. What is derived of them counts nothing.
fn execute(
    links: &[Link<'_>],
    places: &mut [Place<'_>],
    shapes: &[&[usize]],
    workspace: &mut [f32],
) -> Result<Vec<Counts>, Fault> {
    let elementwise = links.iter().zip(shapes).map(|(link, shape)| Elementwise::new(link.op, &link.operands, shape));
    let elementwise: Vec<Option<Elementwise>> = elementwise.collect();
    let functions: Vec<Option<Function<'_>>> = elementwise.iter().map(|e| Some(e.as_ref()?.function())).collect();
    if let (Some(all), Some(shape)) = (functions.iter().copied().collect(), shapes.first())
        && shapes.iter().all(|other| other == shape)
    {
        return chain::compute(links, all, places, shape);
    }
    let parts = Parts::new(links, &functions, shapes)?;
    let mut counts = vec![Counts::default(); links.len()];
    let of_heads =
        parts.run(&mut counts, &mut |heads| heads_of(heads, &parts.heads, &functions, places, shapes, workspace))?;
    parts.heads.iter().zip(of_heads).for_each(|(&head, of_head)| counts[head] = of_head);
    Ok(counts)
}

/// Computes the parts that are not derived: the `at`th ones of an instruction.
fn heads_of(
    heads: &[Link<'_>],
    at: &[usize],
    functions: &[Option<Function<'_>>],
    places: &mut [Place<'_>],
    shapes: &[&[usize]],
    workspace: &mut [f32],
) -> Result<Vec<Counts>, Fault> {
    let elementwise: Option<Vec<Function<'_>>> = at.iter().map(|&i| functions[i]).collect();
    match (elementwise, heads, places) {
        (Some(functions), [_, ..], places) => chain::compute(heads, functions, places, shapes[at[0]]),
        (None, [head], [place]) => Ok(vec![kernel::compute(head.op, &head.operands, place, shapes[at[0]], workspace)?]),
        (None, [first, second], places) => {
            let parts = [(first.op, &first.operands), (second.op, &second.operands)];
            Ok(kernel::pair(parts, places, [shapes[at[0]], shapes[at[1]]])?.to_vec())
        }
        _ => Err(Fault::Operands("the parts cannot be computed together".into())),
    }
}
