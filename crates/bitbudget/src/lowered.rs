//! From a graph with formats to a program.

use crate::{CompileError, Storage};
use bitbudget_exec::Footprint;
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role};
use bitbudget_lower::lower;
use bitbudget_program::Program;
use bitbudget_rewrite::{Copied, Origin, Rewritten, Rules, derive, recompute, rewrite};
use bitbudget_schedule::{Place, Schedule, Setting, Step, derivable, plan, plan_in_order};

/// Other forms save scratch memory. Where this is at most one of so many parts of the peak, they are not tried.
const LITTLE: usize = 32;

/// How graphs become programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowering {
    /// How tensors are stored.
    pub storage: Storage,
    /// By which rules graphs are rewritten. Without, tensors that can be computed in passing are stored too.
    pub rewrite: Option<Rules>,
    /// Threads of the run, each of which has scratch memory; 0 leaves that out.
    pub threads: usize,
}

/// How a graph becomes a program. All forms that a [`Lowering`] chooses from compute the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The graph's own operators.
    Plain,
    /// Rewritten operators, whose results are stored.
    Stored,
    /// Rewritten operators, and what can be computed in passing is stored nowhere.
    Derived,
}

impl Lowering {
    /// All forms that a program may have.
    pub(crate) fn all_forms(self) -> impl Iterator<Item = Form> {
        let (first, others) = self.forms();
        std::iter::once(first).chain(others.iter().copied())
    }

    /// The form that a program has, and those that it has where they take less memory.
    fn forms(self) -> (Form, &'static [Form]) {
        match self.rewrite {
            None => (Form::Plain, &[]),
            Some(Rules::Exact) => (Form::Derived, &[Form::Stored, Form::Plain]),
            // The graph's own operators round in another way.
            Some(Rules::Reassociating) => (Form::Derived, &[Form::Stored]),
        }
    }
}

/// A program with the graph and the schedule that it was lowered from.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    pub(crate) graph: Graph,
    pub(crate) schedule: Schedule,
    /// The node of the training graph that each node of the graph computes, if it has one.
    pub(crate) origins: Vec<Option<NodeId>>,
    pub(crate) form: Form,
    /// Whether anything is computed in passing.
    derives: bool,
}

impl Lowered {
    /// Bytes of a step at its peak with so many threads.
    pub(crate) fn bytes(&self, threads: usize) -> usize {
        Footprint::predicted(&self.program, threads).total()
    }
}

/// From a graph to a program, of the form that takes the least memory; the backward pass computes the nodes in `recomputed`
/// again.
pub(crate) fn program(
    graph: &Graph,
    recomputed: &[NodeId],
    batch: usize,
    lowering: Lowering,
) -> Result<Lowered, CompileError> {
    let bytes = |lowered: &Lowered| lowered.bytes(lowering.threads);
    smallest(graph, &rewritten(graph, lowering)?, recomputed, batch, lowering, &bytes)
}

/// The same, where the graph was rewritten before and `bytes` says what counts.
///
/// Computing in passing takes scratch memory: in small networks more than it saves.
pub(crate) fn smallest(
    graph: &Graph,
    rewritten: &Rewritten,
    recomputed: &[NodeId],
    batch: usize,
    lowering: Lowering,
    bytes: &dyn Fn(&Lowered) -> usize,
) -> Result<Lowered, CompileError> {
    let (first, others) = lowering.forms();
    let mut smallest = in_form(rewritten, recomputed, batch, lowering, first)?;
    let Footprint { scratch, .. } = Footprint::predicted(&smallest.program, lowering.threads);
    if scratch.saturating_mul(LITTLE) < smallest.bytes(lowering.threads) {
        return Ok(smallest);
    }
    for &form in others {
        if form == Form::Stored && !smallest.derives {
            continue;
        }
        let other = match form {
            Form::Plain => in_form(&unchanged(graph), recomputed, batch, lowering, form)?,
            form => in_form(rewritten, recomputed, batch, lowering, form)?,
        };
        if bytes(&other) < bytes(&smallest) {
            smallest = other;
        }
    }
    Ok(smallest)
}

