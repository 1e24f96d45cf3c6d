//! The FP32 schedule from which the integer program is made, as plain data.

use crate::build::{Form, build_stored, derived, described, in_form, needs, rewritten};
use crate::{CompileError, Lowering};
use bitbudget_formats::Format;
use bitbudget_ir::{ALIGNMENT, Graph, NodeId, Op, Role, Stage};
use bitbudget_precision::budget::{Skeleton, Where};
use bitbudget_program::Footprint;
use bitbudget_schedule::{Place, Schedule, Setting, plan};
use bitbudget_select::Needs;

/// The schedule in which every tensor is FP32, and what stays whatever is chosen.
pub(super) struct Frame {
    /// The rewritten graph with copies of what is stored nowhere.
    graph: Graph,
    steps: Vec<Vec<NodeId>>,
    places: Vec<Where>,
    replaced: Vec<Option<NodeId>>,
    /// By step, for the formats that need most and for those that need least.
    workspace: Vec<usize>,
    workspace_least: Vec<usize>,
    pub(super) form: Form,
    /// Bytes that are taken beside the arena at most, and at least, whatever the formats.
    pub(super) beside: usize,
    pub(super) beside_least: usize,
    /// The least that programs of the frame's own form take.
    pub(super) beside_least_in_form: usize,
    /// Bytes of masters and optimizer state, which all assignments take.
    pub(super) kept: usize,
    /// The peak in bytes.
    pub(super) fp32: usize,
}

impl Frame {
    /// The frame of a training graph in the form that its FP32 program has.
    ///
    /// # Errors
    /// If the graph cannot be rewritten or lowered.
    pub(super) fn new(training: &Graph, batch: usize, lowering: Lowering) -> Result<Frame, CompileError> {
        let exact = build_stored(&training.exact(), batch, lowering)?;
        Frame::of(training, batch, lowering, exact.form)
    }

    /// The frame of a training graph in a form.
    ///
    /// # Errors
    /// As for [`Frame::new`].
    pub(super) fn of(training: &Graph, batch: usize, lowering: Lowering, form: Form) -> Result<Frame, CompileError> {
        let rewritten_for = |graph: &Graph| match form {
            Form::Plain => Ok(graph.clone()),
            Form::Stored | Form::Derived => rewritten(graph, lowering),
        };
        let graph = derived(&rewritten_for(&training.exact())?, batch, form)?;
        let schedule = plan(&graph, &Setting { batch, storage: lowering.storage });
        let (mut most, mut least) = (vec![0; graph.len()], vec![usize::MAX; graph.len()]);
        let mut scratch_least = vec![usize::MAX; graph.len()];
        let (mut beside, mut kept, mut fp32_peak) = (0, usize::MAX, 0);
        let mut beside_least_in_form = usize::MAX;
        // Kernels need other workspace for other widths; the most of all counts.
        let (exact, low) = (Format::FP32, Format::PAPER_LOW_FORWARD);
        for (format, input) in [(exact, exact), (Format::PAPER_HIGH, exact), (low, exact), (low, low)] {
            let stored = stored_in(&graph, format, input);
            for (at, Needs { workspace, scratch }) in needs(&stored, batch).into_iter().enumerate() {
                (most[at], least[at]) = (workspace.max(most[at]), workspace.min(least[at]));
                scratch_least[at] = scratch.min(scratch_least[at]);
            }
            let stored = stored_in(training, format, input);
            let lowered = build_stored(&stored, batch, lowering)?.program;
            let footprint = Footprint::predicted(&lowered, lowering.threads);
            beside = beside.max(footprint.total() - footprint.arena);
            let in_form = in_form(&rewritten_for(&stored)?, &[], batch, lowering, form)?.program;
            let in_form = Footprint::predicted(&in_form, lowering.threads);
            beside_least_in_form = beside_least_in_form.min(in_form.total() - in_form.arena);
            kept = kept.min(footprint.kept);
            if format == Format::FP32 {
                fp32_peak = footprint.total();
            }
        }
        let computed = schedule.steps.iter().flat_map(|step| &step.nodes);
        let scratch = computed.map(|id| scratch_least[id.index()]).max().unwrap_or(0);
        let beside_least = kept + scratch * lowering.threads;
        let step = |nodes: &Vec<NodeId>, needs: &[usize]| {
            let most = nodes.iter().map(|id| needs[id.index()]).max().unwrap_or(0);
            most.next_multiple_of(ALIGNMENT)
        };
        let places = places(&graph, &schedule);
        let replaced = replaced(&graph, &schedule);
        let steps: Vec<Vec<NodeId>> = schedule.steps.into_iter().map(|step| step.nodes).collect();
        let workspace = steps.iter().map(|nodes| step(nodes, &most)).collect();
        let workspace_least = steps.iter().map(|nodes| step(nodes, &least)).collect();
        Ok(Frame {
            graph,
            steps,
            places,
            replaced,
            workspace,
            workspace_least,
            form,
            beside,
            beside_least_in_form,
            beside_least,
            kept,
            fp32: fp32_peak,
        })
    }

    /// The same as the integer program reads it.
    pub(super) fn skeleton<'a>(&'a self, training: &'a Graph) -> Skeleton<'a> {
        let Frame { graph, steps, places, replaced, workspace, .. } = self;
        Skeleton { training, graph, steps, places, replaced, workspace, alignment: ALIGNMENT }
    }

    /// The same with the workspace of the formats that need least.
    pub(super) fn optimistic<'a>(&'a self, training: &'a Graph) -> Skeleton<'a> {
        Skeleton { workspace: &self.workspace_least, ..self.skeleton(training) }
    }

    /// By how much the workspace of the formats that need most exceeds that of those that need least, at most.
    pub(super) fn workspace_spread(&self) -> usize {
        self.workspace.iter().zip(&self.workspace_least).map(|(most, least)| most - least).max().unwrap_or(0)
    }

    /// What the steps of the largest weights compute, in words, the largest first; at most `count`.
    pub(super) fn largest(&self, training: &Graph, weights: &[f64], count: usize) -> Vec<String> {
        let is_heavy = |&step: &usize| weights.get(step).is_some_and(|&weight| weight > 0.0);
        let mut steps: Vec<usize> = (0..self.steps.len()).filter(is_heavy).collect();
        steps.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let node = |&id: &NodeId| described(training, &self.graph, id);
        let step = |&step: &usize| self.steps[step].iter().take(2).map(node).collect::<Vec<_>>().join(" and ");
        steps.iter().take(count).map(step).collect()
    }
}

/// A graph whose tensors are all in `format`, but for the network's input and what is internal.
fn stored_in(graph: &Graph, format: Format, input: Format) -> Graph {
    let of = |id: NodeId| match graph.node(id).role {
        Role::Internal => Format::FP32,
        _ if matches!(graph.op(id), Op::Input(_)) => input,
        _ => format,
    };
    let mut stored = graph.clone();
    graph.ids().for_each(|id| stored.set_format(id, of(id)));
    stored.set_stage(graph.stage().max(Stage::Assigned));
    stored
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
