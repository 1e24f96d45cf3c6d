//! The least peak of all: what is found, and what is proven.

use super::search::{BINDING, Placed, Search};
use super::{BudgetError, Certificate, Costs, Engine, Shortage};
use crate::CompileError;
use bitbudget_precision::Assignment;
use bitbudget_solver::{Outcome, Settings, Smallest, Solution, smallest, solve};

/// How much is searched, the same for all budgets, so that what is said of one holds for the others.
const EFFORT: usize = 60;
const NEAR_EFFORT: usize = 10;
/// Seconds of which a part is given to these searches at least, so that the clock ends them for large networks only.
const SECONDS: f64 = 40.0;
/// The part of the seconds after which the search for the least peak, and each try to come near what is proven, end nevertheless.
const SMALLEST: f64 = 0.5;
const NEARER: f64 = 0.25;
/// Above what is proven to be too little, solutions are sought with this much times the memory.
const MORE: [f64; 4] = [1.12, 1.2, 1.5, 2.2];

impl Search<'_> {
    /// The assignment of the least peak if that fits, with a cost that is proven to be at least zero only.
    ///
    /// If it does not fit, the error says what it takes, what is proven, and where the memory goes. `impossible` says that the
    /// program has no solution within the budget.
    pub(super) fn least(
        &self,
        costs: &Costs,
        budget: usize,
        part: f64,
        impossible: bool,
    ) -> Result<(Assignment, usize, Certificate), CompileError> {
        // Limits that do not depend on the budget, so that the search for each is the same.
        let reference = self.frame.fp32.saturating_sub(self.frame.beside);
        let program = self.optimistic(costs, reference);
        // Everything in its first format and kept is a choice, if a large one.
        let start = Some(vec![0; program.problem.items.len()]);
        let settings = Settings { start, ..self.counted(EFFORT, SMALLEST * part) };
        let found = smallest(&program.problem, program.memory_rows(), &settings).map_err(BudgetError::from)?;
        let lowest = |excess: i64| {
            let arena = (reference as i64).saturating_add(excess).max(0) as usize;
            self.frame.beside_least + arena.saturating_sub(program.spare)
        };
        let proven = if impossible { self.possible_from(budget + 1, program.spare) } else { 0 };
        let kept = self.frame.kept;
        let (weights, bound) = match &found {
            Some(found) => (found.weights.clone(), lowest(found.bound).max(kept)),
            None => (vec![0.0; program.problem.limits.len()], kept),
        };
        let mut least: Option<Placed> = None;
        if let Some(Smallest { picks, .. }) = found {
            least = Some(self.placed(program, picks)?);
        }
        if let Some(other) = self.nearer(costs, bound, least.as_ref().map_or(usize::MAX, |least| least.peak), part)?
            && least.as_ref().is_none_or(|least| other.peak < least.peak)
        {
            least = Some(other);
        }
        if let Some(Placed { program, picks, assignment, peak }) = least.take_if(|least| least.peak <= budget) {
            let items = program.problem.items.iter().zip(&picks);
            let cost: f64 = items.map(|(item, &pick)| item.options[pick as usize].cost).sum();
            let prices = vec![0.0; program.problem.limits.len()];
            let engine = self.budget.engine.name();
            let solution = Solution { picks, cost, bound: 0.0, prices, engine, seconds: 0.0 };
            let certificate = self.certificate(&program, &solution, costs, &assignment);
            return Ok((assignment, peak, certificate));
        }
        let smallest = least.map(|least| least.peak);
        let bound = bound.max(proven).min(smallest.unwrap_or(usize::MAX));
        let shortage = Box::new(Shortage {
            budget,
            fp32: self.frame.fp32,
            smallest,
            bound,
            kept,
            dominated: self.frame.largest(self.training, &weights, BINDING),
            recompute: self.budget.recompute,
        });
        Err(if bound > budget { BudgetError::Infeasible(shortage) } else { BudgetError::Unknown(shortage) }.into())
    }

    /// From how many bytes on there may be an assignment, where the program has no solution below `bytes`: it counts the workspace of
    /// the formats that need most.
    fn possible_from(&self, bytes: usize, spare: usize) -> usize {
        let Self { frame, .. } = self;
        bytes.saturating_sub(frame.beside - frame.beside_least).saturating_sub(frame.workspace_spread() + spare)
    }

    /// A solution with a little more memory than `bound`, if one is found below `smallest`.
    fn nearer(&self, costs: &Costs, bound: usize, smallest: usize, part: f64) -> Result<Option<Placed>, CompileError> {
        let tried = MORE.map(|more| (bound as f64 * more) as usize);
        for bytes in tried.into_iter().take_while(|&bytes| bytes < smallest) {
            let program = self.program(costs, bytes.saturating_sub(self.frame.beside));
            let settings = Settings { gap: 0.5, ..self.counted(NEAR_EFFORT, NEARER * part) };
            let outcome = solve(&program.problem, self.budget.engine, &settings).map_err(BudgetError::from)?;
            if let Outcome::Solved(Solution { picks, .. }) = outcome {
                return self.placed(program, picks).map(Some);
            }
        }
        Ok(None)
    }

    /// A counted search; one of seconds ends then too.
    fn counted(&self, effort: usize, part: f64) -> Settings {
        let seconds =
            if self.budget.effort.is_some() { f64::INFINITY } else { part * self.budget.seconds.max(SECONDS) };
        let effort = Some(effort).filter(|_| self.budget.engine == Engine::Embedded);
        Settings { seconds, effort, ..Settings::default() }
    }
}