/// A program of one form, from the graph that was rewritten for it.
pub(crate) fn in_form(
    rewritten: &Rewritten,
    recomputed: &[NodeId],
    batch: usize,
    lowering: Lowering,
    form: Form,
) -> Result<Lowered, CompileError> {
    let mut ordered = ordered(rewritten, batch, form)?;
    let again: Vec<NodeId> = recomputed.iter().filter_map(|id| rewritten.values[id.index()]).collect();
    if !again.is_empty() {
        let copies = |id: &NodeId| again.contains(&ordered.origins[id.index()].node);
        let again: Vec<NodeId> = ordered.graph.ids().filter(copies).collect();
        let Copied { graph, origins } = recompute(&ordered.graph, &steps(&ordered, batch), &again)?;
        let before = |origin: &Origin| ordered.origins[origin.node.index()];
        let derived = origins.iter().map(|origin| ordered.is_derived(origin.node)).collect();
        let origins = origins.iter().map(|o| Origin { again: o.again || before(o).again, ..before(o) }).collect();
        ordered = Ordered { graph, origins, derived, in_order: true };
    }
    let workspace = workspace(&ordered.graph, batch);
    let setting = Setting { batch, storage: lowering.storage, workspace: &workspace };
    let schedule = ordered.schedule(&setting);
    let Ordered { graph, origins: copied, derived, .. } = ordered;
    let derives = derived.contains(&true);
    let mut program = lower(&graph, &schedule, &setting)?;
    let origins: Vec<Option<NodeId>> = copied.iter().map(|copy| rewritten.origins[copy.node.index()]).collect();
    // Overflows are counted by nodes of the training graph, and once.
    let counted = |id: usize| origins[id].filter(|_| !copied[id].again).map(|origin| origin.0);
    program.count_as(&|id| copied.get(id as usize).and_then(|_| counted(id as usize)));
    Ok(Lowered { program, graph, schedule, origins, form, derives })
}

/// The graph with the operators that keep least, or as it is.
pub(crate) fn rewritten(graph: &Graph, lowering: Lowering) -> Result<Rewritten, CompileError> {
    if let Some(rules) = lowering.rewrite {
        return Ok(rewrite(graph, rules)?);
    }
    Ok(unchanged(graph))
}

/// A graph that nothing rewrites.
pub(crate) fn unchanged(graph: &Graph) -> Rewritten {
    let same: Vec<Option<NodeId>> = graph.ids().map(Some).collect();
    Rewritten { graph: graph.clone(), origins: same.clone(), values: same }
}

/// A graph with copies of what is stored nowhere.
pub(crate) struct Ordered {
    pub(crate) graph: Graph,
    /// The node of the rewritten graph that each node is.
    pub(crate) origins: Vec<Origin>,
    /// The nodes that are computed inside the step that reads them, by node id.
    derived: Vec<bool>,
    /// Whether nodes stand in the order in which they are computed.
    in_order: bool,
}

impl Ordered {
    fn is_derived(&self, id: NodeId) -> bool {
        self.derived.get(id.index()).copied().unwrap_or(false)
    }

    pub(crate) fn schedule(&self, setting: &Setting<'_>) -> Schedule {
        self.schedule_of(&self.graph, setting)
    }

    /// The schedule of the graph, with its tensors stored in any way.
    fn schedule_of(&self, graph: &Graph, setting: &Setting<'_>) -> Schedule {
        match self.in_order {
            true => plan_in_order(graph, setting, &self.derived),
            false => plan(graph, setting),
        }
    }
}

