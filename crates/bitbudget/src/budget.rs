//! Assignments that fit a memory budget.

use crate::{CompileError, Lowered, Options, Storage, program, workspace};
use bitbudget_exec::Footprint;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role, TensorType};
use bitbudget_precision::budget::{self, Allowed, Choices, Costs, Granularity, Skeleton, Where, preference};
use bitbudget_precision::{Assignment, Formats, Kind, Method, Tensor, assign, tensors};
use bitbudget_rewrite::rewrite;
use bitbudget_schedule::{ALIGNMENT, Place, Schedule, Setting, plan};
use bitbudget_solver::{Engine, Outcome, Settings, Smallest, Solution, smallest, solve};

/// How much memory a training step may take at its peak, everything counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    Bytes(usize),
    /// A share of what the FP32 assignment takes.
    Share(f64),
}

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
    /// Which solver.
    pub engine: Engine,
    /// Seconds that solving may take.
    pub seconds: f64,
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
            engine: Engine::Embedded,
            seconds: 10.0,
        }
    }
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
    /// The paper's demotion on the same budget: its low ratio and peak; nothing if it does not fit.
    pub demote: Option<Demoted>,
}

/// What a solver says of its solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The solver's name.
    pub name: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// The cost of the assignment.
    pub cost: f64,
    /// No assignment costs less.
    pub bound: f64,
    /// By how much the cost may fall per byte of budget, at the margin.
    pub price: f64,
    /// The share of a step's time that recomputation adds, as estimated.
    pub slowdown: f64,
}

impl Certificate {
    /// The part of the cost that the bound leaves open.
    pub fn gap(&self) -> f64 {
        if self.cost > 0.0 { ((self.cost - self.bound) / self.cost).max(0.0) } else { 0.0 }
    }
}

/// Demotion under a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demoted {
    /// The share of low elements.
    pub low_ratio: f64,
    /// The peak in bytes.
    pub peak: usize,
    /// The cost in the integer program's measure.
    pub cost: f64,
}

/// Why no assignment fits.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Nothing fits.
    #[error(
        "no assignment fits {}: with these formats {} are needed (less than {} is proved impossible); most is taken at \
         {dominated}; give a larger budget, allow narrower formats or recomputation, or use a smaller batch",
        mib(*budget), mib(*smallest), mib(*bound)
    )]
    Infeasible {
        /// The budget in bytes.
        budget: usize,
        /// The smallest peak found, in bytes.
        smallest: usize,
        /// What is proved to be needed, in bytes.
        bound: usize,
        /// The steps at which the memory is needed.
        dominated: String,
    },
    /// Nothing was found, and nothing proved.
    #[error(
        "no assignment that fits {} was found within {seconds} seconds, nor proved impossible; the smallest that was found \
         takes {}; give that budget, or allow more time",
        mib(*budget), mib(*smallest)
    )]
    Unknown {
        /// The smallest peak found, in bytes.
        smallest: usize,
        /// The budget in bytes.
        budget: usize,
        /// The time limit.
        seconds: f64,
    },
    /// A method without choices does not fit.
    #[error("method {method} takes {}, more than the budget of {}; use method ilp, or a larger budget", mib(*peak), mib(*budget))]
    TooLarge {
        /// The method.
        method: Method,
        /// What it takes, in bytes.
        peak: usize,
        /// The budget in bytes.
        budget: usize,
    },
    /// The integer program is malformed, which is a fault of ours.
    #[error(transparent)]
    Solver(#[from] bitbudget_solver::SolverError),
}

/// Bytes in MiB, rounded up.
fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", (bytes as f64 / 1_048_576.0 * 10.0).ceil() / 10.0)
}

/// What the search asks again and again.
struct Search<'a> {
    training: &'a Graph,
    batch: usize,
    storage: Storage,
    budget: &'a Budget,
    formats: Formats,
}

impl Search<'_> {
    /// The program of formats and recomputed nodes, and its peak in bytes.
    fn peak(&self, assignment: &Assignment) -> Result<usize, CompileError> {
        let Lowered { program, .. } =
            program(self.training, &assignment.formats, &assignment.recomputed, self.batch, self.storage)?;
        Ok(Footprint::predicted(&program, self.budget.threads).total())
    }
}

