//! The search for the assignment of the least cost that fits.

use crate::allowed::{Allowed, Overflowed, allowed};
use crate::available::Available;
use crate::classes::repeats;
use crate::costs::Costs;
use crate::error::BudgetError;
use crate::harm::{Harm, costs};
use crate::network::Network;
use crate::outcome::Certificate;
use crate::program::{Choices, Priced, Program, program as integer_program};
use crate::setting::Budget;
use crate::step::{Fp32, Fp32Step};
use bitbudget_formats::Format;
use bitbudget_ir::TrainingId;
use bitbudget_precision::{Assignment, Method, Setting, stays_exact};
use bitbudget_solver::{Engine, Outcome, Settings, Solution, Solver, in_threads, memory, solve};
use std::time::Instant;

/// How often the integer program is solved at most.
const ROUNDS: usize = 12;
/// The same where effort is counted, since each round has all of it.
const COUNTED_ROUNDS: usize = 4;
/// The part of the seconds that the embedded engine's first round may take beyond a tight bound; it is there for what is easy.
const QUICK: f64 = 0.1;
/// The part of the seconds left that a later round may take, the part of all of them that it gets at least, and the part that
/// is too little for another one as long as there is an assignment. As long as there is none, rounds go on until so much more than all of
/// them is over.
const SHARE: f64 = 0.35;
const LEAST: f64 = 0.08;
const LATE: f64 = 0.1;
const OVER: f64 = 3.0;
/// Behind every round that missed the budget at least this part of it more is kept free for gaps between tensors, one of so many.
const STEP: usize = 1000;
/// A certified gap that ends a round, and one that ends the search.
const GAP: f64 = 0.005;
const ENOUGH: f64 = 0.01;
/// How many of the steps at which the budget binds are named.
pub(super) const BINDING: usize = 3;

/// Advice where the search has too little memory.
const ADVICE: &str = "raise the limit (`ulimit -v`, or the container's), search less (--no-recompute), use \
                      another method, or compile on another machine and train from the trainer file";

/// The memory that solutions may take, from round to round.
struct Room {
    memory: usize,
    /// All that there is.
    all: usize,
    /// The memory that was not enough for any solution, and the memory whose solution had a peak above the budget.
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
    pub(super) program: Program,
    pub(super) picks: Vec<u32>,
    pub(super) assignment: Assignment,
    pub(super) peak: usize,
}

/// A search for assignments that fit a budget.
pub struct Search<'a> {
    pub(super) network: Network<'a>,
    pub(super) fp32: &'a Fp32,
    pub(super) setting: Setting,
    pub(super) budget: &'a Budget,
    pub(super) allowed: Vec<Vec<Format>>,
}

