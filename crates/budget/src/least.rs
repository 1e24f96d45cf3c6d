//! The least peak of all: what is found, and what is proven.

use crate::costs::Costs;
use crate::error::{BudgetError, Shortage};
use crate::outcome::Certificate;
use crate::program::Program;
use crate::search::{BINDING, Placed, Search};
use crate::setting::{Budget, Granularity};
use crate::step::Fp32Step;
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Role, Stored};
use bitbudget_precision::{Assignment, Method};
use bitbudget_solver::{Engine, Outcome, Settings, Smallest, Solution, smallest, solve};
use std::cmp::Ordering;
use std::iter;
use std::time::Instant;

/// How much is searched, the same for all budgets, so that what is said of one holds for the others.
const EFFORT: usize = 60;
const NEAR_EFFORT: usize = 10;
/// The same where only a bound is wanted.
const BOUND_EFFORT: usize = 1;
/// How much longer than the search for an assignment these searches may take together: by default so long that the clock ends them for
/// large networks only.
const LONGER: f64 = 4.0;
/// The part of that time after which the search for the least peak, and each try to come near what is proven, end, and the part that each
/// has at least.
const SMALLEST: f64 = 0.5;
const NEARER: f64 = 0.25;
const AT_LEAST: f64 = 0.02;
/// A search that ends within this part of its time finds the same on a machine that is four times as slow.
const SURELY: f64 = 0.25;
/// Above what is proven to be too little, solutions are sought with this much times the memory.
const MORE: [f64; 4] = [1.12, 1.2, 1.5, 2.2];

/// The memory of the program of the least peak: it does not depend on the budget, so that the search for each is the same.
fn reference(of: &Fp32Step) -> usize {
    of.peak.saturating_sub(of.beside)
}