/// The rewritten graph with copies of what need not be stored, in the order of computation.
pub(crate) fn ordered(rewritten: &Rewritten, batch: usize, form: Form) -> Result<Ordered, CompileError> {
    let graph = &rewritten.graph;
    if form != Form::Derived {
        // Ids stay.
        let origins = graph.ids().map(|node| Origin { node, again: false }).collect();
        return Ok(Ordered { graph: graph.clone(), origins, derived: Vec::new(), in_order: false });
    }
    let exact = graph.exact();
    let schedule = plan(&exact, &setting(batch));
    let derived = derivable(&exact, &schedule, batch);
    let steps: Vec<Vec<NodeId>> = schedule.steps.into_iter().map(|step| step.nodes).collect();
    let Copied { graph, origins } = derive(graph, &steps, &derived)?;
    let derived = origins.iter().map(|origin| derived.contains_key(&origin.node)).collect();
    Ok(Ordered { graph, origins, derived, in_order: true })
}

/// The steps in which nodes are computed, whatever their formats.
fn steps(ordered: &Ordered, batch: usize) -> Vec<Vec<NodeId>> {
    let schedule = ordered.schedule_of(&ordered.graph.exact(), &setting(batch));
    schedule.steps.into_iter().map(|step| step.nodes).collect()
}

/// What steps and places go by before formats are chosen.
fn setting(batch: usize) -> Setting<'static> {
    Setting { batch, storage: Storage::Packed, workspace: &[] }
}

/// Bytes that every node's kernel needs beside operands and result.
pub(crate) fn workspace(graph: &Graph, batch: usize) -> Vec<usize> {
    of_kernels(graph, batch, bitbudget_exec::workspace)
}

/// Bytes of scratch memory that every node's kernel asks of a thread at least.
pub(crate) fn scratch(graph: &Graph, batch: usize) -> Vec<usize> {
    of_kernels(graph, batch, bitbudget_exec::kernel_scratch)
}

/// What nodes need by their operators, their operands' shapes and formats and their results' shapes.
fn of_kernels(
    graph: &Graph,
    batch: usize,
    needed: impl Fn(&Op, &[(Vec<usize>, Format)], &[usize]) -> usize,
) -> Vec<usize> {
    let of = |id: NodeId| {
        let operands = graph.operands(id);
        let shape = |id: NodeId| graph.ty(id).shape.at(batch);
        let operands: Vec<(Vec<usize>, Format)> = operands.iter().map(|&o| (shape(o), graph.format(o))).collect();
        needed(graph.op(id), &operands, &shape(id))
    };
    graph.ids().map(of).collect()
}

/// A node in words: its operator with its name, or its number in the training graph and whose gradient it is.
pub(crate) fn described(training: &Graph, op: &str, name: &str, origin: Option<NodeId>) -> String {
    let gradient = |id: NodeId| match training.node(id).role {
        Role::OutputGradient { of } | Role::ParameterGradient { of } => Some(&training.node(of).name),
        Role::Internal | Role::Output | Role::Parameter => None,
    };
    match (name, origin) {
        ("", Some(id)) => match gradient(id).filter(|name| !name.is_empty()) {
            Some(of) => format!("{op} {id} (gradient of `{of}`)"),
            None => format!("{op} {id}"),
        },
        ("", None) => op.to_string(),
        (name, _) => format!("{op} `{name}`"),
    }
}

/// What a step computes, in words.
pub(crate) fn computes(training: &Graph, graph: &Graph, step: &Step, origins: &[Option<NodeId>]) -> String {
    let node = |&id: &NodeId| described(training, graph.op(id).name(), &graph.node(id).name, origins[id.index()]);
    step.nodes.iter().map(node).collect::<Vec<_>>().join(" and ")
}

/// Whether a step computes nothing, so that it is no instruction that counts.
pub(crate) fn is_view(schedule: &Schedule, step: &Step) -> bool {
    step.nodes.iter().all(|id| schedule.places[id.index()] == Some(Place::Alias))
}
