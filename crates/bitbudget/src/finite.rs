//! Which tensor of a step is to blame for numbers that are not finite.

use crate::build::{described, made, setting};
use crate::{CompileError, Compiled};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{ExecError, Executor, Inputs, Numbers, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_precision::{Assignment, Level, Method, may_have, node_names};
use bitbudget_program::BufferId;
use bitbudget_schedule::one_by_one;
use std::collections::{BTreeMap, BTreeSet};

/// What made numbers of a step not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The first tensor that is not finite.
    pub first: NamedTensor,
    /// The forward tensor of which most saturates its format in the same step, if any does.
    pub saturated: Option<Saturated>,
    /// Whether all numbers are finite once forward tensors that saturate are FP32.
    pub is_saturation: bool,
}

/// A tensor of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTensor {
    /// Its name or, for a gradient without one, that of the tensor whose gradient it is.
    pub name: String,
    /// Its computation, in words, with its name.
    pub computes: String,
    /// Whether it is a gradient.
    pub is_gradient: bool,
    /// The format in which it is stored.
    pub format: Format,
}

/// A forward tensor with numbers that its format does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturated {
    /// Its name, as pins have it.
    pub name: String,
    /// The format in which it is stored.
    pub format: Format,
    /// By what it has that format.
    pub decided: Decided,
    /// The magnitude of its largest number before rounding.
    pub largest: f32,
    /// The share of its numbers that saturate.
    pub share: f64,
    /// A format that holds its largest number, and those of the first [`SEVERAL`] tensors that saturate.
    pub wider: Format,
    /// The names of other tensors that saturate in the same step, those first of which most does.
    pub others: Vec<String>,
}

/// By what a tensor has its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// A pin.
    Pin,
    /// The method, which gives it the high format.
    High,
    /// The method, which gives it the low format.
    Low,
    /// The search under a budget.
    Search,
}

/// How many tensors that saturate are named.
pub const SEVERAL: usize = 3;

/// A parameter or a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is, in words, with its name.
    pub words: String,
    /// Whether it is a running statistic; otherwise the optimizer updates it.
    pub is_statistic: bool,
}

/// Why a step cannot be looked at again.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The graph cannot be lowered.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The step failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// What is run again.
#[derive(Clone, Copy)]
enum Probed {
    /// The forward and backward pass of a training step.
    Step,
    /// An evaluation.
    Evaluation,
}

/// What a step that was run again held.
struct Seen {
    /// The first tensor that is not finite.
    first: Option<NamedTensor>,
    /// The magnitude of the largest number of each tensor of the assignment, after rounding, if it is known.
    largest: BTreeMap<usize, f32>,
    /// The share of numbers that saturate, of the tensors of the assignment of which any do.
    saturated: BTreeMap<usize, f64>,
}

/// How often tensors are widened that saturate only because others do not any more.
const WIDENINGS: usize = 8;

impl Compiled {
    /// Which tensor of a step's forward and backward pass made its numbers not finite; nothing if they are all finite.
    ///
    /// Runs the step again with the same formats, every tensor in a place of its own and nothing updated; `values` are those
    /// before the step, of which the forward pass reads no running statistics that it updates. Where forward tensors saturate,
    /// runs it with these in FP32 too.
    ///
    /// # Errors
    /// If the step cannot be lowered or fails.
    pub fn cause_in_step(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
    ) -> Result<Option<Cause>, ProbeError> {
        self.cause(false, |formats| self.seen(Probed::Step, formats, executor, values, inputs))
    }

    /// The same for the evaluation of a batch, of any size, with or without rounding.
    ///
    /// # Errors
    /// As for [`Compiled::cause_in_step`].
    pub fn cause_in_evaluation(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
        fp32: bool,
    ) -> Result<Option<Cause>, ProbeError> {
        self.cause(fp32, |formats| self.seen(Probed::Evaluation, formats, executor, values, inputs))
    }

    /// The cause of what `run` shows with formats of the training graph's nodes.
    fn cause(
        &self,
        fp32: bool,
        mut run: impl FnMut(&[Format]) -> Result<Seen, ProbeError>,
    ) -> Result<Option<Cause>, ProbeError> {
        let Seen { first, saturated, .. } = run(&self.assignment.formats)?;
        let first = if fp32 { run(&vec![Format::FP32; self.training.len()])?.first } else { first };
        let Some(first) = first else { return Ok(None) };
        // The first of equal ones first.
        let mut worst: Vec<(usize, f64)> = saturated.iter().map(|(&at, &share)| (at, share)).collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        let Some(&(at, _)) = worst.first() else {
            return Ok(Some(Cause { first, saturated: None, is_saturation: false }));
        };
        // Their numbers before rounding: that of the worst alone, and of several.
        let several = worst.iter().take(SEVERAL).map(|&(at, _)| at);
        let mut largest = run(&self.widened(&several.collect()))?.largest;
        largest.extend(run(&self.widened(&BTreeSet::from([at])))?.largest.remove_entry(&at));
        let worst = self.saturated(&worst, &largest);
        let is_saturation = !fp32 && self.is_finite_without(saturated.into_keys().collect(), run)?;
        Ok(Some(Cause { first, saturated: worst, is_saturation }))
    }

