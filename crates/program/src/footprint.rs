//! Bytes that running programs takes.

use crate::program::{Buffer, Instruction, Machine, Program, Source};

/// Bytes by who holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Masters, states and constants.
    pub kept: usize,
    /// The block in which everything lies that a step computes.
    pub arena: usize,
    /// Scratch memory of the threads' kernels; on a device what a step is given, and what it counts.
    pub scratch: usize,
}

impl Footprint {
    /// The prediction for a program with so many threads.
    pub fn predicted(program: &Program, threads: usize) -> Footprint {
        let kept = |b: &&Buffer| matches!(b.source, Source::Kept | Source::Constant);
        let kept = program.buffers.iter().filter(kept).map(Buffer::bytes);
        match program.machine {
            Machine::Cpu => Footprint { kept: kept.sum(), arena: program.arena, scratch: program.scratch() * threads },
            Machine::Cuda => Footprint {
                kept: kept.map(|bytes| program.aligned(bytes)).sum(),
                arena: program.arena,
                scratch: program.given().bytes,
            },
        }
    }

    /// All bytes together.
    pub fn total(&self) -> usize {
        self.kept + self.arena + self.scratch
    }

    /// All bytes but those that stay from step to step.
    pub fn without_kept(&self) -> usize {
        self.arena + self.scratch
    }
}

impl Program {
    /// Bytes of scratch memory that each thread takes: what the instruction needs that needs most.
    pub fn scratch(&self) -> usize {
        let needed = self.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Compute { kernel, .. } => Some(kernel.scratch),
            Instruction::View { .. } | Instruction::Store { .. } | Instruction::Free { .. } => None,
        });
        self.aligned(needed.max().unwrap_or(0))
    }
}
