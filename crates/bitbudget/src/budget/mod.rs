//! Assignments that fit a memory budget.

#[cfg(test)]
mod brute_force;
pub(crate) mod costs;
mod demote;
mod error;
mod frame;
mod least;
mod limit;
mod others;
#[cfg(test)]
mod predicted;
mod search;
#[cfg(test)]
mod tests;

use crate::threads::most_that_fit;
use crate::{CompileError, Options};
use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::budget::{Costs, Granularity, Priced};
use bitbudget_precision::{Assignment, Formats, Method, PinFormats, Pinned, assign, assign_with};
use bitbudget_profile::Profile;
use bitbudget_solver::Engine;
use std::collections::BTreeMap;

pub use error::{BudgetError, Shortage};
pub use limit::{Limit, ParseLimitError};
pub(crate) use search::{Search, peak};

/// The largest weight of time, by which a percent of a step's time costs 10,000 times what rounding everything most coarsely does.
pub const LARGEST_TIME_WEIGHT: f64 = 1e6;

/// The longest search in seconds, a day.
pub const LONGEST_SEARCH: f64 = 86_400.0;

/// A memory budget, and how an assignment that fits it is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// How much.
    pub limit: Limit,
    /// Threads of the run, whose scratch memory counts.
    pub threads: usize,
    /// Formats that parameters and outputs may have.
    pub forward: Vec<Format>,
    /// Formats that gradients may have.
    pub backward: Vec<Format>,
    /// Whether tensors may be recomputed.
    pub recompute: bool,
    /// What has a format of its own.
    pub granularity: Granularity,
    /// How much a percent of a step's time counts, where 100 is the harm of rounding everything most coarsely.
    pub time_weight: f64,
    /// The share of a step's time that recomputation may add.
    pub max_slowdown: Option<f64>,
    /// What the harm of rounding is measured by; without it the paper's preference counts.
    pub measured: Option<Measured>,
    /// Which solver.
    pub engine: Engine,
    /// Seconds that solving may take.
    pub seconds: f64,
    /// How much the embedded engine searches in each round, instead of so many seconds, so that equal searches find equal
    /// assignments.
    pub effort: Option<usize>,
}

impl Budget {
    /// A budget with the defaults of everything else: formats FP32, BF16, the paper's, with recomputation.
    pub fn new(limit: Limit, threads: usize) -> Budget {
        let wide = [Format::FP32, Format::BF16, Format::PAPER_HIGH];
        let with = |low| wide.iter().copied().chain([low]).collect();
        Budget {
            limit,
            threads,
            forward: with(Format::PAPER_LOW_FORWARD),
            backward: with(Format::PAPER_LOW_BACKWARD),
            recompute: true,
            granularity: Granularity::Tensor,
            time_weight: 1.0,
            max_slowdown: None,
            measured: None,
            engine: Engine::Embedded,
            seconds: 10.0,
            effort: None,
        }
    }

    /// The effort of a search of which `share` is wanted, if that is counted.
    fn effort(&self, share: f64) -> Option<usize> {
        let counted = self.effort.filter(|_| self.engine == Engine::Embedded);
        counted.map(|effort| ((share * effort as f64) as usize).max(1))
    }

    fn profile(&self) -> Option<&Profile> {
        self.measured.as_ref().map(|measured| &measured.profile)
    }

    /// Whether all formats of the methods that go by level may be chosen.
    fn allows(&self, by_level: &Formats) -> bool {
        let Formats { high, low_forward, low_backward, low_parameter_gradient } = by_level;
        [high, low_forward].iter().all(|format| self.forward.contains(format))
            && [high, low_backward, low_parameter_gradient].iter().all(|format| self.backward.contains(format))
    }

    /// The widest formats that may be chosen, which pins call high precision.
    pub(crate) fn widest(&self) -> Option<PinFormats> {
        let widest = |formats: &[Format]| formats.iter().copied().max_by_key(|f| (f.bits(), f.mantissa_bits()));
        Some(PinFormats { forward: widest(&self.forward)?, backward: widest(&self.backward)? })
    }

    /// How many bytes that are, where the FP32 assignment takes `fp32`.
    fn bytes(&self, fp32: usize) -> usize {
        match self.limit {
            Limit::Bytes(bytes) => bytes,
            Limit::Share(share) => (share * fp32 as f64) as usize,
        }
    }
}

/// A profile and what to call it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its name in reports.
    pub name: String,
    /// What it says.
    pub profile: Profile,
}

/// What an assignment under a budget comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// The budget in bytes.
    pub budget: usize,
    /// The FP32 assignment's peak in bytes.
    pub fp32: usize,
    /// The assignment's peak in bytes.
    pub peak: usize,
    /// What the solver says; nothing if no integer program was solved.
    pub solver: Option<Certificate>,
    /// The paper's demotion on the same budget: its low ratio and peak; nothing if it does not fit, or was not tried.
    pub demote: Option<Demoted>,
    /// Whether demotion was tried: only where the budget allows all its formats, so that the two can be compared.
    pub demote_allowed: bool,
    /// The method whose assignment method ilp took, since nothing fits that keeps input and loss in FP32.
    pub instead: Option<Method>,
}

