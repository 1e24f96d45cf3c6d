//! All tensors of a training step, one row each.

use super::instructions::{GRADIENTS, Instructions, MASTERS, STATE};
use super::operators::Operators;
use super::why::{Stored, why, why_not_assigned};
use crate::Compiled;
use crate::build::{Built, described};
use crate::explain::readers;
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Graph, NodeId, Op, Role, TrainingId};
use bitbudget_precision::{Kind, node_names};
use bitbudget_report::{Choice, Life, Storage, Tensor, Training};
use bitbudget_schedule::Place;
use std::collections::BTreeMap;

/// The tensor that a node of the built graph holds numbers of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    /// One of the assignment's, by position.
    Assigned(usize),
    /// One that has no format of its own, by the node of the training graph.
    Other(NodeId),
    /// One that rewriting made, by the node of the built graph.
    Made(NodeId),
}

/// The tensors of the assignment, then what stays from step to step, then what else takes memory.
pub(super) fn rows(
    compiled: &Compiled,
    built: &Built,
    operators: &Operators,
    instructions: &Instructions,
    training: Option<&Training>,
) -> Vec<Tensor> {
    let mut nodes: BTreeMap<Row, Vec<NodeId>> = BTreeMap::new();
    for id in built.graph.ids() {
        nodes.entry(row(compiled, built, id)).or_default().push(id);
    }
    let none = Vec::new();
    let all = Rows { compiled, built, operators, instructions, names: node_names(&compiled.training), training };
    let in_passing = readers(&compiled.training, built);
    let assigned = (0..compiled.assignment.tensors.len()).map(|at| {
        let nodes = nodes.get(&Row::Assigned(at)).unwrap_or(&none);
        all.assigned(at, nodes, &in_passing)
    });
    let others = nodes.iter().filter_map(|(row, nodes)| match row {
        Row::Assigned(_) => None,
        Row::Other(_) | Row::Made(_) => all.other(nodes),
    });
    assigned.chain(others).collect()
}

/// The training tensor whose numbers a node of the built graph holds.
fn row(compiled: &Compiled, built: &Built, id: NodeId) -> Row {
    let (graph, assignment) = (&compiled.training, &compiled.assignment);
    let Some(origin) = built.graph.origin(id).map(TrainingId::node) else { return Row::Made(id) };
    let find = |kind, node| assignment.tensors.iter().position(|t| (t.kind, t.node) == (kind, node));
    let gradient = |kind, of| {
        let shown = assignment.forward_tensor(graph, of)?;
        find(kind, assignment.tensors[shown].node)
    };
    let found = match graph.node(origin).role {
        Role::Output => find(Kind::Output, origin),
        Role::Parameter => find(Kind::Parameter, origin),
        Role::OutputGradient { of } => gradient(Kind::OutputGradient, of),
        Role::ParameterGradient { of } => gradient(Kind::ParameterGradient, of),
        Role::Internal => find(Kind::Output, origin).filter(|_| graph.node(origin).is_numeric_input()),
    };
    found.map_or(Row::Other(origin), Row::Assigned)
}

struct Rows<'a> {
    compiled: &'a Compiled,
    built: &'a Built,
    operators: &'a Operators,
    instructions: &'a Instructions,
    names: Vec<Option<String>>,
    training: Option<&'a Training>,
}

