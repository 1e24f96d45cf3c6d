//! The search for the assignment of the least cost that fits.

use super::costs::{Harm, costs};
use super::frame::Frame;
use super::{Budget, BudgetError, Certificate, Engine, Overflowed};
use crate::lowered::{Lowered, program};
use crate::{CompileError, Lowering};
use bitbudget_exec::Footprint;
use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::budget::{Allowed, Choices, Costs, Program, program as integer_program, repeats, stays_exact};
use bitbudget_precision::{Assignment, Formats, Kind, Method, Pinned, Tensor, tensors};
use bitbudget_solver::{Outcome, Settings, Smallest, Solution, Solver, smallest, solve};
use std::time::Instant;

/// How often the integer program is solved at most.
const ROUNDS: usize = 12;
/// The same where effort is counted, since each round has all of it.
const COUNTED_ROUNDS: usize = 4;
/// The part of the seconds that the embedded engine's first round may take beyond a tight bound; it is there for what is easy.
const QUICK: f64 = 0.1;
/// The part of the seconds left that a later round may take, the part of all of them that it gets at least, and the part that
/// is too little for another one as long as there is an assignment.
const SHARE: f64 = 0.35;
const LEAST: f64 = 0.08;
const LATE: f64 = 0.1;
/// The part of the seconds for the least peak, if no round finds anything, and for each try to come near what is proved.
const SMALLEST: f64 = 0.5;
const NEARER: f64 = 0.15;
/// Behind every round that missed the budget at least this part of it more is kept free for gaps between tensors, one of so many.
const STEP: usize = 1000;
/// A certified gap that ends a round, and one that ends the search.
const GAP: f64 = 0.005;
const ENOUGH: f64 = 0.01;
/// Above what is proved to be too little, solutions are sought with this much times the memory.
const MORE: [f64; 3] = [1.2, 1.5, 2.2];
/// How many of the steps at which the budget binds are named.
const BINDING: usize = 3;
/// The share of a tensor that overflows from which training promotes it, so that a format is not worth trying.
const OVERFLOW: f64 = 0.01;

/// The memory that solutions may take, from round to round.
struct Room {
    memory: usize,
    /// All that there is.
    all: usize,
    /// What was not enough for any solution, and what led to a peak above the budget.
    small: usize,
    large: usize,
    misses: usize,
}

impl Room {
    fn new(all: usize) -> Room {
        Room { memory: all, all, small: 0, large: all.saturating_add(1), misses: 0 }
    }

    /// No solution was found; returns whether there is more memory to try.
    fn is_too_small(&mut self) -> bool {
        self.small = self.memory;
        self.memory = if self.large > self.all { self.all } else { self.small.midpoint(self.large) };
        self.memory > self.small
    }

    /// The solution has this peak under a budget of so many bytes.
    fn led_to(&mut self, peak: usize, budget: usize) {
        if peak <= budget {
            self.misses = 0;
            // Other solutions may have smaller gaps.
            let half = self.memory.midpoint(self.large);
            let more = self.memory + (budget - peak);
            self.memory = if self.large > self.all && more < self.large { more } else { half };
            return;
        }
        // Misses in a row take more and more away: gaps between tensors change with every solution.
        self.large = self.memory;
        let missed = (peak - budget).max(budget / STEP);
        let less = self.memory.saturating_sub(missed * (2 + self.misses) / 2);
        self.memory = if less > self.small { less } else { self.small.midpoint(self.large) };
        self.misses += 1;
    }
}

/// A choice with the assignment that it stands for, and its true peak in bytes.
pub(super) struct Placed {
    program: Program,
    picks: Vec<u32>,
    pub(super) assignment: Assignment,
    pub(super) peak: usize,
}

/// What the search asks again and again.
pub(crate) struct Search<'a> {
    pub(super) training: &'a Graph,
    pub(super) batch: usize,
    pub(super) formats: Formats,
    pub(super) pinned: &'a Pinned,
    lowering: Lowering,
    budget: &'a Budget,
    pub(super) tensors: Vec<Tensor>,
    pub(super) allowed: Vec<Vec<Format>>,
    pub(super) frame: Frame,
}

