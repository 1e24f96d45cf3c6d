//! The effect of rewriting on a trainer, and the saving of each rule.

use crate::build::{Built, Form, described, in_form, smallest};
use crate::{CompileError, Compiled, Format, Priced};
use bitbudget_ir::{DType, Graph, NodeId, Role, Stored};
use bitbudget_precision::{Assignment, Kind, node_names};
use bitbudget_program::Footprint;
use bitbudget_program::Machine;
use bitbudget_rewrite::{Limits, Rules, alternatives, alternatives_without, extract};
use bitbudget_schedule::Place;
use bitbudget_select::{Load, target};
use std::collections::{BTreeMap, BTreeSet};

/// A rule, and the difference without it.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Its name.
    pub rule: &'static str,
    /// How often it found that two tensors are equal.
    pub fired: usize,
    /// By how many bytes the peak grows without it.
    pub bytes: i64,
    /// By how many seconds a step grows without it, as estimated from its work and the bytes that it touches.
    pub seconds: f64,
    /// The nodes that are computed in another way without it.
    pub nodes: Vec<String>,
}

/// The effect of rewriting on a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Bytes at the peak, scratch memory of threads included.
    pub peak: usize,
    /// The same without any rewriting.
    pub plain_peak: usize,
    /// Estimated seconds of a step, and of one without any rewriting.
    pub seconds: f64,
    /// The seconds of the training graph as it is.
    pub plain_seconds: f64,
    /// All rules that are allowed, in their order; none where rewriting is off.
    pub rules: Vec<Firing>,
    /// The rules that are not allowed, since they change rounding; none where rewriting is off.
    pub reassociations: Vec<&'static str>,
    /// The effect of deriving tensors instead of storing them; its nodes are the tensors that would be stored otherwise.
    pub derived: Firing,
    /// By node of the training graph that is stored nowhere, what computes it in passing.
    pub readers: BTreeMap<NodeId, Vec<String>>,
    /// The assigned tensors that have a name.
    pub tensors: Vec<TensorExplained>,
    /// Why not all rules were applied, if so.
    pub note: Option<String>,
}

/// Where the numbers of a tensor are until they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storing {
    /// In memory.
    Kept,
    /// Nowhere: the backward pass computes them again.
    Recomputed,
    /// Nowhere: the steps that read them compute them in passing.
    InPassing,
}

/// How a tensor is stored, and between what the solver chose.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorExplained {
    /// Its name.
    pub name: String,
    /// Its description.
    pub kind: &'static str,
    /// Its symbolic shape.
    pub shape: String,
    /// Its format.
    pub format: Format,
    /// Bytes in the format that it has.
    pub bytes: u64,
    /// Where it is stored.
    pub storing: Storing,
    /// The steps that compute it in passing.
    pub computed_by: Vec<String>,
    /// The choices that a solver priced.
    pub choices: Vec<Priced>,
}

/// Explains the rewriting of a trainer, with the memory that so many threads take.
///
/// # Errors
/// If the graph cannot be lowered.
pub fn explain(compiled: &Compiled, threads: usize) -> Result<Explained, CompileError> {
    let (training, lowering) = (&compiled.training, compiled.lowering);
    let Assignment { formats, recomputed, batch, .. } = &compiled.assignment;
    let stored = training.stored_in(formats);
    let lowered = |graph: &Graph| smallest(&stored, graph, recomputed, *batch, lowering, &Footprint::total);
    let found = lowering.rewrite.map(|rules| (rules, alternatives(&stored, rules, &Limits::default())));
    let graph = match &found {
        Some((_, found)) => extract(&stored, found)?,
        None => stored.clone(),
    };
    let now = lowered(&graph)?;
    let (peak, seconds) = (now.bytes(threads), seconds(&now, *batch, lowering.machine));
    let difference = |other: &Built| -> (i64, f64) {
        (other.bytes(threads) as i64 - peak as i64, self::seconds(other, *batch, lowering.machine) - seconds)
    };
    let mut rules = Vec::new();
    let fired = found.iter().flat_map(|(by, found)| found.fired.iter().map(|&(rule, times)| (*by, rule, times)));
    for (by, rule, fired) in fired {
        let mut firing = Firing { rule, fired, bytes: 0, seconds: 0.0, nodes: Vec::new() };
        if fired > 0 && now.form != Form::Plain {
            let without = alternatives_without(&stored, by, &Limits::default(), rule);
            let without = extract(&stored, &without)?;
            (firing.bytes, firing.seconds) = difference(&lowered(&without)?);
            firing.nodes = changed(training, &graph, &without);
        }
        rules.push(firing);
    }
    let readers = readers(training, &now);
    let mut derived = Firing { rule: "computed-in-passing", fired: 0, bytes: 0, seconds: 0.0, nodes: Vec::new() };
    if now.form == Form::Derived {
        let other = in_form(&graph, recomputed, *batch, lowering, Form::Stored)?;
        (derived.bytes, derived.seconds) = difference(&other);
        let otherwise = self::readers(training, &other);
        let nodes = readers.keys().filter(|id| !otherwise.contains_key(id)).map(|&id| named(training, id));
        derived.nodes = nodes.collect();
        derived.fired = derived.nodes.len();
    }
    let all = Rules::Reassociating.names().into_iter().filter(|_| found.is_some());
    let reassociations = all.filter(|name| rules.iter().all(|firing| firing.rule != *name)).collect();
    let note = match (found, now.form) {
        (None, _) => Some("rewriting is off".to_string()),
        (Some(_), Form::Plain) => Some("no rule is applied: that takes the least memory here".to_string()),
        (Some((_, found)), Form::Derived) => found.note,
        (Some((_, found)), Form::Stored) => {
            let stored = "nothing is computed in passing: scratch memory for that is more than it saves here";
            Some(found.note.map_or(stored.to_string(), |note| format!("{note}; {stored}")))
        }
    };
    let before = in_form(&stored, recomputed, *batch, lowering, Form::Plain)?;
    let (plain_peak, plain_seconds) = (before.bytes(threads), self::seconds(&before, *batch, lowering.machine));
    let tensors = tensors(compiled, &readers);
    Ok(Explained { peak, plain_peak, seconds, plain_seconds, rules, reassociations, derived, readers, tensors, note })
}