/// The assignment of a training graph that fits a budget.
///
/// # Errors
/// If none fits, or the options do not fit the graph.
pub(crate) fn fit(training: &Graph, options: &Options, budget: &Budget) -> Result<(Assignment, Solved), CompileError> {
    let Options { batch, storage, formats, .. } = *options;
    let search = Search { training, batch, storage, budget, formats };
    let fp32 = assign(training, batch, Method::Fp32, 0.0, 0, formats)?;
    let most = search.peak(&fp32)?;
    let bytes = match budget.limit {
        Limit::Bytes(bytes) => bytes,
        Limit::Share(share) => (share * most as f64) as usize,
    };
    let solved = |peak, solver, demote| Solved { budget: bytes, fp32: most, peak, solver, demote };
    match options.method {
        Method::Ilp if most <= bytes => {
            let assignment = Assignment { method: Method::Ilp, ..fp32 };
            Ok((assignment, solved(most, None, None)))
        }
        Method::Ilp => {
            let (assignment, peak, certificate, costs) = search.solved(bytes)?;
            let demote = search.demoted(Method::Demote, options.seed, bytes)?;
            let demote = demote.map(|(assignment, peak)| Demoted {
                low_ratio: assignment.low_ratio_elements(),
                peak,
                cost: costs.of(&assignment),
            });
            Ok((assignment, solved(peak, Some(certificate), demote)))
        }
        Method::Demote | Method::DemoteSmallest | Method::Random => {
            let found = search.demoted(options.method, options.seed, bytes)?;
            let low = assign(training, batch, options.method, 1.0, options.seed, formats)?;
            let too_large = |peak| BudgetError::TooLarge { method: options.method, peak, budget: bytes };
            let (assignment, peak) =
                found.map_or_else(|| Err(too_large(search.peak(&low)?).into()), Ok::<_, CompileError>)?;
            Ok((assignment, solved(peak, None, None)))
        }
        method => {
            let assignment = assign(training, batch, method, options.low_ratio, options.seed, formats)?;
            let peak = search.peak(&assignment)?;
            if peak > bytes {
                return Err(BudgetError::TooLarge { method, peak, budget: bytes }.into());
            }
            Ok((assignment, solved(peak, None, None)))
        }
    }
}

/// The measure in which the integer program counts harm.
struct Measure {
    /// Per tensor and format.
    harm: Vec<Vec<f64>>,
    formats: Vec<Vec<Format>>,
    scale: f64,
}

impl Measure {
    /// What an assignment's formats cost; formats that were not allowed cost what the paper's preference says.
    fn of(&self, assignment: &Assignment) -> f64 {
        let cost = |(at, &format): (usize, &Format)| {
            let position = self.formats[at].iter().position(|&f| f == format);
            position.map_or(0.0, |position| self.harm[at][position])
        };
        assignment.chosen.iter().enumerate().map(cost).sum::<f64>() * self.scale
    }
}

impl Search<'_> {
    /// As few groups as possible low, in the method's order, so that the rest fits; nothing if not even all do.
    fn demoted(&self, method: Method, seed: u64, bytes: usize) -> Result<Option<(Assignment, usize)>, CompileError> {
        let with = |ratio: f64| -> Result<(Assignment, usize), CompileError> {
            let assignment = assign(self.training, self.batch, method, ratio, seed, self.formats)?;
            let peak = self.peak(&assignment)?;
            Ok((assignment, peak))
        };
        let all = assign(self.training, self.batch, method, 1.0, seed, self.formats)?;
        let total = all.elements().max(1) as f64;
        let mut low = 0u64;
        let mut ratio = 0.0;
        for group in std::iter::once(None).chain(all.demoted.iter().map(Some)) {
            if let Some(&group) = group {
                low = low.saturating_add(all.groups[group].elements);
                ratio = low as f64 / total;
            }
            let (assignment, peak) = with(ratio)?;
            if peak <= bytes {
                return Ok(Some((assignment, peak)));
            }
        }
        Ok(None)
    }
}

