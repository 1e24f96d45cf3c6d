//! One step of a program on the CPU.

use super::arena::{Arena, Split, overwrite};
use super::load::{Bound, Compute, Heads, Reach, Task, Way, place, rounding};
use super::operands::{Operand, Operands, Place};
use super::part::{Origin, TRUTH, missing};
use super::sources::{Sources, unaligned};
use crate::error::{ExecError, Fault};
use crate::inputs::Inputs;
use crate::outcome::{OverflowCount, Step, Watch, are_finite, written};
use crate::values::Values;
use bitbudget_formats::{Counts, Format, Overflow};
use bitbudget_ir::DType;
use bitbudget_kernels::Output;
use bitbudget_program::{Buffer, BufferId, Instruction, Part, Program, Source};
use candle_core::{CpuStorage, Layout, Storage, Tensor};
use std::borrow::Cow;
use std::time::Instant;

/// Runs a step; kept tensors change in place.
pub(crate) fn run(
    program: &Program,
    bound: &Bound,
    arena: &mut Arena,
    values: &mut Values,
    inputs: &Inputs<'_>,
    watch: &mut Watch<'_>,
) -> Result<Step, ExecError> {
    arena.reserve(program.arena).map_err(|e| ExecError::new("the memory of a step", e))?;
    let run = Run::new(program, bound, arena, values, inputs)?;
    let mut step = Step::default();
    for (at, (instruction, task)) in program.instructions.iter().zip(&bound.tasks).enumerate() {
        let start = Instant::now();
        if let Some(task) = task {
            run.instruction(task, instruction, &mut step)?;
        }
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
    bound: &'a Bound,
    arena: &'a Arena,
    /// The arrays of the inputs, by buffer.
    given: Vec<Option<Cow<'a, [f32]>>>,
    /// The kept values, by buffer.
    kept: Vec<Option<Tensor>>,
    /// The numbers of the training loop, by buffer.
    scalars: Vec<[f32; 1]>,
}

impl<'a> Run<'a> {
    fn new(
        program: &'a Program,
        bound: &'a Bound,
        arena: &'a Arena,
        values: &Values,
        inputs: &Inputs<'a>,
    ) -> Result<Run<'a>, ExecError> {
        let given = inputs.bound(program)?;
        let mut kept = vec![None; program.buffers.len()];
        let mut scalars = vec![[0.0]; program.buffers.len()];
        for (i, buffer) in program.buffers.iter().enumerate() {
            match buffer.source {
                Source::Kept | Source::Constant => kept[i] = Some(values.checked(buffer)?.clone()),
                Source::Scalar(kind) => scalars[i] = [inputs.scalar(kind, program, values.progress.updates)],
                Source::Input | Source::None => {}
            }
        }
        Ok(Run { program, bound, arena, given, kept, scalars })
    }

    fn instruction(&self, task: &Task, instruction: &Instruction, step: &mut Step) -> Result<(), ExecError> {
        match (task, instruction) {
            (Task::Compute(task), Instruction::Compute { parts, .. }) => {
                let counts = self.compute(task, parts).map_err(|e| ExecError::new(place(self.program, parts), e))?;
                for (part, counts) in parts.iter().zip(counts) {
                    let buffer = self.program.buffer(part.output);
                    let counted = part.rounding.and_then(|r| r.counted);
                    if let (Some(tensor), true) = (counted, buffer.format != Format::FP32) {
                        step.overflows.push(OverflowCount { tensor, counts, elements: buffer.elements() as u64 });
                    }
                }
                Ok(())
            }
            (Task::Store { reach, value }, Instruction::Store { target, .. }) => {
                self.store(reach, value).map_err(|e| ExecError::new(format!("store {target}"), e))
            }
            _ => Err(ExecError::new("a step", "the program is not the one that was loaded")),
        }
    }

    /// Runs `f` with the memory of an instruction: what it reads, what it writes in order, and the workspace last.
    fn with_memory<R>(
        &self,
        reach: &Reach,
        f: impl FnOnce(&Sources<'_, '_>, Vec<Written<'_>>, &mut [f32]) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let kept = |id: &BufferId| self.kept[id.index()].as_ref().ok_or_else(|| missing(*id));
        let replaced: Result<Vec<&Tensor>, Fault> = reach.replaced.iter().map(kept).collect();
        let guards: Result<Vec<_>, Fault> =
            reach.kept.iter().map(|id| kept(id).map(|tensor| tensor.storage_and_layout())).collect();
        let guards = guards?;
        let kept: Result<Vec<&[f32]>, Fault> =
            guards.iter().map(|(storage, layout)| numbers(storage, layout)).collect();
        let kept = kept?;
        self.arena.with(|block| {
            lend(
                &replaced?,
                &mut Vec::new(),
                &mut Some(|replaced: Vec<&mut [f32]>| {
                    let mut split = Split::new(block, &reach.ranges)?;
                    let mut pieces = std::mem::take(&mut split.written).into_iter();
                    let mut replaced = replaced.into_iter();
                    let mut slots = Vec::with_capacity(reach.written.len());
                    for id in &reach.written {
                        let slot = match self.program.buffer(self.bound.root(*id)).offset {
                            Some(_) => pieces.next().map(Written::Arena),
                            None => replaced.next().map(Written::Kept),
                        };
                        slots.push(slot.ok_or_else(|| Fault::Operands(format!("{id} has no place")))?);
                    }
                    let workspace = pieces.next().map_or(Ok(&mut [][..]), words)?;
                    let (program, given, scalars) = (self.program, &*self.given, &*self.scalars);
                    let sources = Sources { program, given, scalars, kept: &kept, split: &split, derived: &[] };
                    f(&sources, slots, workspace)
                }),
            )
        })
    }

    fn compute(&self, task: &Compute, parts: &[Part]) -> Result<Vec<Counts>, Fault> {
        self.with_memory(&task.reach, |sources, slots, workspace| {
            let mut places = Vec::with_capacity(slots.len());
            for (slot, id) in slots.into_iter().zip(&task.reach.written) {
                let part = parts.iter().find(|part| part.output == *id);
                let overflow = part.and_then(|part| part.rounding).map(|r| r.overflow);
                places.push(result(self.program.buffer(*id), overflow, slot)?);
            }
            let split = &task.way.split;
            let mut counts = vec![Counts::default(); parts.len()];
            let of_heads = split
                .run(sources, &mut counts, &mut |sources| self.heads(task, parts, sources, &mut places, workspace))?;
            split.heads.iter().zip(of_heads).for_each(|(&head, of_head)| counts[head] = of_head);
            Ok(counts)
        })
    }

    /// Computes the parts that are not derived.
    fn heads(
        &self,
        task: &Compute,
        parts: &[Part],
        sources: &Sources<'_, '_>,
        places: &mut [Place<'_>],
        workspace: &mut [f32],
    ) -> Result<Vec<Counts>, Fault> {
        let shape = |i: usize| self.program.buffer(parts[i].output).shape.as_slice();
        let operands = |i: usize| self.operands(&parts[i], &task.parts[i].origins, sources);
        let Way { split, heads } = &task.way;
        match (heads, split.heads.as_slice(), places) {
            (Heads::Chain(chain), chosen, places) => chain.run(sources, chosen.len(), places),
            (Heads::One(kernel), &[head], [place]) => {
                Ok(vec![kernel.compute(&parts[head].op, &operands(head)?, place, shape(head), workspace)?])
            }
            (Heads::Pair(pair), &[first, second], places) => {
                Ok(pair.compute([&operands(first)?, &operands(second)?], places)?.to_vec())
            }
            _ => Err(Fault::Operands("the parts cannot be computed together".into())),
        }
    }

    /// The operands of a part, with shapes.
    fn operands<'t>(
        &'t self,
        part: &Part,
        origins: &[Origin],
        sources: &Sources<'_, 't>,
    ) -> Result<Operands<'t>, Fault> {
        let shape = |id: BufferId| self.program.buffer(id).shape.as_slice();
        let operand = |(&id, origin)| Ok((sources.operand(origin)?, shape(id)));
        let operands: Result<Vec<_>, Fault> = part.inputs.iter().zip(origins).map(operand).collect();
        Ok(Operands(operands?))
    }

    fn store(&self, reach: &Reach, value: &Origin) -> Result<(), Fault> {
        self.with_memory(reach, |sources, slots, _| {
            let missing = || Fault::Operands("there are no numbers to store, or no place for them".into());
            let Operand::Numbers(x) = sources.operand(value)? else { return Err(missing()) };
            match slots.into_iter().next() {
                Some(Written::Kept(y)) => Ok(x.copy_to(y)?),
                _ => Err(missing()),
            }
        })
    }

    /// The numbers that a buffer holds, indices as such.
    fn numbers(&self, id: BufferId) -> Result<Vec<f32>, Fault> {
        let reach = self.bound.reach(self.program, &[id], &[], None);
        let origin = self.bound.origin(self.program, id, &reach)?;
        self.with_memory(&reach, |sources, _, _| match sources.operand(&origin)? {
            Operand::Numbers(x) => {
                let mut numbers = vec![0.0; x.len()];
                x.copy_to(&mut numbers)?;
                Ok(numbers)
            }
            Operand::Indices(x) => Ok(x.iter().map(|&i| f32::from(i)).collect()),
            Operand::Own => Err(missing(id)),
        })
    }

    /// Shows the numbers that an instruction wrote.
    fn show(
        &self,
        instruction: &Instruction,
        observe: &mut (dyn FnMut(BufferId, &[f32]) + Send),
    ) -> Result<(), ExecError> {
        for id in written(instruction) {
            let root = self.program.buffer(self.bound.root(id));
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

fn words(bytes: &mut [u8]) -> Result<&mut [f32], Fault> {
    bytemuck::try_cast_slice_mut(bytes).map_err(unaligned)
}

/// Where a result goes.
fn result<'t>(buffer: &Buffer, overflow: Option<Overflow>, written: Written<'t>) -> Result<Place<'t>, Fault> {
    let bytes = match written {
        Written::Kept(numbers) => return Ok(Place::Numbers(numbers.into())),
        Written::Arena(bytes) => bytes,
    };
    Ok(match (buffer.dtype, buffer.width(), rounding(buffer, overflow)) {
        (DType::Index8, ..) => Place::Indices(bytes),
        (DType::Bool, ..) => Place::Numbers(Output::u8(TRUTH, Overflow::Saturate, bytes)?),
        (DType::I32, ..) => Place::Numbers(words(bytes)?.into()),
        (DType::F32, 1, Some((format, mode))) => Place::Numbers(Output::u8(format, mode, bytes)?),
        (DType::F32, 2, Some((format, mode))) => {
            Place::Numbers(Output::u16(format, mode, bytemuck::try_cast_slice_mut(bytes).map_err(unaligned)?)?)
        }
        (DType::F32, _, Some((format, mode))) => Place::Numbers(Output::rounded(format, mode, words(bytes)?)),
        (DType::F32, _, None) => Place::Numbers(words(bytes)?.into()),
    })
}