impl<'a> Search<'a> {
    /// The search for a training graph's tensors, some of which overflowed or are pinned.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub(crate) fn new(
        training: &'a Graph,
        batch: usize,
        lowering: Lowering,
        budget: &'a Budget,
        formats: Formats,
        overflowed: &Overflowed,
        pinned: &'a Pinned,
    ) -> Result<Search<'a>, CompileError> {
        let tensors = tensors(training, batch);
        let allowed = allowed(training, &tensors, budget, overflowed, pinned);
        let frame = Frame::new(training, batch, lowering, budget)?;
        Ok(Search { training, batch, formats, pinned, lowering, budget, tensors, allowed, frame })
    }

    /// The peak in bytes of an assignment's training step.
    ///
    /// # Errors
    /// If it cannot be lowered.
    pub(crate) fn peak(&self, assignment: &Assignment) -> Result<usize, CompileError> {
        peak(self.training, assignment, self.lowering, self.budget)
    }

    /// What an assignment's formats cost in the integer program's measure, if that knows them.
    pub(crate) fn cost(&self, assignment: &Assignment) -> Option<f64> {
        let harm = Harm::new(&self.tensors, &self.allowed, self.budget.profile());
        let chosen = &assignment.chosen;
        let repeats = repeats(&self.frame.skeleton(self.training), &self.tensors, &self.all_allowed());
        let is_repeated = |at: usize| repeats[at].is_some_and(|other| chosen[other] == chosen[at]);
        let of = assignment.tensors.iter().zip(chosen).enumerate().map(|(at, (tensor, &format))| match format {
            Format::FP32 => Some(0.0),
            _ if is_repeated(at) => Some(0.0),
            format if stays_exact(self.training, tensor) => harm.of(tensor, format).or(Some(0.0)),
            format => harm.of(tensor, format),
        });
        let sum: Option<f64> = of.sum();
        let costs = costs(self.training, self.batch, self.budget, &self.tensors, &self.allowed).ok()?;
        Some(sum? * costs.scale())
    }

    /// The best assignment that fits, by the integer program, with its peak.
    ///
    /// The search takes a `part` of the budget's seconds or effort.
    ///
    /// The program knows sizes and lifetimes, but not where tensors come to lie. A short first round takes all memory, which is
    /// enough for easy programs. Where that does not fit, later solutions leave some free, and the program is solved again with
    /// more or less of that until the true peak is just below the budget. The bound is that of the program with all memory, so
    /// the gap counts what gaps between tensors cost too.
    ///
    /// # Errors
    /// If nothing fits, or the profile lacks formats.
    pub(crate) fn solved(&self, bytes: usize, part: f64) -> Result<(Assignment, usize, Certificate), CompileError> {
        let start = Instant::now();
        let seconds = if self.budget.effort(part).is_some() { f64::INFINITY } else { part * self.budget.seconds };
        let costs = costs(self.training, self.batch, self.budget, &self.tensors, &self.allowed)?;
        let all = bytes.saturating_sub(self.frame.beside);
        let engine = self.budget.engine;
        let mut room = Room::new(all);
        let mut best: Option<(Assignment, usize, Certificate)> = None;
        let mut picks = None;
        let mut bound = f64::NEG_INFINITY;
        let whole = self.program(&costs, all);
        let mut solver =
            Solver::new(&whole.problem, engine, whole.memory_rows(), seconds).map_err(BudgetError::from)?;
        let rounds = if self.budget.effort(part).is_some() { COUNTED_ROUNDS } else { ROUNDS };
        for round in 0..rounds {
            let left = seconds - start.elapsed().as_secs_f64();
            if best.is_some() && left < LATE * seconds {
                break;
            }
            let is_embedded = engine == Engine::Embedded;
            let is_quick = round == 0 && is_embedded;
            // HiGHS can leave nothing free, so its first round is there for the bound, and later ones have less memory.
            let less = (!is_embedded && room.memory < all).then(|| self.program(&costs, room.memory));
            // Nothing at all would be worse than a late answer.
            let share = if is_quick { QUICK * seconds } else { (SHARE * left).max(LEAST * seconds) };
            let effort = self.budget.effort(if is_quick { part * QUICK } else { part });
            let settings = Settings { seconds: share, effort, gap: GAP, start: picks.clone() };
            let outcome = match &less {
                Some(less) => solve(&less.problem, engine, &settings),
                None => solver.solve(&settings, (all - room.memory) as i64),
            };
            let outcome = outcome.map_err(BudgetError::from)?;
            if less.is_none() {
                bound = match &outcome {
                    Outcome::Solved(solution) => solution.bound.max(bound),
                    Outcome::Unknown { bound: other } => other.max(bound),
                    Outcome::Infeasible => break,
                };
            }
            let program = less.as_ref().unwrap_or(&whole);
            let Outcome::Solved(solution) = outcome else {
                if is_quick || room.is_too_small() {
                    continue;
                }
                break;
            };
            let assignment = self.assignment(program.choices(&solution.picks))?;
            let peak = self.peak(&assignment)?;
            let certificate = self.certificate(program, &Solution { bound, ..solution.clone() }, &costs, &assignment);
            let better = best.as_ref().is_none_or(|(_, _, found)| certificate.cost < found.cost);
            if peak <= bytes && better {
                best = Some((assignment, peak, certificate));
            }
            room.led_to(peak, bytes);
            picks = Some(solution.picks);
            if best.as_ref().is_some_and(|(_, _, found)| found.gap() <= ENOUGH) {
                break;
            }
        }
        let (assignment, peak, certificate) = match best {
            Some(best) => best,
            None => self.least(&costs, bytes, part)?,
        };
        let bound = certificate.bound.max(bound + whole.fixed_cost).min(certificate.cost);
        Ok((assignment, peak, Certificate { seconds: start.elapsed().as_secs_f64(), bound, ..certificate }))
    }

    /// How long to search, where a part of all time or effort is wanted.
    fn settings(&self, part: f64, gap: f64) -> Settings {
        let effort = self.budget.effort(part);
        let seconds = if effort.is_some() { f64::INFINITY } else { part * self.budget.seconds };
        Settings { seconds, effort, gap, start: None }
    }

    pub(super) fn program(&self, costs: &Costs, memory: usize) -> Program {
        let (skeleton, allowed) = (self.frame.skeleton(self.training), self.all_allowed());
        integer_program(&skeleton, &self.tensors, self.batch, &allowed, costs, memory)
    }

    fn all_allowed(&self) -> Allowed {
        let Budget { recompute, granularity, .. } = *self.budget;
        Allowed { formats: self.allowed.clone(), recompute, granularity }
    }

    fn certificate(
        &self,
        program: &Program,
        solution: &Solution,
        costs: &Costs,
        assignment: &Assignment,
    ) -> Certificate {
        let rows = program.memory_rows();
        let prices = &solution.prices[rows.start as usize..rows.end as usize];
        Certificate {
            name: solution.engine.to_string(),
            profile: self.budget.measured.as_ref().map(|measured| measured.name.clone()),
            seconds: 0.0,
            cost: solution.cost + program.fixed_cost,
            bound: solution.bound + program.fixed_cost,
            price: prices.iter().sum(),
            binds: self.frame.largest(self.training, prices, BINDING),
            slowdown: costs.again(&assignment.recomputed).1,
            choices: (0..self.tensors.len())
                .map(|tensor| program.priced(tensor, &solution.picks, &solution.prices))
                .collect(),
        }
    }

    /// The assignment of the least peak if that fits, with a cost that is proved to be at least zero only.
    ///
    /// If it does not fit, the error says what it takes, what is proved, and where the memory goes.
    fn least(&self, costs: &Costs, budget: usize, part: f64) -> Result<(Assignment, usize, Certificate), CompileError> {
        let program = self.program(costs, budget.saturating_sub(self.frame.beside));
        // Everything in its first format and kept is a choice, if a large one.
        let start = Some(vec![0; program.problem.items.len()]);
        let settings = Settings { start, ..self.settings(SMALLEST * part, GAP) };
        let found = smallest(&program.problem, program.memory_rows(), &settings).map_err(BudgetError::from)?;
        let unknown = |smallest| BudgetError::Unknown { budget, seconds: self.budget.seconds, smallest };
        let Some(Smallest { excess, bound, picks, weights }) = found else {
            return Err(unknown(usize::MAX).into());
        };
        let above = |excess: i64| (budget as i64).saturating_add(excess).max(0) as usize;
        let mut least = self.placed(program, picks)?;
        let mut smallest = least.peak.max(above(excess));
        if least.peak > budget
            && let Some(other) = self.nearer(costs, above(bound), smallest, part)?
            && other.peak < smallest
        {
            smallest = other.peak;
            least = other;
        }
        if least.peak <= budget {
            let Placed { program, picks, assignment, peak } = least;
            let items = program.problem.items.iter().zip(&picks);
            let cost: f64 = items.map(|(item, &pick)| item.options[pick as usize].cost).sum();
            let prices = vec![0.0; program.problem.limits.len()];
            let engine = self.budget.engine.name();
            let solution = Solution { picks, cost, bound: 0.0, prices, engine, seconds: 0.0 };
            let certificate = self.certificate(&program, &solution, costs, &assignment);
            return Ok((assignment, peak, certificate));
        }
        if bound <= 0 {
            return Err(unknown(smallest).into());
        }
        let dominated = self.frame.largest(self.training, &weights, BINDING).join("; ");
        Err(BudgetError::Infeasible { budget, smallest, bound: above(bound), dominated }.into())
    }

    /// A solution with a little more memory than `bound`, if one is found below `smallest`.
    fn nearer(&self, costs: &Costs, bound: usize, smallest: usize, part: f64) -> Result<Option<Placed>, CompileError> {
        let tried = MORE.map(|more| (bound as f64 * more) as usize);
        for bytes in tried.into_iter().take_while(|&bytes| bytes < smallest) {
            let program = self.program(costs, bytes.saturating_sub(self.frame.beside));
            let settings = self.settings(NEARER * part, 0.5);
            let outcome = solve(&program.problem, self.budget.engine, &settings).map_err(BudgetError::from)?;
            if let Outcome::Solved(Solution { picks, .. }) = outcome {
                return self.placed(program, picks).map(Some);
            }
        }
        Ok(None)
    }

    /// What a choice comes to.
    pub(super) fn placed(&self, program: Program, picks: Vec<u32>) -> Result<Placed, CompileError> {
        let assignment = self.assignment(program.choices(&picks))?;
        let peak = self.peak(&assignment)?;
        Ok(Placed { program, picks, assignment, peak })
    }

    fn assignment(&self, choices: Choices) -> Result<Assignment, CompileError> {
        let Choices { formats, recomputed } = choices;
        Ok(Assignment::of_choices(self.training, self.batch, Method::Ilp, self.formats, formats, recomputed)?)
    }
}