/// What the integer program is made from: the FP32 schedule as plain data, and what stays whatever is chosen.
struct Frame {
    rewritten: Graph,
    steps: Vec<Vec<NodeId>>,
    places: Vec<Where>,
    replaced: Vec<Option<NodeId>>,
    workspace: Vec<usize>,
    /// Bytes that are taken beside the arena.
    beside: usize,
}

impl Search<'_> {
    /// The formats that each tensor may have.
    fn allowed(&self, tensors: &[Tensor]) -> Vec<Vec<Format>> {
        let of = |tensor: &Tensor| {
            if budget::stays_exact(self.training, tensor) {
                return vec![Format::FP32];
            }
            match tensor.kind {
                Kind::Parameter | Kind::Output => self.budget.forward.clone(),
                Kind::OutputGradient | Kind::ParameterGradient => self.budget.backward.clone(),
            }
        };
        tensors.iter().map(of).collect()
    }

    fn frame(&self) -> Result<Frame, CompileError> {
        let fp32 = vec![Format::FP32; self.training.len()];
        let (rewritten, _) = rewrite(self.training, &fp32)?;
        let setting = Setting { batch: self.batch, storage: self.storage, workspace: &[] };
        let schedule = plan(&rewritten, &fp32, &setting);
        let places = places(&rewritten, &schedule);
        let mut needs = vec![0; rewritten.len()];
        let mut beside = 0;
        // Kernels need other workspace for other widths; the most of all counts.
        for format in [Format::FP32, Format::PAPER_HIGH, Format::PAPER_LOW_FORWARD] {
            let formats: Vec<Format> = rewritten.ids().map(|id| tensor_format(&rewritten, id, format)).collect();
            for (most, bytes) in needs.iter_mut().zip(workspace(&rewritten, &formats, self.batch)) {
                *most = bytes.max(*most);
            }
            let lowered = program(self.training, &formats, &[], self.batch, self.storage)?.program;
            let footprint = Footprint::predicted(&lowered, self.budget.threads);
            beside = beside.max(footprint.total() - footprint.arena);
        }
        let step = |nodes: &Vec<NodeId>| nodes.iter().map(|id| needs[id.index()]).max().unwrap_or(0);
        let replaced = replaced(&rewritten, &schedule);
        let steps: Vec<Vec<NodeId>> = schedule.steps.into_iter().map(|step| step.nodes).collect();
        let workspace = steps.iter().map(|nodes| step(nodes).next_multiple_of(ALIGNMENT)).collect();
        Ok(Frame { rewritten, steps, places, replaced, workspace, beside })
    }

    /// The best assignment that fits, by the integer program.
    ///
    /// The program knows sizes and lifetimes, but not where tensors come to lie and what a schedule of other formats saves.
    /// So it is solved again with more or less memory until the true peak is just below the budget.
    fn solved(&self, bytes: usize) -> Result<(Assignment, usize, Certificate, Measure), CompileError> {
        let tensors = tensors(self.training, self.batch);
        let frame = self.frame()?;
        let formats = self.allowed(&tensors);
        let harm = preference(&tensors, &formats);
        let seconds = estimated_seconds(self.training, self.batch);
        let live = self.training.live();
        let costs = Costs {
            rounding: harm,
            step_seconds: seconds.iter().zip(live).filter(|(_, live)| *live).map(|(s, _)| s).sum(),
            seconds,
            time_weight: self.budget.time_weight,
            max_slowdown: self.budget.max_slowdown,
        };
        let allowed = Allowed { formats, recompute: self.budget.recompute, granularity: self.budget.granularity };
        let skeleton = Skeleton {
            training: self.training,
            graph: &frame.rewritten,
            steps: &frame.steps,
            places: &frame.places,
            replaced: &frame.replaced,
            workspace: &frame.workspace,
            alignment: ALIGNMENT,
        };
        let start = std::time::Instant::now();
        let mut memory = bytes.saturating_sub(frame.beside);
        let mut best: Option<(Assignment, usize, Certificate)> = None;
        let mut picks = None;
        let mut misses = 0;
        for round in 0..ROUNDS {
            let program = budget::program(&skeleton, &tensors, self.batch, &allowed, &costs, memory);
            let left = (self.budget.seconds - start.elapsed().as_secs_f64()).max(0.0);
            let share = if round == 0 { 0.6 } else { 0.4 };
            let settings = Settings { seconds: left * share, gap: GAP, start: picks.clone() };
            let solution = match solve(&program.problem, self.budget.engine, &settings).map_err(BudgetError::from)? {
                Outcome::Solved(solution) => solution,
                Outcome::Infeasible | Outcome::Unknown => break,
            };
            let assignment = self.assignment(program.choices(&solution.picks))?;
            let peak = self.peak(&assignment)?;
            let certificate = certificate(&program, &solution, &costs, &assignment);
            let better = best.as_ref().is_none_or(|(_, _, found)| certificate.cost < found.cost);
            if peak <= bytes && better {
                best = Some((assignment, peak, certificate));
            }
            if peak <= bytes && peak as f64 >= FULL * bytes as f64 {
                break;
            }
            // Misses in a row take more and more away: gaps between tensors change with every solution.
            if peak > bytes {
                misses += 1;
                memory = memory.saturating_sub((peak - bytes) << misses.min(4));
            } else {
                misses = 0;
                memory += (bytes - peak) / 2;
            }
            picks = Some(solution.picks);
        }
        let (assignment, peak, mut certificate) = match best {
            Some(best) => best,
            None => {
                let memory = bytes.saturating_sub(frame.beside);
                let program = budget::program(&skeleton, &tensors, self.batch, &allowed, &costs, memory);
                self.least(&frame, &program, &costs, bytes)?
            }
        };
        certificate.seconds = start.elapsed().as_secs_f64();
        let measure = Measure { scale: costs.scale(), harm: costs.rounding, formats: allowed.formats };
        Ok((assignment, peak, certificate, measure))
    }
}

