//! One step of a program on a device.

use super::bound::{Binding, Bound, IndexRange};
use super::codes::{decoded, encoded};
use super::kept::Kept;
use super::memory::Engine;
use crate::error::ExecError;
use crate::inputs::Inputs;
use crate::outcome::{OverflowCount, Step, Watch, are_finite, written};
use bitbudget_formats::Counts;
use bitbudget_program::{Buffer, BufferId, Program, Source};
use std::time::Instant;

/// Runs a step; kept values change in place. `updates` is how many came before.
pub(crate) fn run(
    program: &Program,
    bound: &Bound,
    engine: &mut Engine,
    (kept, updates): (&Kept, u32),
    inputs: &Inputs<'_>,
    watch: &mut Watch<'_>,
) -> Result<Step, ExecError> {
    let mut binding = bound.binding(program, engine, kept)?;
    let Some(binding) = binding.as_mut() else { return Err(ExecError::new("a step", "the program is not bound")) };
    give(program, bound, engine, updates, inputs)?;
    let all = program.instructions.len();
    match watch {
        Watch::Nothing => binding.replay(engine, &bound.runs, 0..all)?,
        Watch::Finite(id) => {
            let writes = program.instructions.iter().position(|instruction| written(instruction).contains(id));
            let end = writes.map_or(0, |at| at + 1);
            binding.replay(engine, &bound.runs, 0..end)?;
            if end > 0 {
                let numbers = read(program, bound, binding, engine, &[*id])?.numbers.swap_remove(0);
                if !are_finite(&numbers) {
                    return Ok(Step::ended(program, *id, &numbers));
                }
            }
            binding.replay(engine, &bound.runs, end..all)?;
        }
        Watch::Time(_) | Watch::Numbers(_) => one_by_one(program, bound, binding, engine, watch)?,
    }
    let outputs: Vec<BufferId> = program.outputs.iter().map(|&(_, id)| id).collect();
    let Read { numbers, overflows } = read(program, bound, binding, engine, &outputs)?;
    let names = program.outputs.iter().map(|(name, _)| name.clone());
    Ok(Step { outputs: names.zip(numbers).collect(), overflows })
}

/// Copies what a step is given to the device.
fn give(
    program: &Program,
    bound: &Bound,
    engine: &mut Engine,
    updates: u32,
    inputs: &Inputs<'_>,
) -> Result<(), ExecError> {
    let (given, arrays) = (&bound.given, inputs.bound(program)?);
    let mut bytes = vec![0; given.counters.start];
    for (i, (buffer, array)) in program.buffers.iter().zip(arrays).enumerate() {
        let Some(begin) = given.places[i] else { continue };
        if let (Some(numbers), Some(&range)) = (&array, bound.ranges.get(&i)) {
            check_range(buffer, numbers, range)?;
        }
        let of_array = match (buffer.source, array) {
            (Source::Scalar(kind), _) => encoded(buffer, &[inputs.scalar(kind, program, updates)]),
            (_, Some(array)) => encoded(buffer, &array),
            (_, None) => continue,
        };
        bytes[begin..begin + of_array.len()].copy_from_slice(&of_array);
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let begin = engine.reserve(program.arena, given.bytes)?;
    engine.driver().write(begin.given, &bytes).map_err(|e| ExecError::new("the inputs of the step", e))
}

fn check_range(buffer: &Buffer, numbers: &[f32], IndexRange { least, below }: IndexRange) -> Result<(), ExecError> {
    let is_wrong = |&x: &f32| x.is_nan() || x < least || x >= below as f32;
    match numbers.iter().position(is_wrong) {
        Some(at) => {
            let reason = format!("element {at} is {}, but indices and labels must be below {below}", numbers[at]);
            Err(ExecError::inputs(format!("`{}`", buffer.name), reason))
        }
        None => Ok(()),
    }
}

/// What was read from the device.
struct Read {
    /// By buffer.
    numbers: Vec<Vec<f32>>,
    overflows: Vec<OverflowCount>,
}

/// Waits for what was asked for, and reads buffers and counters.
fn read(
    program: &Program,
    bound: &Bound,
    binding: &Binding,
    engine: &Engine,
    buffers: &[BufferId],
) -> Result<Read, ExecError> {
    let held = |id: BufferId| (program.buffer(id), program.buffer(bound.roots[id.index()]));
    let mut ranges: Vec<(u64, usize)> = Vec::with_capacity(buffers.len() + 1);
    for &id in buffers {
        let (_, root) = held(id);
        ranges.push((binding.addresses[id.index()], root.bytes()));
    }
    ranges.push((binding.counters, COUNTERS * binding.counted.len()));
    let mut bytes = engine.driver().read(&ranges).map_err(|e| ExecError::new("a step", e))?;
    let counters = bytes.pop().unwrap_or_default();
    let numbers = buffers.iter().zip(bytes).map(|(&id, bytes)| {
        let (buffer, root) = held(id);
        decoded(buffer, root.source, &bytes).map_err(|e| ExecError::new(id.to_string(), e))
    });
    let words: Vec<u64> =
        counters.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default())).collect();
    let overflows = binding.counted.iter().zip(words.chunks_exact(3)).map(|(&(tensor, buffer), words)| {
        let counts = Counts { overflow: words[0], underflow: words[1], not_finite: words[2] };
        OverflowCount { tensor, counts, elements: program.buffer(buffer).elements() as u64 }
    });
    Ok(Read { numbers: numbers.collect::<Result<_, _>>()?, overflows: overflows.collect() })
}

/// Bytes of the counters of one tensor.
const COUNTERS: usize = 24;

/// Asks for one instruction after the other.
fn one_by_one(
    program: &Program,
    bound: &Bound,
    binding: &mut Binding,
    engine: &Engine,
    watch: &mut Watch<'_>,
) -> Result<(), ExecError> {
    for (at, instruction) in program.instructions.iter().enumerate() {
        let start = Instant::now();
        binding.replay(engine, &bound.runs, at..at + 1)?;
        if let Watch::Time(_) = watch {
            engine.driver().wait().map_err(|e| ExecError::new("a step", e))?;
        }
        watch.took(at, start.elapsed());
        if let Watch::Numbers(observe) = watch {
            let is_there = |id: &BufferId| binding.addresses[id.index()] != 0;
            let ids: Vec<BufferId> = written(instruction).into_iter().filter(is_there).collect();
            let numbers = read(program, bound, binding, engine, &ids)?.numbers;
            ids.into_iter().zip(numbers).for_each(|(id, numbers)| observe(id, &numbers));
        }
    }
    Ok(())
}