fn tensors(compiled: &Compiled, readers: &BTreeMap<NodeId, Vec<String>>) -> Vec<TensorExplained> {
    let names = node_names(&compiled.training);
    let solver = compiled.solved.as_ref().and_then(|solved| solved.solver.as_ref());
    let assigned = compiled.assignment.assigned().enumerate();
    let tensors = assigned.filter_map(|(at, (tensor, _, format))| {
        let is_output = tensor.kind == Kind::Output;
        let readers = readers.get(&tensor.node).filter(|_| is_output);
        let recomputed = is_output && compiled.assignment.recomputed.iter().any(|again| again.node() == tensor.node);
        let storing = match (readers, recomputed) {
            (Some(_), _) => Storing::InPassing,
            (None, true) => Storing::Recomputed,
            (None, false) => Storing::Kept,
        };
        Some(TensorExplained {
            name: names[tensor.node.index()].clone()?,
            kind: tensor.kind.name(),
            shape: compiled.training.ty(tensor.node).shape.to_string(),
            format,
            bytes: Stored::of(Role::Internal, format).bytes(DType::F32, tensor.elements as usize) as u64,
            storing,
            computed_by: readers.cloned().unwrap_or_default(),
            choices: solver.map(|s| s.choices[at].clone()).unwrap_or_default(),
        })
    });
    tensors.collect()
}

fn named(training: &Graph, id: NodeId) -> String {
    described(training, training, id)
}

/// The nodes of the training graph that two rewritten graphs compute in different ways.
fn changed(training: &Graph, a: &Graph, b: &Graph) -> Vec<String> {
    let way = |of: &Graph, new: NodeId| {
        let operands = of.operands(new).iter().map(|&operand| of.origin(operand)).collect::<Vec<_>>();
        (of.op(new).clone(), operands, of.format(new))
    };
    let ways = |of: &Graph| -> Vec<_> { of.by_origin().into_iter().map(|new| new.map(|new| way(of, new))).collect() };
    let (a, b) = (ways(a), ways(b));
    let differs = |id: &NodeId| a.get(id.index()).cloned().flatten() != b.get(id.index()).cloned().flatten();
    training.ids().filter(differs).map(|id| named(training, id)).collect()
}

/// The tensors that steps compute in passing, with the other nodes of these steps.
pub(crate) fn readers(training: &Graph, lowered: &Built) -> BTreeMap<NodeId, Vec<String>> {
    let Built { graph, schedule, .. } = lowered;
    let stored: BTreeSet<NodeId> = graph
        .ids()
        .filter(|id| !matches!(schedule.places[id.index()], None | Some(Place::Inside | Place::Alias)))
        .filter_map(|id| Some(graph.origin(id)?.node()))
        .collect();
    let mut times: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
    for step in &schedule.steps {
        let is_inside = |id: &NodeId| schedule.places[id.index()] == Some(Place::Inside);
        let heads = step.nodes.iter().filter(|id| !is_inside(id));
        let heads: Vec<String> = heads.map(|&id| described(training, graph, id)).collect();
        for origin in step.nodes.iter().filter(|id| is_inside(id)).filter_map(|&id| graph.origin(id)) {
            times.entry(origin.node()).or_default().push(heads.join(" and "));
        }
    }
    let backward = training.backward();
    times.retain(|id, _| !stored.contains(id) && !backward[id.index()]);
    times
}

/// Estimated seconds of a step.
fn seconds(lowered: &Built, batch: usize, machine: Machine) -> f64 {
    let Built { graph, schedule, .. } = lowered;
    let target = target(machine);
    let inside: Vec<bool> = schedule.places.iter().map(|place| *place == Some(Place::Inside)).collect();
    schedule.steps.iter().map(|step| target.seconds(Load::of(graph, &step.nodes, &inside, batch))).sum()
}