/// How often the integer program is solved at most.
const ROUNDS: usize = 8;
/// A certified gap that is small enough.
const GAP: f64 = 0.005;
/// A budget of which this share is used is used well.
const FULL: f64 = 0.98;

fn certificate(program: &budget::Program, solution: &Solution, costs: &Costs, assignment: &Assignment) -> Certificate {
    let rows = program.memory_rows();
    Certificate {
        name: solution.engine.to_string(),
        seconds: 0.0,
        cost: solution.cost + program.fixed_cost,
        bound: solution.bound + program.fixed_cost,
        price: solution.prices[rows.start as usize..rows.end as usize].iter().sum(),
        slowdown: costs.again(&assignment.recomputed).1,
    }
}

impl Search<'_> {
    /// The assignment of the least peak if that fits, with a cost that is proved to be at least zero only.
    ///
    /// If it does not fit, the error says what it takes, what is proved, and where the memory goes.
    fn least(
        &self,
        frame: &Frame,
        program: &budget::Program,
        costs: &Costs,
        bytes: usize,
    ) -> Result<(Assignment, usize, Certificate), CompileError> {
        let seconds = self.budget.seconds / 2.0;
        let settings = Settings { seconds, gap: GAP, start: None };
        let found = smallest(&program.problem, program.memory_rows(), &settings).map_err(BudgetError::from)?;
        let Some(Smallest { excess, bound, picks, weights }) = found else {
            let error = BudgetError::Unknown { budget: bytes, seconds: self.budget.seconds, smallest: usize::MAX };
            return Err(error.into());
        };
        let assignment = self.assignment(program.choices(&picks))?;
        let peak = self.peak(&assignment)?;
        if peak <= bytes {
            let items = program.problem.items.iter().zip(&picks);
            let cost: f64 = items.map(|(item, &pick)| item.options[pick as usize].cost).sum();
            let prices = vec![0.0; program.problem.limits.len()];
            let (engine, seconds) = ("embedded", 0.0);
            let solution = Solution { picks, cost, bound: 0.0, prices, engine, seconds };
            let certificate = certificate(program, &solution, costs, &assignment);
            return Ok((assignment, peak, certificate));
        }
        let smallest = peak.max((bytes as i64 + excess).max(0) as usize);
        if bound <= 0 {
            let error = BudgetError::Unknown { budget: bytes, seconds: self.budget.seconds, smallest };
            return Err(error.into());
        }
        let mut steps: Vec<usize> = (0..frame.steps.len()).filter(|&step| weights[step] > 0.0).collect();
        steps.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let name = |&step: &usize| {
            let nodes = frame.steps[step].iter().map(|&id| {
                let node = frame.rewritten.node(id);
                match node.name.as_str() {
                    "" => format!("{} {id}", node.op.name()),
                    name => format!("{} `{name}`", node.op.name()),
                }
            });
            nodes.take(2).collect::<Vec<_>>().join(" and ")
        };
        let dominated = steps.iter().take(3).map(name).collect::<Vec<_>>().join("; ");
        let bound = (bytes as i64 + bound).max(0) as usize;
        Err(BudgetError::Infeasible { budget: bytes, smallest, bound, dominated }.into())
    }

    fn assignment(&self, choices: Choices) -> Result<Assignment, CompileError> {
        let Choices { formats, recomputed } = choices;
        Ok(Assignment::of_choices(self.training, self.batch, Method::Ilp, self.formats, formats, recomputed)?)
    }
}