    /// Whether all numbers are finite with tensors in FP32 that saturate, and those that saturate only then.
    fn is_finite_without(
        &self,
        mut saturated: BTreeSet<usize>,
        mut run: impl FnMut(&[Format]) -> Result<Seen, ProbeError>,
    ) -> Result<bool, ProbeError> {
        for _ in 0..WIDENINGS {
            let seen = run(&self.widened(&saturated))?;
            let before = saturated.len();
            saturated.extend(seen.saturated.into_keys());
            if seen.first.is_none() || saturated.len() == before {
                return Ok(seen.first.is_none());
            }
        }
        Ok(false)
    }

    /// The formats of the training graph's nodes with some tensors of the assignment in FP32.
    fn widened(&self, wide: &BTreeSet<usize>) -> Vec<Format> {
        let is_wide = |id: NodeId| {
            let owner = self.assignment.forward_tensor(&self.training, id);
            owner.is_some_and(|at| wide.contains(&at))
        };
        let formats = self.training.ids().zip(&self.assignment.formats);
        formats.map(|(id, &format)| if is_wide(id) { Format::FP32 } else { format }).collect()
    }

    /// The tensors that saturate, by their positions in the assignment with the share that does, the worst first, and their
    /// largest numbers before rounding.
    fn saturated(&self, worst: &[(usize, f64)], largest: &BTreeMap<usize, f32>) -> Option<Saturated> {
        let (&(at, share), others) = worst.split_first()?;
        let names = node_names(&self.training);
        let name = |at: usize| {
            let node = self.assignment.tensors[at].node;
            names[node.index()].clone().unwrap_or_else(|| node.to_string())
        };
        let Assignment { by_level, method, tensors, chosen, levels, .. } = &self.assignment;
        let largest = |at: usize| largest.get(&at).copied().unwrap_or(f32::INFINITY);
        let holds = |wider: &Format| {
            let of = |at: usize| {
                let is_held = wider.overflow_threshold() > largest(at);
                is_held && may_have(&self.training, &tensors[at], *wider, *method, by_level)
            };
            worst.iter().take(SEVERAL).all(|&(at, _)| of(at))
        };
        let narrow = [by_level.high, Format::PAPER_HIGH, Format::BF16].into_iter().filter(|&f| f != Format::FP32);
        let decided = match (self.pinned.contains_key(&at), method, levels[at]) {
            (true, ..) => Decided::Pin,
            (false, Method::Ilp, _) => Decided::Search,
            (false, _, Level::High) => Decided::High,
            (false, _, Level::Low) => Decided::Low,
        };
        Some(Saturated {
            name: name(at),
            format: chosen[at],
            decided,
            largest: largest(at),
            share,
            wider: narrow.into_iter().find(holds).unwrap_or(Format::FP32),
            others: others.iter().map(|&(other, _)| name(other)).collect(),
        })
    }

    /// Runs a step or an evaluation node by node, with formats of the training graph's nodes.
    fn seen(
        &self,
        what: Probed,
        formats: &[Format],
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
    ) -> Result<Seen, ProbeError> {
        let training = &self.training;
        let loss = training.output("loss");
        let probe = match what {
            Probed::Step => self.both_passes(loss).stored_in(formats),
            Probed::Evaluation => self.evaluation.stored_in(formats),
        };
        let batch = self.batch_of(inputs);
        let steps = one_by_one(&probe);
        let setting = setting(batch, self.lowering.storage);
        let (_, mut program) = made(&probe, steps, &setting).map_err(CompileError::from)?;
        // Results are looked at as they are written.
        program.outputs.clear();
        let mut first = None;
        let mut largest: Vec<Option<f32>> = vec![None; probe.len()];
        let mut look = |id: BufferId, numbers: &[f32]| {
            if first.is_none() && !numbers.iter().all(|x| x.is_finite()) {
                first = Some(id);
            }
            if let Some(largest) = largest.get_mut(id.index()) {
                *largest = Some(magnitude(numbers));
            }
        };
        let step = executor.run_observed(&program, values, &inputs.clone().only(&program), &mut look)?;
        let kept = values.download()?;
        // What nothing computes: sources, and tensors that are other ones in their format.
        for id in probe.ids().filter(|id| largest.get(id.index()) == Some(&None)).collect::<Vec<_>>() {
            let name = probe.op(id).source_name();
            let given = name.and_then(|name| inputs.arrays.get(name)).map(|array| array.numbers);
            largest[id.index()] = match (given, name.and_then(|name| kept.get(name))) {
                (Some(Numbers::F32(numbers)), _) => Some(magnitude(numbers)),
                (Some(Numbers::Integers(_)), _) => None,
                (None, Some(numbers)) => Some(magnitude(numbers)),
                (None, None) => probe.operands(id).first().and_then(|of| largest[of.index()]),
            };
        }
        // Buffers have the ids of the nodes that they were lowered from.
        let owner = |node: u32| self.assignment.forward_tensor(training, NodeId(node));
        let named = |id: BufferId| {
            let node = NodeId(id.0);
            let is_gradient = matches!(what, Probed::Step) && loss.is_some_and(|loss| loss < node);
            NamedTensor {
                name: self.short_name(&probe, node),
                computes: described(training, &probe, node),
                is_gradient,
                format: probe.format(node),
            }
        };
        let saturated = step.overflows.iter().filter(|count| count.counts.overflow > 0).filter_map(|count| {
            Some((owner(count.tensor)?, count.counts.overflow as f64 / count.elements.max(1) as f64))
        });
        // What follows the first tensor that is not finite counts its numbers as overflows, and is not to blame.
        let first_node = first.map(|id| NodeId(id.0)).filter(|&id| probe.contains(id)).and_then(|id| probe.origin(id));
        let is_before = |at: usize| first_node.is_none_or(|id| self.assignment.tensors[at].node.index() <= id.index());
        let saturated: BTreeMap<usize, f64> = saturated.filter(|&(at, _)| is_before(at)).collect();
        let of_owner = |(id, largest): (NodeId, Option<f32>)| Some((owner(probe.origin(id)?.0)?, largest?));
        let largest = probe.ids().zip(largest).filter_map(of_owner);
        let mut of: BTreeMap<usize, f32> = BTreeMap::new();
        largest.for_each(|(at, largest)| {
            let most = of.entry(at).or_default();
            *most = most.max(largest);
        });
        Ok(Seen { first: first.map(named), largest: of, saturated })
    }

