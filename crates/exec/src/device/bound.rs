//! A program that is ready to run on a device.

use super::independent::independent;
use super::kept::Kept;
use super::memory::{Begin, Engine};
use crate::error::ExecError;
use bitbudget_cuda::{Addresses, Effort, EmitError, Emitted, Kernel, Launch, Recording, emit, together, whole_file};
use bitbudget_ir::Op;
use bitbudget_program::{BufferId, Given, Instruction, Machine, Part, Program, Source};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory begins at multiples of so many bytes.
const ALIGNMENT: u64 = 256;

/// A program whose kernels are compiled.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(super) given: Given,
    /// The buffer that each one shows.
    pub(super) roots: Vec<BufferId>,
    /// The whole numbers that inputs may hold which say where something lies, by the position of their buffer.
    pub(super) ranges: BTreeMap<usize, IndexRange>,
    /// The instructions in runs without an order.
    pub(super) runs: Vec<Range<usize>>,
    binding: Mutex<Option<Binding>>,
}

/// A program's launches with the addresses of a step's memory and of kept values.
#[derive(Debug)]
pub(super) struct Binding {
    /// By buffer, views where what they show is; 0 for what has no memory.
    pub(super) addresses: Vec<u64>,
    /// The address of the counters.
    pub(super) counters: u64,
    /// The tensors whose overflows are counted, in the order of the counters, with the buffers that they are counted for.
    pub(super) counted: Vec<(u32, BufferId)>,
    /// By instruction.
    launches: Vec<Vec<Launch>>,
    recordings: BTreeMap<(usize, usize), Box<dyn Recording>>,
}

impl Bound {
    /// Finds the kernels of a program, compiles them, and takes the memory of its steps.
    pub(crate) fn new(program: &Program, engine: &mut Engine) -> Result<Bound, ExecError> {
        let (given, roots) = (program.given(), program.storages());
        let kernels = kernels(program)?;
        let kernels: Vec<&Kernel> = kernels.values().collect();
        engine.driver().compile(&kernels).map_err(|e| ExecError::new(engine.driver().name(), e))?;
        engine.reserve(program.arena, given.bytes)?;
        let ranges = ranges(program, &roots);
        Ok(Bound { given, roots, ranges, runs: independent(program), binding: Mutex::new(None) })
    }

    /// The launches for the memory that the device and the values have now; what was recorded before stays while that is the same.
    pub(super) fn binding(
        &self,
        program: &Program,
        engine: &mut Engine,
        kept: &Kept,
    ) -> Result<MutexGuard<'_, Option<Binding>>, ExecError> {
        let begin = engine.reserve(program.arena, self.given.bytes)?;
        let addresses = self.addresses(program, begin, kept)?;
        let mut binding = self.binding.lock().unwrap_or_else(PoisonError::into_inner);
        if binding.as_ref().is_none_or(|binding| binding.addresses != addresses) {
            *binding = Some(Binding::new(program, &self.given, begin, addresses)?);
        }
        Ok(binding)
    }

    /// Where each buffer lies, if the step's memory begins there.
    fn addresses(&self, program: &Program, begin: Begin, kept: &Kept) -> Result<Vec<u64>, ExecError> {
        let mut addresses = vec![0; program.buffers.len()];
        for (i, buffer) in program.buffers.iter().enumerate() {
            addresses[i] = match (buffer.source, buffer.offset, self.given.places[i]) {
                (Source::Kept | Source::Constant, ..) => kept.address(buffer)?,
                (_, Some(offset), _) => begin.arena + offset as u64,
                (_, None, Some(offset)) => begin.given + offset as u64,
                (_, None, None) => 0,
            };
        }
        Ok(self.roots.iter().map(|root| addresses[root.index()]).collect())
    }
}