/// The format of a node if every tensor that has one is in `format`.
fn tensor_format(graph: &Graph, id: NodeId, format: Format) -> Format {
    match graph.node(id).role {
        Role::Internal => Format::FP32,
        _ if matches!(graph.op(id), Op::Input(_)) => Format::FP32,
        _ => format,
    }
}

/// Where results lie. A parameter's rounded copy is a tensor of its own in all formats but FP32, so it counts as one.
fn places(graph: &Graph, schedule: &Schedule) -> Vec<Where> {
    let place = |id: NodeId| match schedule.places[id.index()] {
        Some(Place::Alias) if graph.node(id).role == Role::Parameter && matches!(graph.op(id), Op::Cast(_)) => {
            Where::Own
        }
        Some(Place::Alias) => graph.operands(id).first().map_or(Where::Nowhere, |&of| Where::Of(of)),
        Some(Place::Arena(_)) => Where::Own,
        Some(Place::Inside | Place::Kept(_)) | None => Where::Nowhere,
    };
    graph.ids().map(place).collect()
}

/// The tensor whose place each result takes: one that ends with the step that computes the result.
fn replaced(graph: &Graph, schedule: &Schedule) -> Vec<Option<NodeId>> {
    let mut replaced = vec![None; graph.len()];
    for step in &schedule.steps {
        for &id in &step.nodes {
            let Some(Place::Arena(offset)) = schedule.places[id.index()] else { continue };
            let same = |end: &&NodeId| **end != id && schedule.places[end.index()] == Some(Place::Arena(offset));
            replaced[id.index()] = step.ends.iter().find(same).copied();
        }
    }
    replaced
}

/// Arithmetic and copies of a machine with AVX-512 and two cores, per second; only their ratio to the whole step counts.
const FLOPS: f64 = 250e9;
const BYTES: f64 = 10e9;