impl Search<'_> {
    /// The cheapest of what fits among the assignment of the least peak that is found and those of other methods, with a cost that is
    /// proven to be at least zero only.
    ///
    /// If nothing fits, the error says what it takes, what is proven, and where the memory goes. `impossible` says that the
    /// program has no solution within the budget.
    pub(super) fn least(
        &self,
        costs: &Costs,
        budget: usize,
        part: f64,
        impossible: bool,
    ) -> Result<(Assignment, usize, Certificate), BudgetError> {
        let (step, others, time) = (&self.fp32.step, &self.fp32.others, Time { start: Instant::now(), part });
        let (mut weights, mut bound, mut spare) = (Vec::new(), usize::MAX, 0);
        let mut least: Option<Placed> = None;
        let mut surely = Vec::new();
        for of in iter::once(step).chain(others) {
            let (program, found, is_sure) = self.smallest_of(of, costs, EFFORT, time)?;
            spare = program.spare.max(spare);
            let proven = self.proven(of, &program, found.as_ref());
            if let Some(Smallest { picks, weights: of_steps, .. }) = found {
                if weights.is_empty() {
                    weights = of_steps;
                }
                let other = self.placed(program, picks)?;
                surely.extend(is_sure.then_some(other.peak));
                if least.as_ref().is_none_or(|least| other.peak < least.peak) {
                    least = Some(other);
                }
            }
            bound = bound.min(proven);
        }
        let proven = if impossible { self.possible_from(budget + 1, spare) } else { 0 };
        let bound = bound.max(proven);
        let smallest = least.as_ref().map_or(usize::MAX, |least| least.peak);
        if let Some((other, is_sure)) = self.nearer(costs, bound, smallest, time)?
            && other.peak < smallest
        {
            surely.extend(is_sure.then_some(other.peak));
            least = Some(other);
        }
        for narrower in self.narrower() {
            let search = Search { budget: &narrower, allowed: self.allowed.clone(), ..*self };
            for of in iter::once(step).chain(others) {
                let (program, found, is_sure) = search.smallest_of(of, costs, EFFORT, time)?;
                let other = found.map(|found| search.placed(program, found.picks)).transpose()?;
                surely.extend(other.as_ref().filter(|_| is_sure).map(|other| other.peak));
                least = other.into_iter().chain(least).min_by_key(|placed| placed.peak);
            }
        }
        let (mut all, other) = self.others(budget)?;
        let surely = surely.into_iter().chain(all.iter().map(|&(_, peak)| peak)).min();
        let fit = all.iter().filter(|(_, peak)| *peak <= budget);
        let certified = fit.map(|(assignment, peak)| {
            let cost = self.cost(assignment).unwrap_or(f64::INFINITY);
            (assignment.clone(), *peak, self.uncertain(cost, costs, assignment))
        });
        let mut fitting: Vec<(Assignment, usize, Certificate)> = certified.collect();
        if let Some(Placed { program, picks, assignment, peak }) = least {
            if peak <= budget {
                let items = program.problem.items.iter().zip(&picks);
                let cost: f64 = items.map(|(item, &pick)| item.options[pick as usize].cost).sum();
                let certificate = self.uncertain(cost + program.fixed_cost, costs, &assignment);
                let choices = self.priced(&program, &picks, &vec![0.0; program.problem.limits.len()]);
                fitting.push((assignment.clone(), peak, Certificate { choices, ..certificate }));
            }
            all.push((assignment, peak));
        }
        // Input and loss stay in FP32 if anything fits so.
        let order = |(assignment, _, certificate): &(Assignment, usize, Certificate)| {
            (assignment.method != Method::Ilp, certificate.cost)
        };
        let compare = |a: &_, b: &_| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal);
        if let Some(cheapest) = fitting.into_iter().min_by(compare) {
            return Ok(cheapest);
        }
        Err(self.refusal(budget, all, Found { surely, bound, dominated: step.largest(&weights, BINDING), other })?)
    }

    /// That none of some assignments with their peaks fits.
    fn refusal(&self, budget: usize, all: Vec<(Assignment, usize)>, found: Found) -> Result<BudgetError, BudgetError> {
        let (step, Found { surely, bound, dominated, other }) = (&self.fp32.step, found);
        let smallest = all.into_iter().min_by_key(|&(_, peak)| peak);
        let least = smallest.as_ref().map_or(usize::MAX, |&(_, peak)| peak);
        let kernels = smallest.as_ref().map(|(assignment, _)| self.network.taken(assignment)).transpose()?;
        let kernels = kernels.map(|taken| taken.kernels);
        let shortage = Box::new(Shortage {
            budget,
            fp32: self.fp32.base,
            // The order of the smallest one's steps can be another one.
            bound: if least < bound { step.beside_least } else { bound },
            kept: step.kept,
            kernels: kernels.unwrap_or_default(),
            threads: self.budget.threads,
            smallest: smallest.map(|(_, peak)| peak),
            surely,
            dominated,
            recompute: self.budget.recompute,
            other,
        });
        let is_proven = shortage.bound > budget;
        Ok(if is_proven { BudgetError::Infeasible(shortage) } else { BudgetError::Unknown(shortage) })
    }

    /// Searches some of whose choices this one has too. They may lead to steps in another order, which may need less.
    fn narrower(&self) -> Vec<Budget> {
        let (mut all, budget) = (Vec::new(), self.budget);
        if budget.granularity == Granularity::Tensor {
            all.push(Budget { granularity: Granularity::Group, ..budget.clone() });
            if budget.recompute {
                all.push(Budget { recompute: false, ..budget.clone() });
            }
        }
        all
    }

    /// Bytes that no choice undercuts in the order of steps in which FP32 is computed, by a short search.
    ///
    /// # Errors
    /// If the profile lacks formats.
    pub(super) fn bound(&self) -> Result<usize, BudgetError> {
        let costs = self.costs()?;
        let (mut bound, time) = (usize::MAX, Time { start: Instant::now(), part: 1.0 });
        for of in iter::once(&self.fp32.step).chain(&self.fp32.others) {
            let (program, found, _) = self.smallest_of(of, &costs, BOUND_EFFORT, time)?;
            bound = bound.min(self.proven(of, &program, found.as_ref()));
        }
        Ok(bound)
    }

    /// The bound on a form that its program's solution proves.
    fn proven(&self, of: &Fp32Step, program: &Program, found: Option<&Smallest>) -> usize {
        // What is computed in passing takes scratch memory; one form alone stands for programs that store it too.
        let beside = if self.fp32.others.is_empty() { of.beside_least } else { of.beside_least_in_form };
        let arena = |bound: i64| (reference(of) as i64).saturating_add(bound).max(0) as usize;
        beside + found.map_or(0, |found| arena(found.bound).saturating_sub(program.spare))
    }

    /// The program of a form, its solution of the least memory, and whether that is found again on a busier machine.
    fn smallest_of(
        &self,
        of: &Fp32Step,
        costs: &Costs,
        effort: usize,
        time: Time,
    ) -> Result<(Program, Option<Smallest>, bool), BudgetError> {
        let program = self.optimistic(of, costs, reference(of));
        // Everything in its first format and kept is a choice, if a large one.
        let start = Some(vec![0; program.problem.items.len()]);
        let settings = Settings { start, ..self.counted(effort, SMALLEST, time) };
        let start = Instant::now();
        let found = smallest(&program.problem, program.memory_rows(), &settings)?;
        Ok((program, found, is_sure(start, &settings)))
    }

    /// The statement about an assignment without a proof.
    fn uncertain(&self, cost: f64, costs: &Costs, assignment: &Assignment) -> Certificate {
        Certificate {
            name: self.budget.engine.name().to_string(),
            profile: self.budget.measured.as_ref().map(|measured| measured.name.clone()),
            seconds: 0.0,
            cost,
            bound: 0.0,
            price: 0.0,
            binds: Vec::new(),
            slowdown: costs.again(&assignment.recomputed).1,
            choices: vec![Vec::new(); self.network.tensors.len()],
        }
    }

    /// From how many bytes on there may be an assignment, where the program has no solution below `bytes`: it counts the workspace of
    /// the formats that need most, and input and loss in FP32.
    fn possible_from(&self, bytes: usize, spare: usize) -> usize {
        let (step, tensors) = (&self.fp32.step, self.network.tensors);
        if !self.fp32.others.is_empty() {
            return 0;
        }
        let spread = |at: usize| {
            let elements = tensors[at].elements as usize;
            let bytes = |format| Stored::of(Role::Internal, format).bytes(DType::F32, elements);
            let narrowest = self.given(at).iter().map(|&format| bytes(format)).min().unwrap_or(0);
            bytes(Format::FP32).saturating_sub(narrowest) + step.alignment
        };
        let exact: usize = (0..tensors.len()).filter(|&at| self.is_exact(at)).map(spread).sum();
        bytes.saturating_sub(step.beside - step.beside_least).saturating_sub(step.workspace_spread() + spare + exact)
    }

    /// A solution with a little more memory than `bound`, if one is found below `smallest`, and whether it is found again on a busier machine.
    fn nearer(
        &self,
        costs: &Costs,
        bound: usize,
        smallest: usize,
        time: Time,
    ) -> Result<Option<(Placed, bool)>, BudgetError> {
        let start = Instant::now();
        let tried = MORE.map(|more| (bound as f64 * more) as usize);
        for bytes in tried.into_iter().take_while(|&bytes| bytes < smallest) {
            let program = self.program(costs, bytes.saturating_sub(self.fp32.step.beside));
            let settings = Settings { gap: 0.5, ..self.counted(NEAR_EFFORT, NEARER, time) };
            let outcome = solve(&program.problem, self.budget.engine, &settings)?;
            if let Outcome::Solved(Solution { picks, .. }) = outcome {
                return Ok(Some((self.placed(program, picks)?, is_sure(start, &settings))));
            }
        }
        Ok(None)
    }

    /// A counted search that ends after a share of the time, or when all of it is over.
    fn counted(&self, effort: usize, share: f64, time: Time) -> Settings {
        let whole = time.part * LONGER * self.budget.seconds;
        let left = whole - time.start.elapsed().as_secs_f64();
        let seconds =
            if self.budget.effort.is_some() { f64::INFINITY } else { left.clamp(AT_LEAST * whole, share * whole) };
        let effort = Some(effort).filter(|_| self.budget.engine == Engine::Embedded);
        Settings { seconds, effort, ..Settings::default() }
    }
}

/// Whether a search ended long before its time.
fn is_sure(start: Instant, settings: &Settings) -> bool {
    start.elapsed().as_secs_f64() <= SURELY * settings.seconds
}

/// What searches found beside assignments.
struct Found {
    surely: Option<usize>,
    bound: usize,
    dominated: Vec<String>,
    /// A method that fits with formats that the budget does not allow.
    other: Option<Method>,
}

/// The time of several searches together.
#[derive(Clone, Copy)]
struct Time {
    start: Instant,
    /// The part of the budget's seconds that they have.
    part: f64,
}
