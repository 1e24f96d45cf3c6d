//! A step that is run again, every tensor in a place of its own and looked at.

use super::finding::{NamedTensor, ProbeError};
use crate::build::{described, made, setting};
use crate::{CompileError, Compiled, Lowering};
use bitbudget_exec::{Executor, Inputs, Numbers, Target, Values};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_program::{BufferId, Machine};
use bitbudget_schedule::one_by_one;
use std::collections::BTreeMap;

/// The step that is run again.
#[derive(Clone, Copy)]
pub(super) enum Probed {
    /// The forward and backward pass of a training step.
    Step,
    /// An evaluation.
    Evaluation,
}

/// The tensors of a step that was run again.
pub(super) struct Seen {
    /// The first tensor that is not finite.
    pub(super) first: Option<NamedTensor>,
    /// The magnitude of the largest number of each tensor of the assignment, after rounding, if it is known.
    pub(super) largest: BTreeMap<usize, f32>,
    /// The share of numbers that saturate, of the tensors of the assignment of which any do.
    pub(super) saturated: BTreeMap<usize, f64>,
}

impl Compiled {
    /// Runs a step or an evaluation node by node, with formats of the training graph's nodes.
    pub(super) fn seen(
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
        // Whatever device the step ran on: there tensors have places of other nodes.
        let lowering = Lowering { machine: Machine::Cpu, ..self.lowering };
        let setting = setting(batch, lowering);
        let (_, mut program) = made(&probe, steps, &setting, lowering.machine).map_err(CompileError::from)?;
        // Results are looked at as they are written.
        program.outputs.clear();
        let kept = values.download()?;
        let mut masks = Masks::new(&probe, &kept);
        let mut first = None;
        let mut largest: Vec<Option<f32>> = vec![None; probe.len()];
        let mut look = |id: BufferId, numbers: &[f32]| {
            if first.is_none() && !numbers.iter().all(|x| x.is_finite()) && !masks.take(NodeId(id.0), numbers) {
                first = Some(id);
            }
            if let Some(largest) = largest.get_mut(id.index()) {
                *largest = Some(magnitude(numbers));
            }
        };
        let inputs = inputs.clone().only(&program);
        let step = match executor.machine() {
            Machine::Cpu => executor.run_observed(&program, values, &inputs, &mut look)?,
            Machine::Cuda => {
                let mut executor = Executor::new(Target::Cpu, 0)?;
                let mut values = Values::new(&program, &kept, executor.device())?;
                executor.run_observed(&program, &mut values, &inputs, &mut look)?
            }
        };
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
        let size = |id| {
            let dims = &self.training.ty(id).shape.0;
            let axis = dims.iter().position(|dim| dim.is_batch())?;
            let array = inputs.arrays.get(self.training.op(id).source_name()?)?;
            Some(array.shape.get(axis)? / dims[axis].factor())
        };
        let target = self.training.ids().find(|&id| self.training.node(id).is_target());
        target.and_then(size).unwrap_or(self.assignment.batch)
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
}

/// Tensors that hold minus infinity where the network's masks do: constants, and what is computed of them.
struct Masks<'a> {
    graph: &'a Graph,
    is_mask: Vec<bool>,
}

impl<'a> Masks<'a> {
    fn new(graph: &'a Graph, kept: &BTreeMap<String, Vec<f32>>) -> Masks<'a> {
        let is_low = |numbers: &Vec<f32>| numbers.contains(&f32::NEG_INFINITY) && is_finite_or_low(numbers);
        let constant = |id: NodeId| matches!(graph.op(id), Op::Constant(_)).then(|| graph.op(id).source_name());
        let is_mask = graph.ids().map(|id| constant(id).flatten().and_then(|name| kept.get(name)).is_some_and(is_low));
        Masks { graph, is_mask: is_mask.collect() }
    }

    /// Whether a tensor that is not finite is so only since it is computed of a mask.
    fn take(&mut self, id: NodeId, numbers: &[f32]) -> bool {
        let is_masked = self.graph.contains(id)
            && is_finite_or_low(numbers)
            && self.graph.operands(id).iter().any(|&operand| self.of_mask(operand));
        if is_masked {
            self.is_mask[id.index()] = true;
        }
        is_masked
    }

    /// Whether a tensor, or the one that it is another form of, is a mask.
    fn of_mask(&self, mut id: NodeId) -> bool {
        while self.graph.is_alias(id) && !self.is_mask[id.index()] {
            let Some(&of) = self.graph.operands(id).first() else { return false };
            id = of;
        }
        self.is_mask[id.index()]
    }
}

fn is_finite_or_low(numbers: &[f32]) -> bool {
    numbers.iter().all(|&x| x.is_finite() || x == f32::NEG_INFINITY)
}

fn magnitude(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest, x| x.abs().max(largest))
}