/// What a solver says of its solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The solver's name.
    pub name: String,
    /// The profile that costs were measured in.
    pub profile: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// The cost of the assignment.
    pub cost: f64,
    /// No assignment costs less.
    pub bound: f64,
    /// By how much the cost may fall per byte of budget, at the margin.
    pub price: f64,
    /// What the steps compute at which a byte of budget is worth most, the first most.
    pub binds: Vec<String>,
    /// The share of a step's time that recomputation adds, as estimated.
    pub slowdown: f64,
    /// For each tensor (in the order of [`bitbudget_precision::tensors`]), what its choices cost; nothing for one that takes no memory
    /// to speak of.
    pub choices: Vec<Vec<Priced>>,
}

impl Certificate {
    /// The part of the cost that the bound leaves open.
    pub fn gap(&self) -> f64 {
        if self.cost > 0.0 { ((self.cost - self.bound) / self.cost).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Demotion under a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demoted {
    /// The share of low elements.
    pub low_ratio: f64,
    /// The peak in bytes.
    pub peak: usize,
    /// The cost in the integer program's measure, if that knows the formats.
    pub cost: Option<f64>,
}

/// The formats in which tensors (in the order of [`bitbudget_precision::tensors`]) overflowed, so that they need wider ones.
pub(crate) type Overflowed = BTreeMap<usize, Format>;

/// The assignment of a training graph that fits a budget, with the formats that tensors are pinned to.
///
/// # Errors
/// If none fits, or the options do not fit the graph.
pub(crate) fn fit(
    training: &Graph,
    options: &Options,
    budget: &Budget,
    pinned: &Pinned,
) -> Result<(Assignment, Solved), CompileError> {
    let Options { batch, formats, method, low_ratio, seed, .. } = *options;
    let none = Overflowed::new();
    let mut search = Search::new(training, batch, options.lowering(), budget, formats, &none, pinned)?;
    search.seed = seed;
    let assigned = |method, low_ratio| assign_with(training, batch, method, low_ratio, seed, formats, pinned);
    let most = fp32_peak(training, options)?;
    let bytes = budget.bytes(most);
    let demote_allowed = method == Method::Ilp && budget.allows(&formats);
    let solved = |peak, solver, demote| Solved {
        budget: bytes,
        fp32: most,
        peak,
        solver,
        demote,
        demote_allowed,
        instead: None,
    };
    let too_large = |peak| CompileError::from(BudgetError::TooLarge { method, peak, budget: bytes, fp32: most });
    match method {
        Method::Ilp => {
            let widest = assigned(Method::Fp32, 0.0)?;
            let peak = search.peak(&widest)?;
            if peak <= bytes {
                let Assignment { by_level, chosen, recomputed, .. } = widest;
                let assignment = Assignment::of_choices(training, batch, method, by_level, chosen, recomputed)?;
                return Ok((assignment, solved(peak, None, None)));
            }
            let (assignment, peak, certificate) = search.solved(bytes, 1.0)?;
            let demote = demote_allowed.then(|| search.demoted(Method::Demote, bytes)).transpose()?;
            let demote = demote.filter(|&(_, peak)| peak <= bytes).map(|(assignment, peak)| Demoted {
                low_ratio: assignment.low_ratio_elements(),
                peak,
                cost: search.cost(&assignment),
            });
            let instead = Some(assignment.method).filter(|&method| method != Method::Ilp);
            Ok((assignment, Solved { instead, ..solved(peak, Some(certificate), demote) }))
        }
        Method::Demote | Method::DemoteSmallest | Method::Random => {
            let (assignment, peak) = search.demoted(method, bytes)?;
            if peak > bytes { Err(too_large(peak)) } else { Ok((assignment, solved(peak, None, None))) }
        }
        method => {
            let assignment = assigned(method, low_ratio)?;
            let peak = search.peak(&assignment)?;
            if peak > bytes { Err(too_large(peak)) } else { Ok((assignment, solved(peak, None, None))) }
        }
    }
}

/// What an assignment that was given comes to under a budget.
///
/// # Errors
/// If it does not fit.
pub(crate) fn check(
    training: &Graph,
    options: &Options,
    budget: &Budget,
    assignment: &Assignment,
) -> Result<Solved, CompileError> {
    let fp32 = fp32_peak(training, options)?;
    let (step, bytes) = (peak(training, assignment, options.lowering())?, budget.bytes(fp32));
    if step <= bytes {
        let (peak, solver, demote, demote_allowed, instead) = (step, None, None, false, None);
        return Ok(Solved { budget: bytes, fp32, peak, solver, demote, demote_allowed, instead });
    }
    let threads = budget.threads;
    let fits = |threads| {
        let options = with_threads(options, threads);
        let bytes = budget.bytes(fp32_peak(training, &options)?);
        Ok(peak(training, assignment, options.lowering())? <= bytes)
    };
    let fits = most_that_fit(threads.saturating_sub(1), fits)?;
    Err(BudgetError::Exceeded { peak: step, budget: bytes, fp32, threads, fits }.into())
}

/// The same options for a run with so many threads.
fn with_threads(options: &Options, threads: usize) -> Options {
    let budget = options.budget.clone().map(|budget| Budget { threads, ..budget });
    Options { threads, budget, ..options.clone() }
}

/// The peak in bytes of the FP32 assignment, without pins.
fn fp32_peak(training: &Graph, options: &Options) -> Result<usize, CompileError> {
    let Options { batch, formats, .. } = *options;
    let fp32 = assign(training, batch, Method::Fp32, 0.0, 0, formats)?;
    peak(training, &fp32, options.lowering())
}
