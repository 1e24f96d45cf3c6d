//! A program that is ready to run on a device.

use super::kept::Kept;
use super::memory::{Begin, Engine};
use crate::error::ExecError;
use bitbudget_cuda::{Addresses, EmitError, Emitted, Kernel, Launch, Recording, emit};
use bitbudget_ir::Op;
use bitbudget_program::{BufferId, Given, Instruction, Part, Program, Source};
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
        let (given, roots) = (program.given(), roots(program));
        let emitted = all_emitted(program, &given, &anywhere(program, &given, &roots))?;
        let mut kernels: BTreeMap<&str, &Kernel> = BTreeMap::new();
        for launch in emitted.iter().flat_map(|emitted| &emitted.launches) {
            if let Launch::Kernel { kernel, .. } = launch {
                kernels.insert(&kernel.name, kernel);
            }
        }
        let kernels: Vec<&Kernel> = kernels.into_values().collect();
        engine.driver().compile(&kernels).map_err(|e| ExecError::new(engine.driver().name(), e))?;
        engine.reserve(program.arena, given.bytes)?;
        let ranges = ranges(program, &roots);
        Ok(Bound { given, roots, ranges, binding: Mutex::new(None) })
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
        let of_program = Addresses { buffers: addresses.clone(), counters, workspace: begin.arena };
        let emitted = all_emitted(program, given, &of_program)?;
        let counted = emitted.iter().flat_map(|emitted| emitted.counted.iter().copied()).collect();
        let mut launches: Vec<Vec<Launch>> = emitted.into_iter().map(|emitted| emitted.launches).collect();
        if let Some(first) = launches.first_mut().filter(|_| !given.counters.is_empty()) {
            first.insert(0, Launch::Zero { address: counters, bytes: given.counters.len() });
        }
        Ok(Binding { addresses, counters, counted, launches, recordings: BTreeMap::new() })
    }

    /// Asks the device for a range of instructions, which is recorded the first time.
    pub(super) fn replay(&mut self, engine: &Engine, range: Range<usize>) -> Result<(), ExecError> {
        let fault = |e| ExecError::new("a step", e);
        let launches: Vec<&Launch> = self.launches[range.clone()].iter().flatten().collect();
        if launches.is_empty() {
            return Ok(());
        }
        let recordings = &mut self.recordings;
        let recording = match recordings.entry((range.start, range.end)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(engine.driver().record(&launches).map_err(fault)?)
            }
        };
        recording.replay().map_err(fault)
    }
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
    Addresses { buffers: roots.iter().map(address).collect(), counters: 0, workspace: APART }
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

/// The buffer whose memory each one shows.
fn roots(program: &Program) -> Vec<BufferId> {
    let mut roots: Vec<BufferId> = (0..program.buffers.len()).map(|i| BufferId(i as u32)).collect();
    for instruction in &program.instructions {
        if let Instruction::View { input, output } = instruction {
            roots[output.index()] = roots[input.index()];
        }
    }
    roots
}