impl Binding {
    fn new(program: &Program, given: &Given, begin: Begin, addresses: Vec<u64>) -> Result<Binding, ExecError> {
        let counters = begin.given + given.counters.start as u64;
        let turns = begin.given + given.turns.start as u64;
        let of_program = Addresses { buffers: addresses.clone(), counters, workspace: begin.arena, turns };
        let emitted = all_emitted(program, given, &of_program)?;
        let counted = emitted.iter().flat_map(|emitted| emitted.counted.iter().copied()).collect();
        let mut launches: Vec<Vec<Launch>> = emitted.into_iter().map(|emitted| emitted.launches).collect();
        if let Some(first) = launches.first_mut() {
            first.insert(0, Launch::Zero { address: counters, bytes: given.counters.len() + given.turns.len() });
        }
        Ok(Binding { addresses, counters, counted, launches, recordings: BTreeMap::new() })
    }

    /// Asks the device for a range of instructions, which is recorded the first time.
    pub(super) fn replay(
        &mut self,
        engine: &Engine,
        runs: &[Range<usize>],
        range: Range<usize>,
    ) -> Result<(), ExecError> {
        let fault = |e| ExecError::new("a step", e);
        if self.launches[range.clone()].iter().all(Vec::is_empty) {
            return Ok(());
        }
        let recordings = &mut self.recordings;
        let recording = match recordings.entry((range.start, range.end)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let launches = few(&self.launches, runs, range);
                let launches: Vec<&Launch> = launches.iter().collect();
                entry.insert(engine.driver().record(&launches).map_err(fault)?)
            }
        };
        recording.replay().map_err(fault)
    }
}

/// The work of a program's step on a CUDA device, beside the bytes of its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceWork {
    /// The launches of the step.
    pub launches: usize,
    /// By instruction, what its kernels do.
    pub efforts: Vec<Effort>,
}

/// The work of a program for a CUDA device, which need not be there.
///
/// # Errors
/// If the program is for the CPU, or an operator has no kernel on CUDA devices.
pub fn device_work(program: &Program) -> Result<DeviceWork, ExecError> {
    let emitted = emitted_anywhere(program)?;
    let efforts = emitted.iter().map(|emitted| emitted.effort).collect();
    let launches: Vec<Vec<Launch>> = emitted.into_iter().map(|emitted| emitted.launches).collect();
    // One makes the counters zero.
    Ok(DeviceWork { launches: 1 + few(&launches, &independent(program), 0..launches.len()).len(), efforts })
}

/// The launches of a program's instructions in memory that is nowhere.
fn emitted_anywhere(program: &Program) -> Result<Vec<Emitted>, ExecError> {
    if program.machine != Machine::Cuda {
        return Err(ExecError::new("the program", "it is for the CPU; lower it for CUDA devices"));
    }
    let given = program.given();
    all_emitted(program, &given, &anywhere(program, &given, &program.storages()))
}

/// The launches of a range of instructions, those of a run's instructions together where they are one each.
fn few(launches: &[Vec<Launch>], runs: &[Range<usize>], range: Range<usize>) -> Vec<Launch> {
    let mut all = Vec::new();
    let first = runs.partition_point(|run| run.end <= range.start);
    for run in runs[first..].iter().take_while(|run| run.start < range.end) {
        let of_run = &launches[run.start.max(range.start)..run.end.min(range.end)];
        let (single, others): (Vec<&Vec<Launch>>, Vec<_>) = of_run.iter().partition(|launches| launches.len() == 1);
        all.extend(others.into_iter().flatten().cloned());
        all.extend(together(&single.into_iter().flatten().collect::<Vec<_>>()));
    }
    all
}

/// The kernels of a program, by name: those of its instructions, and those of several ones together.
fn kernels(program: &Program) -> Result<BTreeMap<String, Kernel>, ExecError> {
    let launches: Vec<Vec<Launch>> = emitted_anywhere(program)?.into_iter().map(|emitted| emitted.launches).collect();
    let few = few(&launches, &independent(program), 0..launches.len());
    let named = |launch| match launch {
        Launch::Kernel { kernel, .. } => Some((kernel.name.clone(), kernel)),
        Launch::Zero { .. } => None,
    };
    Ok(launches.into_iter().flatten().chain(few).filter_map(named).collect())
}

/// The CUDA C of a program for a CUDA device: every kernel of it once, in one file with the functions that they call.
///
/// # Errors
/// If the program is for the CPU, or an operator has no kernel on CUDA devices.
pub fn source(program: &Program) -> Result<String, ExecError> {
    let kernels: Vec<Kernel> = kernels(program)?.into_values().collect();
    Ok(whole_file(&kernels))
}

