//! From a training graph and a choice to a program: rewrite, derive, recompute, group, place, lower.

use crate::{CompileError, Storage};
use bitbudget_ir::{Graph, Node, NodeId, Role, TrainingId};
use bitbudget_lower::{LowerError, place_and_lower};
use bitbudget_precision::Assignment;
use bitbudget_program::{Footprint, Kernel, Machine, Program};
use bitbudget_rewrite::{Rules, derive, lay_out, recompute, rewrite};
use bitbudget_schedule::{Place, Schedule, Setting, Step, alive, derivable, group, inside};
use bitbudget_select::{Group, Needs, select, target};

/// Other forms save scratch memory. Where that is less than one of so many parts of the peak, they are not tried.
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
    /// The kind of machine that programs are made for.
    pub machine: Machine,
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
            Some(Rules::Exact | Rules::With(_)) => (Form::Derived, &[Form::Stored, Form::Plain]),
            // The graph's own operators round in another way.
            Some(Rules::Reassociating) => (Form::Derived, &[Form::Stored]),
        }
    }
}

/// A program with the graph and the schedule that it was lowered from.
pub(crate) struct Built {
    pub(crate) program: Program,
    pub(crate) graph: Graph,
    pub(crate) schedule: Schedule,
    pub(crate) form: Form,
}

impl Built {
    /// Bytes of a step at its peak with so many threads.
    pub(crate) fn bytes(&self, threads: usize) -> usize {
        Footprint::predicted(&self.program, threads).total()
    }

    /// Whether anything is computed in passing.
    fn derives(&self) -> bool {
        self.graph.ids().any(|id| self.graph.node(id).origin.in_passing)
    }
}

/// A training step with an assignment, as a program of the form that takes the least memory.
pub(crate) fn build(training: &Graph, assignment: &Assignment, lowering: Lowering) -> Result<Built, CompileError> {
    let Assignment { formats, recomputed, batch, .. } = assignment;
    let graph = training.stored_in(formats);
    smallest(&graph, &rewritten(&graph, lowering)?, recomputed, *batch, lowering, &Footprint::total)
}

/// The same with every tensor stored as the graph says, and none recomputed.
pub(crate) fn build_stored(graph: &Graph, batch: usize, lowering: Lowering) -> Result<Built, CompileError> {
    smallest(graph, &rewritten(graph, lowering)?, &[], batch, lowering, &Footprint::total)
}

/// The same, where the graph was rewritten before and `bytes` says what counts, which grows with what a program takes.
///
/// Computing in passing takes scratch memory: in small networks more than it saves.
pub(crate) fn smallest(
    graph: &Graph,
    rewritten: &Graph,
    recomputed: &[TrainingId],
    batch: usize,
    lowering: Lowering,
    bytes: &dyn Fn(&Footprint) -> usize,
) -> Result<Built, CompileError> {
    let threads = lowering.threads;
    let (first, others) = lowering.forms();
    let mut smallest = in_form(rewritten, recomputed, batch, lowering, first)?;
    let mut least = Footprint::predicted(&smallest.program, threads);
    if threads > 0 && least.scratch.saturating_mul(LITTLE) < least.total() {
        return Ok(smallest);
    }
    for &form in others {
        if form == Form::Stored && !smallest.derives() {
            continue;
        }
        let graph = if form == Form::Plain { graph } else { rewritten };
        let selected = Selected::new(graph, recomputed, batch, lowering, form)?;
        // No places make this form smaller, so that they need not be searched for.
        if bytes(&selected.at_least(least.kept, threads)) >= bytes(&least) {
            continue;
        }
        let other = selected.placed()?;
        let footprint = Footprint::predicted(&other.program, threads);
        if bytes(&footprint) < bytes(&least) {
            (smallest, least) = (other, footprint);
        }
    }
    Ok(smallest)
}

/// A program of one form, from the graph that was rewritten for it: the passes behind rewriting, one by one.
pub(crate) fn in_form(
    rewritten: &Graph,
    recomputed: &[TrainingId],
    batch: usize,
    lowering: Lowering,
    form: Form,
) -> Result<Built, CompileError> {
    Selected::new(rewritten, recomputed, batch, lowering, form)?.placed()
}

/// Bytes of scratch memory of a program of one form.
pub(crate) fn scratch(rewritten: &Graph, batch: usize, lowering: Lowering, form: Form) -> Result<usize, CompileError> {
    Ok(Selected::new(rewritten, &[], batch, lowering, form)?.scratch(lowering.threads))
}

/// The steps of one form and their kernels, whose tensors have no places yet.
struct Selected {
    graph: Graph,
    steps: Vec<Vec<NodeId>>,
    kernels: Vec<Kernel>,
    setting: Setting,
    form: Form,
    machine: Machine,
}

impl Selected {
    fn new(
        rewritten: &Graph,
        recomputed: &[TrainingId],
        batch: usize,
        lowering: Lowering,
        form: Form,
    ) -> Result<Selected, CompileError> {
        let mut graph = derived(rewritten, batch, form, lowering.machine)?;
        if graph.ids().any(|id| recomputed.iter().any(|&again| graph.stands_for(id, again))) {
            // In the order that all formats have.
            graph = recompute(&graph, &group(&graph.exact(), batch), recomputed)?;
        }
        graph = laid_out(graph, batch, lowering.machine)?;
        let (steps, setting) = (group(&graph, batch), setting(batch, lowering));
        let kernels = kernels(&graph, &steps, &setting, lowering.machine);
        Ok(Selected { graph, steps, kernels, setting, form, machine: lowering.machine })
    }