impl Rows<'_> {
    fn assigned(&self, at: usize, nodes: &[NodeId], in_passing: &BTreeMap<NodeId, Vec<String>>) -> Tensor {
        let Compiled { training: graph, assignment, solved, budget, .. } = self.compiled;
        let (tensor, format) = (assignment.tensors[at], assignment.chosen[at]);
        let name = self.names[tensor.node.index()].clone().unwrap_or_default();
        let (usage, lives) = self.lives(nodes);
        let forward = matches!(tensor.kind, Kind::Parameter | Kind::Output);
        let storage = self
            .storage(nodes, !lives.is_empty(), |id| tensor.kind == Kind::Output && assignment.recomputed.contains(&id));
        let profile = budget.as_ref().and_then(|budget| budget.measured.as_ref()).map(|measured| &measured.profile);
        let profile = profile.and_then(|profile| profile.tensor(tensor.kind, tensor.node));
        let solver = solved.as_ref().and_then(|solved| solved.solver.as_ref());
        let solver = solver.filter(|_| storage != Storage::NotComputed);
        let mut choices: Vec<Choice> = solver.map_or_else(Vec::new, |solver| {
            let choice = |priced: &crate::Priced| Choice {
                format: priced.format.to_string(),
                recomputed: priced.again,
                from_input: priced.from_input,
                cost: priced.cost,
                memory: priced.memory,
                chosen: priced.chosen,
            };
            solver.choices.get(at).into_iter().flatten().map(choice).collect()
        });
        let together = |choice: &Choice| choice.cost + choice.memory;
        choices.sort_by(|a, b| b.chosen.cmp(&a.chosen).then(together(a).total_cmp(&together(b))));
        let run = self.training.filter(|_| forward);
        let is_this = |recorded: &str| recorded == plain_name(graph, tensor.node);
        let ratios = run.into_iter().flat_map(|run| &run.overflows).filter(|o| is_this(&o.tensor)).map(|o| o.ratio);
        // What is rounded is counted, and is not listed if nothing of it overflowed.
        let none = run.filter(|_| format != Format::FP32).map(|_| 0.0);
        let overflow = ratios.fold(none, |most: Option<f64>, ratio| Some(most.map_or(ratio, |most| most.max(ratio))));
        let promotions = run.into_iter().flat_map(|run| &run.promotions).filter(|p| is_this(&p.tensor)).collect();
        let bytes = most(&lives);
        let by = in_passing.get(&tensor.node).filter(|_| tensor.kind == Kind::Output);
        let stored = Stored { bytes, storage, by: by.map_or(&[], Vec::as_slice), choices: &choices, promotions };
        Tensor {
            kind: tensor.kind.name(),
            node: self.operators.position(tensor.operator),
            group: Some(tensor.group),
            shape: graph.ty(tensor.node).shape.at(assignment.batch),
            format: format.to_string(),
            bits: format.bits(),
            bytes,
            storage,
            usage,
            sensitivity: profile.map(bitbudget_profile::TensorProfile::worst),
            overflow,
            why: why(self.compiled, at, &stored),
            lives,
            choices,
            name,
        }
    }

    /// The row of what has no format of its own, if it takes memory.
    fn other(&self, nodes: &[NodeId]) -> Option<Tensor> {
        let (Built { graph, program, .. }, training) = (self.built, &self.compiled.training);
        let (&first, &last) = (nodes.first()?, nodes.last()?);
        let buffer = &program.buffers[first.index()];
        let owner = self.owner(last);
        let whole = Life(0, self.instructions.bytes.len().saturating_sub(1), buffer.bytes());
        let origin = graph.origin(last).map(TrainingId::node);
        let (kind, (usage, lives)) = match graph.op(first) {
            Op::Parameter(_) => ("master", (Some(MASTERS), vec![whole])),
            Op::State(_) if origin.is_some_and(|id| self.is_statistic(id)) => {
                ("running statistic", (Some(STATE), vec![whole]))
            }
            Op::State(_) => ("optimizer state", (Some(STATE), vec![whole])),
            Op::Constant(_) => ("constant", (Some(STATE), vec![whole])),
            _ if buffer.dtype == DType::Index8 => ("indices", self.lives(nodes)),
            _ if buffer.dtype != DType::F32 => ("whole numbers", self.lives(nodes)),
            _ => match self.lives(nodes) {
                (Some(GRADIENTS), lives) => ("intermediate gradient", (Some(GRADIENTS), lives)),
                other => ("intermediate", other),
            },
        };
        if lives.is_empty() {
            return None;
        }
        let node = graph.node(first);
        let named = graph.op(first).source_name().map(str::to_string);
        let known = origin.filter(|_| !node.name.is_empty()).and_then(|id| self.names[id.index()].clone());
        // What rewriting made has no number of its own.
        let made = || match owner.filter(|_| origin.is_none()) {
            Some(at) => format!("{} for `{}`", node.op.name(), self.operators.nodes[at].name),
            None => described(training, graph, last),
        };
        let (format, bits) = match buffer.dtype {
            DType::Index8 => ("8-bit index".to_string(), 8),
            DType::Bool => ("truth value".to_string(), 8),
            DType::I32 => ("32-bit integer".to_string(), 32),
            DType::F32 => (buffer.format.to_string(), buffer.format.bits()),
        };
        let bytes = most(&lives);
        Some(Tensor {
            name: named.or(known).unwrap_or_else(made),
            kind,
            node: owner,
            group: None,
            shape: buffer.shape.clone(),
            format,
            bits,
            bytes,
            storage: Storage::Kept,
            usage,
            lives,
            sensitivity: None,
            overflow: None,
            why: why_not_assigned(kind).to_string(),
            choices: Vec::new(),
        })
    }

    /// The operator that a node of the built graph belongs to: by the node that it computes, or by what reads it.
    fn owner(&self, mut id: NodeId) -> Option<usize> {
        loop {
            match self.built.graph.origin(id) {
                Some(origin) => return self.operators.of(origin.node()),
                None => id = self.built.graph.readers(id).into_iter().min()?,
            }
        }
    }

    /// Whether a state is updated by the forward pass.
    fn is_statistic(&self, state: NodeId) -> bool {
        let graph = &self.compiled.training;
        let backward = graph.backward();
        graph.updates().iter().any(|&(target, value)| target == state && !backward[value.index()])
    }

    /// The bytes of nodes by step and use.
    fn lives(&self, nodes: &[NodeId]) -> (Option<usize>, Vec<Life>) {
        let found: Vec<_> = nodes.iter().filter_map(|id| self.instructions.lives.get(id)).collect();
        let mut lives: Vec<Life> = found.iter().flat_map(|(_, lives)| lives.iter().copied()).collect();
        lives.sort_by_key(|&Life(first, last, bytes)| (first, last, bytes));
        (found.first().map(|(usage, _)| *usage), lives)
    }

    fn storage(&self, nodes: &[NodeId], lives: bool, again: impl Fn(TrainingId) -> bool) -> Storage {
        let Built { schedule, graph, .. } = self.built;
        let is = |place: Place| nodes.iter().any(|id| schedule.places[id.index()] == Some(place));
        let again = nodes.iter().filter_map(|&id| graph.origin(id)).any(again);
        match lives {
            true if again => Storage::Recomputed,
            true => Storage::Kept,
            false if is(Place::Alias) || nodes.iter().any(|&id| graph.node(id).is_numeric_input()) => Storage::Shared,
            false if is(Place::Inside) => Storage::InPassing,
            false => Storage::NotComputed,
        }
    }
}

/// The most that is taken at any time.
fn most(lives: &[Life]) -> usize {
    let at = |now: usize| -> usize {
        lives.iter().filter(|Life(first, last, _)| (*first..=*last).contains(&now)).map(|Life(_, _, bytes)| bytes).sum()
    };
    lives.iter().map(|&Life(first, ..)| at(first)).max().unwrap_or(0)
}

/// The name under which training records a node.
fn plain_name(graph: &Graph, id: NodeId) -> String {
    let name = &graph.node(id).name;
    if name.is_empty() { id.to_string() } else { name.clone() }
}