impl<'a> Search<'a> {
    /// The search for a network with its FP32 step, some of whose tensors overflowed.
    ///
    /// The setting's formats are those of other methods, its seed that of methods that choose at random.
    pub fn new(
        network: Network<'a>,
        fp32: &'a Fp32,
        setting: Setting,
        budget: &'a Budget,
        overflowed: &Overflowed,
    ) -> Search<'a> {
        let allowed = allowed(&network, budget, overflowed);
        Search { network, fp32, setting, budget, allowed }
    }

    /// The formats that each tensor may have.
    pub fn allowed(&self) -> &[Vec<Format>] {
        &self.allowed
    }

    /// The peak in bytes of an assignment's training step.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn peak(&self, assignment: &Assignment) -> Result<usize, BudgetError> {
        Ok(self.network.taken(assignment)?.peak)
    }

    /// The costs of all choices.
    ///
    /// # Errors
    /// If the profile lacks formats.
    pub fn costs(&self) -> Result<Costs, BudgetError> {
        costs(&self.network, &self.fp32.seconds, self.budget, &self.allowed)
    }

    /// The cost of an assignment's formats as the integer program measures it, if it knows them.
    pub fn cost(&self, assignment: &Assignment) -> Option<f64> {
        let training = self.network.training;
        let harm = Harm::new(&self.network, &self.allowed, self.budget);
        let chosen = &assignment.chosen;
        let repeats = repeats(&self.fp32.step.skeleton(training), self.network.tensors, &self.all_allowed());
        let is_repeated = |at: usize| repeats[at].is_some_and(|other| chosen[other] == chosen[at]);
        let of = assignment.tensors.iter().zip(chosen).enumerate().map(|(at, (tensor, &format))| match format {
            Format::FP32 => Some(0.0),
            _ if is_repeated(at) => Some(0.0),
            format if stays_exact(training, tensor) => harm.of(tensor, format).or(Some(0.0)),
            format => harm.of(tensor, format),
        });
        let sum: Option<f64> = of.sum();
        Some(sum? * self.costs().ok()?.scale())
    }

    /// The best assignment that fits, by the integer program, with its peak, in as many threads as there is memory for.
    ///
    /// # Errors
    /// If nothing fits, the profile lacks formats, or there is too little memory for the search.
    pub fn solved(&self, bytes: usize, part: f64) -> Result<(Assignment, usize, Certificate), BudgetError> {
        let costs = self.costs()?;
        let whole = self.program(&costs, bytes.saturating_sub(self.fp32.step.beside));
        let (all, available) = (std::thread::available_parallelism().map_or(1, usize::from), Available::now());
        let needed = |threads: usize| memory(&whole.problem, threads);
        match (1..=all).rev().find(|&threads| available.has(needed(threads), threads)) {
            Some(threads) if threads == all => self.searched(&costs, &whole, bytes, part),
            Some(threads) => in_threads(threads, || self.searched(&costs, &whole, bytes, part))?,
            None => {
                available.check("the search for an assignment", needed(1), 1, ADVICE)?;
                self.searched(&costs, &whole, bytes, part)
            }
        }
    }

    /// The search takes a `part` of the budget's seconds or effort.
    ///
    /// The program knows sizes and lifetimes, but not where tensors come to lie. A short first round takes all memory, which is
    /// enough for easy programs. Where that does not fit, later solutions leave some free, and the program is solved again with
    /// more or less of that until the true peak is just below the budget. The bound is that of the program with all memory, so
    /// the gap counts what gaps between tensors cost too.
    ///
    /// # Errors
    /// If nothing fits, or the profile lacks formats.
    fn searched(
        &self,
        costs: &Costs,
        whole: &Program,
        bytes: usize,
        part: f64,
    ) -> Result<(Assignment, usize, Certificate), BudgetError> {
        let start = Instant::now();
        let seconds = if self.budget.effort(part).is_some() { f64::INFINITY } else { part * self.budget.seconds };
        let all = bytes.saturating_sub(self.fp32.step.beside);
        let engine = self.budget.engine;
        let mut room = Room::new(all);
        let mut best: Option<(Assignment, usize, Certificate)> = None;
        let mut picks = None;
        let mut bound = f64::NEG_INFINITY;
        let mut solver = Solver::new(&whole.problem, engine, whole.memory_rows(), seconds)?;
        let mut impossible = false;
        let rounds = if self.budget.effort(part).is_some() { COUNTED_ROUNDS } else { ROUNDS };
        for round in 0..rounds {
            let left = seconds - start.elapsed().as_secs_f64();
            let too_little = if best.is_some() { LATE } else { -OVER };
            if left < too_little * seconds {
                break;
            }
            let is_embedded = engine == Engine::Embedded;
            let is_quick = round == 0 && is_embedded;
            // HiGHS can leave nothing free, so its first round is there for the bound, and later ones have less memory.
            let less = (!is_embedded && room.memory < all).then(|| self.program(costs, room.memory));
            // Nothing at all would be worse than a late answer.
            let share = if is_quick { QUICK * seconds } else { (SHARE * left).max(LEAST * seconds) };
            let effort = self.budget.effort(if is_quick { part * QUICK } else { part });
            let settings = Settings { seconds: share, effort, gap: GAP, start: picks.clone() };
            let outcome = match &less {
                Some(less) => solve(&less.problem, engine, &settings),
                None => solver.solve(&settings, (all - room.memory) as i64),
            }?;
            if less.is_none() {
                bound = match &outcome {
                    Outcome::Solved(solution) => solution.bound.max(bound),
                    Outcome::Unknown { bound: other } => other.max(bound),
                    Outcome::Infeasible => {
                        impossible = true;
                        break;
                    }
                };
            }
            let program = less.as_ref().unwrap_or(whole);
            let Outcome::Solved(solution) = outcome else {
                if is_quick || room.is_too_small() {
                    continue;
                }
                break;
            };
            let assignment = self.assignment(program.choices(&solution.picks))?;
            let peak = self.peak(&assignment)?;
            let certificate = self.certificate(program, &Solution { bound, ..solution.clone() }, costs, &assignment);
            let better = best.as_ref().is_none_or(|(_, _, found)| certificate.cost < found.cost);
            if peak <= bytes && better {
                best = Some((assignment, peak, certificate));
            }
            let memory = room.memory;
            room.led_to(peak, bytes);
            let is_same = room.memory == memory && picks.as_ref() == Some(&solution.picks);
            picks = Some(solution.picks);
            if is_same && !solver.goes_on() || best.as_ref().is_some_and(|(_, _, found)| found.gap() <= ENOUGH) {
                break;
            }
        }
        let (assignment, peak, certificate) = match best {
            Some(best) => best,
            None => {
                let (assignment, peak, certificate) = self.least(costs, bytes, part, impossible)?;
                // A program of another form may count roundings as free that repeat none in this one.
                let again = costs.again(&assignment.recomputed).0;
                let cost = self.cost(&assignment).map_or(certificate.cost, |cost| cost + again);
                (assignment, peak, Certificate { cost, ..certificate })
            }
        };
        // No cost is negative, whatever an engine says that found no bound.
        let bound = certificate.bound.max(bound + whole.fixed_cost).max(0.0).min(certificate.cost);
        Ok((assignment, peak, Certificate { seconds: start.elapsed().as_secs_f64(), bound, ..certificate }))
    }

    /// The integer program of all choices at these costs, with so many bytes of memory beside what stays.
    pub fn program(&self, costs: &Costs, memory: usize) -> Program {
        let Network { training, tensors, batch, .. } = self.network;
        integer_program(&self.fp32.step.skeleton(training), tensors, batch, &self.all_allowed(), costs, memory)
    }

    /// The program of a form of the step whose least memory no assignment of any method undercuts in its order of steps: with the workspace of the formats
    /// that need least, and all formats for input and loss.
    pub(super) fn optimistic(&self, step: &Fp32Step, costs: &Costs, memory: usize) -> Program {
        let mut allowed = self.all_allowed();
        for (at, formats) in allowed.formats.iter_mut().enumerate().filter(|&(at, _)| self.is_exact(at)) {
            formats.extend(self.given(at).iter().filter(|&&format| format != Format::FP32));
        }
        let Network { training, tensors, batch, .. } = self.network;
        integer_program(&step.optimistic(training), tensors, batch, &allowed, costs, memory)
    }

    /// Whether a tensor is in FP32 although the budget allows other formats.
    pub(super) fn is_exact(&self, at: usize) -> bool {
        let Network { training, tensors, pinned, .. } = self.network;
        !pinned.contains_key(&at) && stays_exact(training, &tensors[at])
    }

    /// The formats that the budget gives to tensors of a tensor's kind.
    pub(super) fn given(&self, at: usize) -> &[Format] {
        self.budget.formats(self.network.tensors[at].kind)
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
            binds: self.fp32.step.largest(prices, BINDING),
            slowdown: costs.again(&assignment.recomputed).1,
            choices: self.priced(program, &solution.picks, &solution.prices),
        }
    }

    /// The costs of the choices for each tensor at these prices of the program's limits.
    pub(super) fn priced(&self, program: &Program, picks: &[u32], prices: &[f64]) -> Vec<Vec<Priced>> {
        program.priced(self.network.tensors.len(), picks, prices)
    }

    /// The result of a choice.
    pub(super) fn placed(&self, program: Program, picks: Vec<u32>) -> Result<Placed, BudgetError> {
        let assignment = self.assignment(program.choices(&picks))?;
        let peak = self.peak(&assignment)?;
        Ok(Placed { program, picks, assignment, peak })
    }

    /// The assignment that choices stand for.
    ///
    /// # Errors
    /// If there is nothing to assign.
    pub fn assignment(&self, choices: Choices) -> Result<Assignment, BudgetError> {
        self.chosen(choices.formats, choices.recomputed)
    }

    /// This method's assignment with some formats, but FP32 for input and loss, and recomputed nodes.
    pub(super) fn chosen(&self, formats: Vec<Format>, recomputed: Vec<TrainingId>) -> Result<Assignment, BudgetError> {
        let format = |(at, format): (usize, Format)| if self.is_exact(at) { Format::FP32 } else { format };
        let formats = formats.into_iter().enumerate().map(format).collect();
        let (Network { training, batch, tensors, .. }, by_level) = (self.network, self.setting.formats);
        Ok(Assignment::of_choices(training, batch, tensors, Method::Ilp, by_level, formats, recomputed)?)
    }
}
