//! The outputs of a step, and the checks while it runs.

use bitbudget_formats::Counts;
use bitbudget_program::{BufferId, Instruction, Program};
use std::collections::BTreeMap;
use std::time::Duration;

/// The counts of elements of a tensor that overflowed or underflowed its format in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowCount {
    /// The tensor: a node of the training graph.
    pub tensor: u32,
    /// The counts.
    pub counts: Counts,
    /// The number of elements.
    pub elements: u64,
}

/// The outputs of one step.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The program's named results.
    pub outputs: BTreeMap<String, Vec<f32>>,
    /// One entry per rounded parameter and output, in order of execution.
    pub overflows: Vec<OverflowCount>,
}

/// Checks while a step runs.
pub(crate) enum Watch<'w> {
    Nothing,
    /// The numbers of every buffer, as soon as it is written.
    Numbers(&'w mut (dyn FnMut(BufferId, &[f32]) + Send)),
    /// The time that each instruction takes.
    Time(&'w mut [Duration]),
    /// Whether a result is finite; the step ends where it is not.
    Finite(BufferId),
}

impl Watch<'_> {
    pub(crate) fn took(&mut self, instruction: usize, time: Duration) {
        if let Watch::Time(times) = self
            && let Some(total) = times.get_mut(instruction)
        {
            *total += time;
        }
    }

    /// The result whose numbers end the step where they are not finite, if an instruction writes it.
    pub(crate) fn ends_with(&self, instruction: &Instruction) -> Option<BufferId> {
        match self {
            Watch::Finite(id) => Some(*id).filter(|id| written(instruction).contains(id)),
            Watch::Nothing | Watch::Numbers(_) | Watch::Time(_) => None,
        }
    }
}

/// The buffers that an instruction gives a value.
pub(crate) fn written(instruction: &Instruction) -> Vec<BufferId> {
    match instruction {
        Instruction::Compute { parts, .. } => parts.iter().map(|part| part.output).collect(),
        Instruction::View { output, .. } => vec![*output],
        Instruction::Store { .. } | Instruction::Free { .. } => Vec::new(),
    }
}

impl Step {
    /// A step that ended when one of its results was not finite.
    pub(crate) fn ended(program: &Program, id: BufferId, numbers: &[f32]) -> Step {
        let named = program.outputs.iter().filter(|(_, output)| *output == id);
        Step { outputs: named.map(|(name, _)| (name.clone(), numbers.to_vec())).collect(), ..Step::default() }
    }
}

/// Whether no number is infinite or NaN.
pub(crate) fn are_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|x| x.is_finite())
}