/// Seconds that each node takes, from its work and the bytes that it touches.
fn estimated_seconds(graph: &Graph, batch: usize) -> Vec<f64> {
    let bytes = |id: NodeId| graph.ty(id).shape.elements(batch) as f64 * 4.0;
    let of = |id: NodeId| {
        if graph.op(id).source_name().is_some() || matches!(graph.op(id), Op::Reshape(_)) {
            return 0.0;
        }
        let operands = graph.operands(id);
        let types: Vec<&TensorType> = operands.iter().map(|&o| graph.ty(o)).collect();
        let work = graph.op(id).work(&types, graph.ty(id), batch);
        let touched: f64 = operands.iter().map(|&o| bytes(o)).sum::<f64>() + bytes(id);
        (work.flops as f64 / FLOPS).max(touched / BYTES)
    };
    graph.ids().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiled, compile};
    use bitbudget_exec::{Executor, Inputs, Target, Values};
    use bitbudget_zoo::{Network, Spec, build};

    const BATCH: usize = 32;
    const THREADS: usize = 2;

    fn options(share: f64) -> Options {
        let budget = Budget { seconds: 3.0, ..Budget::new(Limit::Share(share), THREADS) };
        Options { batch: BATCH, method: Method::Ilp, budget: Some(budget), ..Options::default() }
    }

    fn model(network: Network) -> bitbudget_ir::Model {
        build(&Spec { network, width: 0.25, classes: 10, input: [3, 32, 32], seed: 0 }).unwrap()
    }

    /// Losses of two steps, the weights after them, and the bytes that were allocated.
    fn run(compiled: &Compiled) -> (Vec<f32>, Vec<u32>, usize) {
        let mut executor = Executor::new(Target::Cpu, THREADS).unwrap();
        let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let examples: Vec<f32> = (0..BATCH * 3 * 32 * 32).map(number).collect();
        let labels: Vec<u32> = (0..BATCH as u32).map(|i| i % 10).collect();
        let inputs = Inputs {
            examples: &examples,
            labels: &labels,
            loss_scale: 1024.0,
            learning_rate: 0.05,
            update: 1,
            ..Inputs::default()
        };
        let losses = (0..2).map(|_| executor.run(&compiled.train, &mut values, &inputs).unwrap().outputs["loss"][0]);
        let losses = losses.collect();
        let weights = values.download().unwrap().into_values().flatten().map(f32::to_bits).collect();
        (losses, weights, executor.allocated(&values).total())
    }

    #[test]
    fn allocated_memory_fits_the_budget_and_recomputing_changes_no_bit() {
        let mut recomputed = 0;
        for network in Network::ALL {
            for share in [0.7, 0.5] {
                let compiled = compile(model(network), &options(share)).unwrap();
                let solved = compiled.solved.clone().unwrap();
                let (losses, weights, allocated) = run(&compiled);
                assert!(allocated <= solved.budget, "{network} {share}: {allocated} of {}", solved.budget);
                assert_eq!(allocated, solved.peak);
                assert!(solved.peak as f64 >= 0.8 * solved.budget as f64, "{network} {share}: {solved:?}");
                recomputed += compiled.assignment.recomputed.len();
                let Compiled { forward, values, training, assignment, storage, .. } = compiled;
                let assignment = Assignment { recomputed: Vec::new(), ..assignment };
                let model = bitbudget_ir::Model { graph: forward, values };
                let kept = Compiled::assemble(model, training, assignment, storage).unwrap();
                let (expected, bits, more) = run(&kept);
                assert_eq!((losses, weights), (expected, bits), "{network} {share}");
                assert!(more >= allocated);
            }
        }
        assert!(recomputed > 0);
    }

    #[test]
    fn large_budgets_give_fp32_and_small_ones_are_refused() {
        let compiled = compile(model(Network::SqueezeNet), &options(1.0)).unwrap();
        assert!(compiled.assignment.formats.iter().all(|&format| format == Format::FP32));
        assert_eq!(compiled.assignment.recomputed, []);
        let error = compile(model(Network::SqueezeNet), &options(0.05)).unwrap_err();
        let CompileError::Budget(BudgetError::Infeasible { budget, smallest, bound, dominated }) = error else {
            panic!("{error}")
        };
        assert!(budget < bound && bound <= smallest && !dominated.is_empty());
        // What it says is enough is enough, or nearly.
        let mut again = options(1.0);
        again.budget.as_mut().unwrap().limit = Limit::Bytes(smallest + smallest / 20);
        assert!(compile(model(Network::SqueezeNet), &again).is_ok());
    }

    #[test]
    fn a_trainer_file_keeps_formats_and_recomputation() {
        let compiled = compile(model(Network::SqueezeNet), &options(0.4)).unwrap();
        let again = Compiled::decode(&compiled.encode()).unwrap();
        assert_eq!(again.assignment, compiled.assignment);
        assert_eq!(again.train, compiled.train);
    }

    #[test]
    fn demotion_stops_as_soon_as_the_rest_fits() {
        let compile_with =
            |share: f64, method| compile(model(Network::ResNet18), &Options { method, ..options(share) });
        let compiled = compile_with(0.7, Method::Demote).unwrap();
        assert!(compiled.solved.as_ref().unwrap().peak <= compiled.solved.as_ref().unwrap().budget);
        let low = compiled.assignment.low_ratio_elements();
        assert!(low < 1.0);
        let error = compile_with(0.05, Method::Demote).unwrap_err().to_string();
        assert!(error.contains("method demote takes"), "{error}");
        let error = compile_with(0.5, Method::Fp32).unwrap_err().to_string();
        assert!(error.contains("more than the budget"), "{error}");
    }
}
