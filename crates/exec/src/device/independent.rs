//! Runs of instructions that do not depend on each other.

use bitbudget_program::{Buffer, BufferId, Instruction, Part, Program, Source};
use std::ops::Range;

/// At most so many instructions are looked at together.
const MOST: usize = 256;

/// Buffers without a place of their own in the arena, or in what a step is given, lie so far from each other.
const APART: u64 = 1 << 40;

/// The bytes that something reads and writes.
#[derive(Clone, Debug, Default)]
struct Reach {
    reads: Vec<Range<u64>>,
    writes: Vec<Range<u64>>,
}

/// Where each buffer lies, as if kept ones lay one after the other behind the arena; nothing for those without memory.
fn places(program: &Program) -> Vec<Option<Range<u64>>> {
    let place = |(i, buffer): (usize, &Buffer)| {
        let begin = match (buffer.offset, buffer.source) {
            (Some(offset), _) => offset as u64,
            (None, Source::None) => return None,
            (None, _) => (1 + i as u64) * APART,
        };
        Some(begin..begin + buffer.bytes() as u64)
    };
    let places: Vec<_> = program.buffers.iter().enumerate().map(place).collect();
    program.storages().iter().map(|id| places[id.index()].clone()).collect()
}

impl Reach {
    fn of(instruction: &Instruction, places: &[Option<Range<u64>>]) -> Reach {
        let bytes = |id: BufferId| places[id.index()].clone();
        match instruction {
            Instruction::Compute { parts, kernel, workspace } => {
                let inputs = parts.iter().flat_map(|part: &Part| part.inputs.iter().copied());
                let workspace = workspace.map(|begin| begin as u64..(begin + kernel.workspace) as u64);
                let outputs = parts.iter().filter_map(|part| bytes(part.output));
                Reach { reads: inputs.filter_map(bytes).collect(), writes: outputs.chain(workspace).collect() }
            }
            Instruction::Store { value, target } => {
                Reach { reads: bytes(*value).into_iter().collect(), writes: bytes(*target).into_iter().collect() }
            }
            Instruction::View { .. } | Instruction::Free { .. } => Reach::default(),
        }
    }

    /// Whether one of the two writes what the other one reads or writes.
    fn meets(&self, other: &Reach) -> bool {
        meet(&self.writes, &other.writes) || meet(&self.writes, &other.reads) || meet(&self.reads, &other.writes)
    }
}

fn meet(some: &[Range<u64>], others: &[Range<u64>]) -> bool {
    some.iter().any(|a| others.iter().any(|b| a.start < b.end && b.start < a.end))
}

/// The instructions of a program in runs: those of a run have no order among them, since none writes what another one reads or writes.
pub(super) fn independent(program: &Program) -> Vec<Range<usize>> {
    let places = places(program);
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut reached: Vec<Reach> = Vec::new();
    for (at, instruction) in program.instructions.iter().enumerate() {
        let reach = Reach::of(instruction, &places);
        match runs.last_mut() {
            Some(run) if run.len() < MOST && !reached.iter().any(|other| other.meets(&reach)) => run.end = at + 1,
            _ => {
                runs.push(at..at + 1);
                reached.clear();
            }
        }
        reached.push(reach);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget_formats::Format;
    use bitbudget_ir::{DType, Layout, ops};
    use bitbudget_program::{Family, Kernel, Machine, Role};

    /// How many instructions the runs have, for instructions that read and write these bytes, each `[read, written, workspace]`, of 256 bytes
    /// from there on.
    fn runs(instructions: &[[Option<usize>; 3]]) -> Vec<usize> {
        let mut buffers = Vec::new();
        let mut buffer = |offset: Option<usize>| {
            buffers.push(Buffer {
                name: String::new(),
                shape: vec![64],
                dtype: DType::F32,
                format: Format::FP32,
                packed: true,
                layout: Layout::ROWS,
                source: if offset.is_some() { Source::None } else { Source::Kept },
                offset,
            });
            BufferId(buffers.len() as u32 - 1)
        };
        let mut one = |&[read, written, workspace]: &[Option<usize>; 3]| {
            let (input, output) = (buffer(read), buffer(written));
            let part = Part { op: ops::Relu {}.into(), inputs: vec![input], output, rounding: None };
            let bytes = if workspace.is_some() { 256 } else { 0 };
            let kernel = Kernel { family: Family::Elementwise, roles: vec![Role::Head], workspace: bytes, scratch: 0 };
            Instruction::Compute { parts: vec![part], kernel, workspace }
        };
        let instructions = instructions.iter().map(&mut one).collect();
        let program = Program {
            machine: Machine::Cuda,
            batch: 1,
            arena: 0,
            alignment: 256,
            buffers,
            instructions,
            outputs: vec![],
        };
        independent(&program).iter().map(Range::len).collect()
    }

    #[test]
    fn what_writes_where_others_read_or_write_comes_in_another_run() {
        let [a, b, c, d] = [Some(0), Some(256), Some(512), Some(768)];
        // Each in its own place, and kept ones.
        assert_eq!(runs(&[[a, b, None], [a, c, None], [None, d, None], [None, None, None]]), [4]);
        // A result that is read, a place that is taken again, one that is written twice.
        assert_eq!(runs(&[[a, b, None], [b, c, None]]), [1, 1]);
        assert_eq!(runs(&[[a, b, None], [c, a, None]]), [1, 1]);
        assert_eq!(runs(&[[a, b, None], [c, b, None], [a, d, None]]), [1, 2]);
        // Workspaces are written, and parts of a place too.
        assert_eq!(runs(&[[a, b, c], [a, d, c]]), [1, 1]);
        assert_eq!(runs(&[[a, b, None], [a, Some(300), None]]), [1, 1]);
    }
}
