//! The memory of a session.

use super::Session;
use crate::{Available, DeviceMemory, Error, Executor, Footprint, MemoryError, Program};

impl Session {
    /// Bytes that a training step takes on the CPU, as predicted.
    pub fn predicted(&self) -> Footprint {
        self.executor.predicted(&self.compiled.train)
    }

    /// The same for a run with its evaluations: one without rounding can need more than a training step.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn predicted_for_run(&mut self) -> Result<Footprint, Error> {
        self.exact()?;
        let exact = self.exact.as_ref().map_or_else(Footprint::default, |exact| self.executor.predicted(exact));
        let evaluate = self.executor.predicted(&self.compiled.evaluate);
        let all = [self.predicted(), evaluate, exact];
        Ok(largest(&all))
    }

    /// Bytes that are held for what ran so far; nothing before.
    pub fn allocated(&self) -> Footprint {
        let kept = self.kept.as_ref();
        kept.map_or_else(Footprint::default, |kept| self.executor.allocated(&kept.values))
    }

    /// Bytes that the device holds, if that is not this processor.
    pub fn on_device(&self) -> Option<DeviceMemory> {
        self.executor.on_device()
    }
}

/// Memory for several programs, which run one after the other.
fn largest(all: &[Footprint]) -> Footprint {
    let largest = |pick: fn(&Footprint) -> usize| all.iter().map(pick).max().unwrap_or(0);
    Footprint { kept: largest(|f| f.kept), arena: largest(|f| f.arena), scratch: largest(|f| f.scratch) }
}

/// Checks that there is memory for programs, which run one after the other on an executor's processor.
pub(super) fn check(executor: &Executor, programs: &[&Program]) -> Result<(), MemoryError> {
    if executor.on_device().is_some() {
        return Ok(());
    }
    let all: Vec<Footprint> = programs.iter().map(|program| executor.predicted(program)).collect();
    let needed = largest(&all).kept.saturating_add(all.iter().map(Footprint::without_kept).max().unwrap_or(0));
    let batch = programs.iter().map(|program| program.batch).max().unwrap_or(0);
    let advice = "take a smaller batch, or raise the limit (`ulimit -v`, or the container's)";
    Available::now().check(&format!("a step at batch {batch}"), needed, 0, advice)
}
