//! The machine of a run and its threads, for which a budget holds: each thread has scratch memory.

use crate::fp32::{base, bytes};
use crate::{Budget, BudgetError, CompileError, Compiled, Lowering, Solved};
use bitbudget_ir::Graph;
use bitbudget_precision::Assignment;
use bitbudget_program::Machine;

impl Compiled {
    /// The most threads, up to `most`, with which a training step stays within the budget on a kind of machine, and 1 where none do;
    /// `most` without a budget.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn threads_within_budget(&self, machine: Machine, most: usize) -> Result<usize, CompileError> {
        let Some(limit) = self.limit() else { return Ok(most) };
        let fits = |threads| Ok(self.peak_with(machine, threads)? <= limit);
        Ok(most_that_fit(most, fits)?.unwrap_or(1))
    }

    /// Lowers again for a run on a kind of machine with so many threads, which change no bits.
    ///
    /// # Errors
    /// If a training step does not stay within the budget then, or the graph cannot be lowered.
    pub fn lower_for(&mut self, machine: Machine, threads: usize) -> Result<(), CompileError> {
        let is_other = machine != self.lowering.machine;
        if !is_other && threads == self.lowering.threads {
            return Ok(());
        }
        let step = self.peak_with(machine, threads)?;
        if let Some(limit) = self.limit().filter(|&limit| step > limit) {
            if is_other {
                let machine = machine.to_string();
                return Err(BudgetError::Machine { machine, peak: step, budget: limit }.into());
            }
            let fits = most_that_fit(threads, |threads| Ok(self.peak_with(machine, threads)? <= limit))?;
            return Err(BudgetError::Threads { threads, peak: step, budget: limit, fits }.into());
        }
        (self.lowering.threads, self.lowering.machine) = (threads, machine);
        if let Some(budget) = &mut self.budget {
            budget.threads = threads;
        }
        self.assign(self.assignment.clone())?;
        if let Some(solved) = &mut self.solved {
            solved.peak = step;
        }
        Ok(())
    }

    /// The most bytes of a step: the budget, or more where promotions exceeded it.
    fn limit(&self) -> Option<usize> {
        self.solved.as_ref().map(|solved| solved.budget.max(solved.peak))
    }

    fn peak_with(&self, machine: Machine, threads: usize) -> Result<usize, CompileError> {
        bytes(&self.training, &self.assignment, Lowering { machine, threads, ..self.lowering })
    }
}

/// The result of checking a given assignment against a budget.
///
/// # Errors
/// If it does not fit.
pub(crate) fn check(
    training: &Graph,
    assignment: &Assignment,
    lowering: Lowering,
    budget: &Budget,
) -> Result<Solved, CompileError> {
    let fp32 = base(training, assignment.batch, lowering)?;
    let (peak, limit) = (bytes(training, assignment, lowering)?, budget.bytes(fp32));
    if peak <= limit {
        let (solver, demote, demote_allowed, instead) = (None, None, false, None);
        return Ok(Solved { budget: limit, fp32, peak, solver, demote, demote_allowed, instead });
    }
    let threads = budget.threads;
    let fits = |threads| {
        let lowering = Lowering { threads, ..lowering };
        let limit = budget.bytes(base(training, assignment.batch, lowering)?);
        Ok(bytes(training, assignment, lowering)? <= limit)
    };
    let fits = most_that_fit(threads.saturating_sub(1), fits)?;
    Err(BudgetError::Exceeded { peak, budget: limit, fp32, threads, fits }.into())
}

/// The most threads from 1 to `most` that fit, where fewer fit if more do.
fn most_that_fit(
    most: usize,
    mut fits: impl FnMut(usize) -> Result<bool, CompileError>,
) -> Result<Option<usize>, CompileError> {
    let (mut found, mut least, mut most, mut next) = (None, 1, most, most);
    while least <= most {
        match fits(next)? {
            true => (found, least) = (Some(next), next + 1),
            false => most = next - 1,
        }
        next = least.midpoint(most + 1);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_threads_that_fit_are_found_in_few_tries() {
        for most in 1..40 {
            for right in 0..=most {
                let mut tries = 0;
                let found = most_that_fit(most, |threads| {
                    tries += 1;
                    Ok(threads <= right)
                });
                assert_eq!(found.unwrap(), (right > 0).then_some(right), "of {most}");
                assert!(tries <= 7, "{tries} tries for {right} of {most}");
            }
        }
    }
}
