//! Whether there is memory for programs.

use crate::{Available, Executor, Footprint, Machine, MemoryError, Program};

/// Memory for several programs, which run one after the other.
pub(super) fn largest(all: &[Footprint]) -> Footprint {
    let largest = |pick: fn(&Footprint) -> usize| all.iter().map(pick).max().unwrap_or(0);
    Footprint { kept: largest(|f| f.kept), arena: largest(|f| f.arena), scratch: largest(|f| f.scratch) }
}

/// Checks that there is memory for programs, which run one after the other on an executor's processor. A device says so itself.
pub(super) fn check(executor: &Executor, programs: &[&Program]) -> Result<(), MemoryError> {
    if executor.machine() == Machine::Cuda {
        return Ok(());
    }
    let all: Vec<Footprint> = programs.iter().map(|program| executor.predicted(program)).collect();
    let needed = largest(&all).kept.saturating_add(all.iter().map(Footprint::without_kept).max().unwrap_or(0));
    let batch = programs.iter().map(|program| program.batch).max().unwrap_or(0);
    let advice = "take a smaller batch, or raise the limit (`ulimit -v`, or the container's)";
    Available::now().check(&format!("a step at batch {batch}"), needed, 0, advice)
}