    /// The number of examples of a step's inputs.
    fn batch_of(&self, inputs: &Inputs<'_>) -> usize {
        let labels = self.training.ids().find(|&id| matches!(self.training.op(id), Op::Label(_)));
        let labels = labels.and_then(|id| inputs.arrays.get(self.training.op(id).source_name()?));
        labels.and_then(|labels| labels.shape.first()).copied().unwrap_or(self.assignment.batch)
    }

    /// The training graph's forward and backward pass without updates.
    fn both_passes(&self, loss: Option<NodeId>) -> Graph {
        let training = &self.training;
        let mut probe = training.clone();
        probe.clear_updates();
        probe.clear_outputs();
        let is_gradient =
            |id: NodeId| matches!(training.node(id).role, Role::OutputGradient { .. } | Role::ParameterGradient { .. });
        for id in loss.into_iter().chain(training.ids().filter(|&id| is_gradient(id))) {
            probe.set_output(id.to_string(), id);
        }
        probe
    }

    /// The name of a node of a graph, or of the tensor whose gradient it is.
    fn short_name(&self, graph: &Graph, node: NodeId) -> String {
        let of = match graph.origin(node).map(|origin| self.training.node(origin.node()).role) {
            Some(Role::OutputGradient { of } | Role::ParameterGradient { of }) => self.training.node(of).name.as_str(),
            _ => "",
        };
        let names = [graph.node(node).name.as_str(), of];
        names.into_iter().find(|name| !name.is_empty()).map_or_else(|| node.to_string(), str::to_string)
    }

    /// The optimizer, as the training graph has it; betas are those of the default.
    pub fn optimizer(&self) -> Option<Optimizer> {
        let decay = |id: NodeId| match self.training.op(id) {
            Op::SgdVelocity(op) => Some(Optimizer::Sgd { momentum: op.momentum.0, weight_decay: op.weight_decay.0 }),
            Op::AdamwParameter(op) => match Optimizer::adamw() {
                Optimizer::AdamW { betas, .. } => {
                    Some(Optimizer::AdamW { betas, epsilon: op.epsilon.0, weight_decay: op.weight_decay.0 })
                }
                sgd @ Optimizer::Sgd { .. } => Some(sgd),
            },
            _ => None,
        };
        self.training.ids().find_map(decay)
    }

    /// What a parameter or a state of a name is.
    pub fn kept(&self, name: &str) -> Kept {
        let training = &self.training;
        let update = training.updates().iter().find(|(target, _)| training.op(*target).source_name() == Some(name));
        let of = |value: NodeId| {
            let statistic = training.operands(value).get(1).copied()?;
            let x = training.operands(statistic).first().copied()?;
            Some(training.node(x).name.clone()).filter(|name| !name.is_empty())
        };
        let statistic = |what: &str, value: NodeId| match of(value) {
            Some(x) => format!("the {what} `{name}` of `{x}`"),
            None => format!("the {what} `{name}`"),
        };
        let (is_statistic, words) = match update {
            Some(&(_, value)) if matches!(training.op(value), Op::RunningAverage(_)) => {
                (true, statistic("running mean", value))
            }
            Some(&(_, value)) if matches!(training.op(value), Op::RunningVariance(_)) => {
                (true, statistic("running variance", value))
            }
            Some(&(target, _)) if matches!(training.op(target), Op::State(_)) => {
                (false, format!("the optimizer's state `{name}`"))
            }
            _ => (false, format!("the parameter `{name}`")),
        };
        Kept { words, is_statistic }
    }
}

fn magnitude(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest, x| x.abs().max(largest))
}
