//! The memory of what a step is given on a device.

use crate::program::{Instruction, Program, Source};
use std::ops::Range;

/// Bytes of the counters of one tensor's overflows: three words of 64 bits.
const COUNTERS: usize = 24;

/// Bytes of the words by which the blocks of a kernel take turns. They are zero when a step begins, and each kernel leaves them so.
pub const TURNS: usize = 16 << 10;

/// One block of a device's memory: what a step is given, and behind it what is zero when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where inputs and numbers of the training loop begin, by buffer.
    pub places: Vec<Option<usize>>,
    /// Where the counters of overflows lie, behind all of them.
    pub counters: Range<usize>,
    /// Where the turns of blocks lie, right behind the counters.
    pub turns: Range<usize>,
    /// All bytes.
    pub bytes: usize,
}

impl Program {
    /// The memory that a step on a device takes for what it is given.
    pub fn given(&self) -> Given {
        let mut end = 0;
        let mut place = |bytes: usize| {
            let at = end;
            end += self.aligned(bytes);
            at
        };
        let is_given = |source| matches!(source, Source::Input | Source::Scalar(_));
        let places = self.buffers.iter().map(|b| is_given(b.source).then(|| place(b.bytes()))).collect();
        let counted = self.instructions.iter().map(|instruction| match instruction {
            Instruction::Compute { parts, .. } => {
                parts.iter().filter(|part| part.rounding.is_some_and(|rounding| rounding.counted.is_some())).count()
            }
            Instruction::View { .. } | Instruction::Store { .. } | Instruction::Free { .. } => 0,
        });
        let counters = COUNTERS * counted.sum::<usize>();
        let begin = place(counters + TURNS);
        let turns = begin + counters..begin + counters + TURNS;
        Given { places, counters: begin..turns.start, turns, bytes: end }
    }
}