    /// What its program takes at least, with `kept` bytes of values that stay.
    fn at_least(&self, kept: usize, threads: usize) -> Footprint {
        let workspace: Vec<usize> = self.kernels.iter().map(|kernel| kernel.workspace).collect();
        let arena = alive(&self.graph, &self.steps, &workspace, &self.setting);
        Footprint { kept, arena, scratch: self.scratch(threads) }
    }

    fn scratch(&self, threads: usize) -> usize {
        let most = self.kernels.iter().map(|kernel| kernel.scratch).max().unwrap_or(0);
        most.next_multiple_of(self.setting.alignment) * threads
    }

    fn placed(self) -> Result<Built, CompileError> {
        let Selected { graph, steps, kernels, setting, form, machine } = self;
        let (schedule, program) = place_and_lower(&graph, steps, &kernels, &setting, machine)?;
        Ok(Built { program, graph, schedule, form })
    }
}

/// The settings that sizes depend on.
pub(crate) fn setting(batch: usize, lowering: Lowering) -> Setting {
    Setting { batch, storage: lowering.storage, alignment: target(lowering.machine).alignment() }
}

/// The program of steps: select, place, lower.
pub(crate) fn made(
    graph: &Graph,
    steps: Vec<Vec<NodeId>>,
    setting: &Setting,
    machine: Machine,
) -> Result<(Schedule, Program), LowerError> {
    let kernels = kernels(graph, &steps, setting, machine);
    place_and_lower(graph, steps, &kernels, setting, machine)
}

fn kernels(graph: &Graph, steps: &[Vec<NodeId>], setting: &Setting, machine: Machine) -> Vec<Kernel> {
    select(target(machine), graph, steps, &inside(graph, steps, setting.batch), setting.batch)
}

/// The graph with the operators that keep least, or as it is.
pub(crate) fn rewritten(graph: &Graph, lowering: Lowering) -> Result<Graph, CompileError> {
    match lowering.rewrite {
        Some(rules) => Ok(rewrite(graph, rules)?),
        None => Ok(graph.clone()),
    }
}

/// The graph, in the derived form with copies of what need not be stored, in the order of computation.
pub(crate) fn derived(graph: &Graph, batch: usize, form: Form, machine: Machine) -> Result<Graph, CompileError> {
    if form != Form::Derived {
        return Ok(graph.clone());
    }
    // Steps and places go by sizes before formats are chosen.
    let (exact, target) = (graph.exact(), target(machine));
    let setting = Setting { batch, storage: Storage::Packed, alignment: target.alignment() };
    let steps = group(&exact, batch);
    let takes = |reader, position| target.takes(&exact, reader, position);
    Ok(derive(graph, &steps, &derivable(&exact, &steps, &setting, &takes))?)
}

/// The graph with the elements of its tensors in the order that the machine's kernels take.
pub(crate) fn laid_out(graph: Graph, batch: usize, machine: Machine) -> Result<Graph, CompileError> {
    match target(machine).takes_channels_last() {
        true => Ok(lay_out(&graph, &group(&graph, batch))?),
        false => Ok(graph),
    }
}

/// The memory that every node's kernel needs if the node is a step of its own.
pub(crate) fn needs(graph: &Graph, batch: usize, machine: Machine) -> Vec<Needs> {
    let (stored, target) = (vec![false; graph.len()], target(machine));
    let needs = |id| Group::new(graph, &[id], &stored, batch).members.first().map(|member| target.needs(member));
    graph.ids().map(|id| needs(id).unwrap_or_default()).collect()
}

/// A node of a graph in words: its operator with its name, or its number in the training graph and whose gradient it is.
pub(crate) fn described(training: &Graph, graph: &Graph, id: NodeId) -> String {
    let gradient = |id: NodeId| match training.node(id).role {
        Role::OutputGradient { of } | Role::ParameterGradient { of } => Some(&training.node(of).name),
        Role::Internal | Role::Output | Role::Parameter => None,
    };
    let Node { op, name, .. } = graph.node(id);
    match (name.as_str(), graph.origin(id)) {
        ("", Some(id)) => match gradient(id.node()).filter(|name| !name.is_empty()) {
            Some(of) => format!("{} {id} (gradient of `{of}`)", op.name()),
            None => format!("{} {id}", op.name()),
        },
        ("", None) => op.name().to_string(),
        (name, _) => format!("{} `{name}`", op.name()),
    }
}

/// The operators of a step, in words.
pub(crate) fn computes(training: &Graph, graph: &Graph, step: &Step) -> String {
    step.nodes.iter().map(|&id| described(training, graph, id)).collect::<Vec<_>>().join(" and ")
}

/// Whether a step computes nothing, so that it is no instruction that counts.
pub(crate) fn is_view(schedule: &Schedule, step: &Step) -> bool {
    step.nodes.iter().all(|id| schedule.places[id.index()] == Some(Place::Alias))
}