/// Addresses that are the same only where those of a step are: kernels read a tensor once that they need twice.
fn anywhere(program: &Program, given: &Given, roots: &[BufferId]) -> Addresses {
    const APART: u64 = 1 << 44;
    let address = |root: &BufferId| {
        let (i, buffer) = (root.index(), program.buffer(*root));
        match (buffer.offset, given.places[i]) {
            (Some(offset), _) => APART + offset as u64,
            (None, Some(offset)) => 2 * APART + offset as u64,
            (None, None) => 3 * APART + i as u64 * ALIGNMENT,
        }
    };
    Addresses { buffers: roots.iter().map(address).collect(), counters: 0, workspace: APART, turns: 0 }
}

/// The launches of all instructions. `addresses.workspace` is where the arena begins.
fn all_emitted(program: &Program, given: &Given, addresses: &Addresses) -> Result<Vec<Emitted>, ExecError> {
    let mut counted = 0;
    let mut addresses = addresses.clone();
    let begin = addresses.workspace;
    let mut all = Vec::with_capacity(program.instructions.len());
    for instruction in &program.instructions {
        let planned = match instruction {
            Instruction::Compute { kernel, workspace, .. } => {
                addresses.workspace = begin + workspace.unwrap_or(0) as u64;
                kernel.workspace
            }
            Instruction::View { .. } | Instruction::Store { .. } | Instruction::Free { .. } => 0,
        };
        let emitted =
            emit(program, instruction, &addresses, counted).map_err(|e| unsupported(program, instruction, e))?;
        if emitted.workspace > planned {
            let reason = format!("its kernels need {} bytes beside tensors, {planned} are planned", emitted.workspace);
            return Err(ExecError::new(place(program, instruction), reason));
        }
        counted += emitted.counted.len();
        all.push(emitted);
    }
    debug_assert!(24 * counted <= given.counters.len(), "there are counters for all that is counted");
    Ok(all)
}

fn unsupported(program: &Program, instruction: &Instruction, error: EmitError) -> ExecError {
    ExecError::new(place(program, instruction), format!("cannot run on CUDA devices: {error}"))
}

/// The operators of an instruction with the names of their results.
fn place(program: &Program, instruction: &Instruction) -> String {
    let in_words = |part: &Part| format!("{} `{}`", part.op.name(), program.buffer(part.output).name);
    match instruction {
        Instruction::Compute { parts, .. } => parts.iter().map(in_words).collect::<Vec<_>>().join(" and "),
        Instruction::Store { target, .. } => format!("store `{}`", program.buffer(*target).name),
        Instruction::View { output, .. } | Instruction::Free { buffer: output } => program.buffer(*output).name.clone(),
    }
}

/// The whole numbers that labels or indices may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IndexRange {
    /// The least one; of labels a negative one does not count, whatever it is.
    pub(super) least: f32,
    /// The one behind the largest.
    pub(super) below: usize,
}

/// What losses and slices by index can take of the buffers that they read labels and indices from.
fn ranges(program: &Program, roots: &[BufferId]) -> BTreeMap<usize, IndexRange> {
    let mut found: BTreeMap<usize, IndexRange> = BTreeMap::new();
    let parts = program.instructions.iter().filter_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => Some(parts),
        Instruction::View { .. } | Instruction::Store { .. } | Instruction::Free { .. } => None,
    });
    for part in parts.flatten() {
        let size = |of: BufferId, axis: usize| program.buffer(of).shape.get(axis).copied().unwrap_or(0);
        let (indices, range) = match (&part.op, part.inputs.as_slice()) {
            (Op::NllLoss(_), &[scores, labels, ..]) => {
                (labels, IndexRange { least: f32::NEG_INFINITY, below: size(scores, 1) })
            }
            (Op::Gather(op), &[table, indices]) => {
                let below = size(table, op.axis);
                (indices, IndexRange { least: -(below as f32), below })
            }
            _ => continue,
        };
        let all = found.entry(roots[indices.index()].index()).or_insert(range);
        *all = IndexRange { least: all.least.max(range.least), below: all.below.min(range.below) };
    }
    found
}