/// The peak in bytes of an assignment's training step.
///
/// # Errors
/// If it cannot be lowered.
pub(super) fn peak(
    training: &Graph,
    assignment: &Assignment,
    lowering: Lowering,
    budget: &Budget,
) -> Result<usize, CompileError> {
    let Assignment { formats, recomputed, batch, .. } = assignment;
    let Lowered { program, .. } = program(training, formats, recomputed, *batch, lowering)?;
    Ok(Footprint::predicted(&program, budget.threads).total())
}

/// The formats that each tensor may have; a pinned one only what it is pinned to.
///
/// A parameter or output gets none that overflowed, or would in the profile: promotion would take it away at once.
/// Gradients are protected by the loss scale.
fn allowed(
    training: &Graph,
    tensors: &[Tensor],
    budget: &Budget,
    overflowed: &Overflowed,
    pinned: &Pinned,
) -> Vec<Vec<Format>> {
    let of = |(at, tensor): (usize, &Tensor)| {
        if let Some(&format) = pinned.get(&at) {
            return vec![format];
        }
        if stays_exact(training, tensor) {
            return vec![Format::FP32];
        }
        let formats = match tensor.kind {
            Kind::Parameter | Kind::Output => &budget.forward,
            Kind::OutputGradient | Kind::ParameterGradient => return budget.backward.clone(),
        };
        let profile = budget.profile().and_then(|p| p.tensor(crate::profile_kind(tensor.kind), tensor.node));
        let overflows = |format: &Format| {
            let of = profile.and_then(|tensor| tensor.formats.iter().find(|f| f.format == *format));
            of.is_some_and(|of| of.overflow >= OVERFLOW)
                || overflowed.get(&at).is_some_and(|narrow| format.max_finite() <= narrow.max_finite())
        };
        let fit: Vec<Format> = formats.iter().copied().filter(|format| !overflows(format)).collect();
        let widest = || formats.iter().copied().max_by(|a, b| a.max_finite().total_cmp(&b.max_finite()));
        if fit.is_empty() { widest().into_iter().collect() } else { fit }
    };
    tensors.iter().enumerate().map(of).collect()
}
