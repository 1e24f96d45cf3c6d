//! The FP32 step that the search for an assignment goes by, and the bytes of a built step.

use crate::build::{Form, build, build_stored, derived, described, laid_out, needs, rewritten, scratch, setting};
use crate::{CompileError, Lowering};
use bitbudget_budget::{Failure, Fp32, Fp32Step, Taken, Where};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, Role, Stage, TrainingId};
use bitbudget_precision::Assignment;
use bitbudget_program::Footprint;
use bitbudget_rewrite::Rules;
use bitbudget_schedule::{Place, Schedule, plan};
use bitbudget_select::{Needs, alone, target};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The FP32 step of a training graph at a batch, made when it is first asked for, and again only for another lowering.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Option<(Lowering, Arc<Fp32>)>);

impl Kept {
    /// The step.
    ///
    /// # Errors
    /// If the graph cannot be rewritten or lowered.
    pub(crate) fn step(
        &mut self,
        training: &Graph,
        batch: usize,
        lowering: Lowering,
    ) -> Result<Arc<Fp32>, CompileError> {
        if let Some((_, step)) = self.0.as_ref().filter(|(of, _)| *of == lowering) {
            return Ok(step.clone());
        }
        let step = Arc::new(fp32(training, batch, lowering)?);
        self.0 = Some((lowering, step.clone()));
        Ok(step)
    }
}

/// The FP32 step in the form that its program has, and where that stores what can be computed in passing, in the other forms.
fn fp32(training: &Graph, batch: usize, lowering: Lowering) -> Result<Fp32, CompileError> {
    let variants = variants(training, batch, lowering)?;
    let form = variants[0].form;
    let step = in_one_form(training, &variants, batch, lowering, form)?;
    let other = |&other: &Form| form != Form::Derived && other != form;
    let others = lowering.all_forms().filter(other);
    let others = others.map(|form| in_one_form(training, &variants, batch, lowering, form));
    let others = others.collect::<Result<_, _>>()?;
    let base = match lowering.rewrite {
        Some(Rules::Exact) => variants[0].taken.total(),
        _ => base(training, batch, lowering)?,
    };
    Ok(Fp32 { step, others, base, seconds: alone(target(lowering.machine), training, batch) })
}

/// The training graph with all tensors in one format, but the input's, and what its program takes.
struct Variant {
    formats: (Format, Format),
    stored: Graph,
    form: Form,
    taken: Footprint,
}

/// FP32 first. Kernels need other workspace for other widths; the most of all counts.
fn variants(training: &Graph, batch: usize, lowering: Lowering) -> Result<Vec<Variant>, CompileError> {
    let (exact, low) = (Format::FP32, Format::PAPER_LOW_FORWARD);
    let variant = |(format, input)| {
        let stored = stored_in(training, format, input);
        let built = build_stored(&stored, batch, lowering)?;
        let taken = Footprint::predicted(&built.program, lowering.threads);
        Ok(Variant { formats: (format, input), stored, form: built.form, taken })
    };
    [(exact, exact), (Format::PAPER_HIGH, exact), (low, exact), (low, low)].into_iter().map(variant).collect()
}

/// The peak of FP32 that a budget may be a share of: with the rules that are applied by default, whatever the lowering's are.
///
/// # Errors
/// If it cannot be lowered.
pub(crate) fn base(training: &Graph, batch: usize, lowering: Lowering) -> Result<usize, CompileError> {
    let lowering = Lowering { rewrite: Some(Rules::Exact), ..lowering };
    Ok(build_stored(&training.exact(), batch, lowering)?.bytes(lowering.threads))
}

/// The bytes of a training step under an assignment.
///
/// # Errors
/// If it cannot be lowered.
pub(crate) fn taken(training: &Graph, assignment: &Assignment, lowering: Lowering) -> Result<Taken, Failure> {
    let built = build(training, assignment, lowering)?;
    let (peak, memory) = (built.bytes(lowering.threads), &built.schedule.peak);
    Ok(Taken { peak, kernels: peak - memory.total() + memory.workspace })
}

/// What a training step depends on: formats, and what is recomputed.
type Choices = (Vec<Format>, Vec<TrainingId>);

/// Says what training steps take under assignments; what was asked before is not built again.
pub(crate) struct Remembered<'a> {
    training: &'a Graph,
    lowering: Lowering,
    known: Mutex<HashMap<Choices, Taken>>,
}

impl<'a> Remembered<'a> {
    pub(crate) fn new(training: &'a Graph, lowering: Lowering) -> Remembered<'a> {
        Remembered { training, lowering, known: Mutex::default() }
    }

    /// The bytes of a training step under an assignment.
    ///
    /// # Errors
    /// If it cannot be lowered.
    pub(crate) fn taken(&self, assignment: &Assignment) -> Result<Taken, Failure> {
        let key = (assignment.formats.clone(), assignment.recomputed.clone());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&taken) = known().get(&key) {
            return Ok(taken);
        }
        let taken = taken(self.training, assignment, self.lowering)?;
        known().insert(key, taken);
        Ok(taken)
    }
}

/// The peak in bytes of an assignment's training step.
///
/// # Errors
/// If it cannot be lowered.
pub(crate) fn bytes(training: &Graph, assignment: &Assignment, lowering: Lowering) -> Result<usize, CompileError> {
    Ok(build(training, assignment, lowering)?.bytes(lowering.threads))
}

/// The FP32 step in one form.
fn in_one_form(
    training: &Graph,
    variants: &[Variant],
    batch: usize,
    lowering: Lowering,
    form: Form,
) -> Result<Fp32Step, CompileError> {
    let rewritten_for = |graph: &Graph| match form {
        Form::Plain => Ok(graph.clone()),
        Form::Stored | Form::Derived => rewritten(graph, lowering),
    };
    let graph = derived(&rewritten_for(&training.exact())?, batch, form, lowering.machine)?;
    let graph = laid_out(graph, batch, lowering.machine)?;
    let setting = setting(batch, lowering);
    let schedule = plan(&graph, &setting);
    let (mut most, mut least) = (vec![0; graph.len()], vec![usize::MAX; graph.len()]);
    let mut scratch_least = vec![usize::MAX; graph.len()];
    let (mut beside, mut kept) = (0, usize::MAX);
    let mut beside_least_in_form = usize::MAX;
    for Variant { formats: (format, input), stored: original, form: built, taken } in variants {
        let stored = stored_in(&graph, *format, *input);
        for (at, Needs { workspace, scratch }) in needs(&stored, batch, lowering.machine).into_iter().enumerate() {
            (most[at], least[at]) = (workspace.max(most[at]), workspace.min(least[at]));
            scratch_least[at] = scratch.min(scratch_least[at]);
        }
        beside = beside.max(taken.kept + taken.scratch);
        let scratch = match *built == form {
            true => taken.scratch,
            false => scratch(&rewritten_for(original)?, batch, lowering, form)?,
        };
        beside_least_in_form = beside_least_in_form.min(taken.kept + scratch);
        kept = kept.min(taken.kept);
    }
    let computed = schedule.steps.iter().flat_map(|step| &step.nodes);
    let scratch = computed.map(|id| scratch_least[id.index()]).max().unwrap_or(0);
    let beside_least = kept + scratch * lowering.threads;
    let of_step = |nodes: &Vec<NodeId>, needs: &[usize]| {
        let most = nodes.iter().map(|id| needs[id.index()]).max().unwrap_or(0);
        most.next_multiple_of(setting.alignment)
    };
    let places = places(&graph, &schedule);
    let replaced = replaced(&graph, &schedule);
    let steps: Vec<Vec<NodeId>> = schedule.steps.into_iter().map(|step| step.nodes).collect();
    let workspace = steps.iter().map(|nodes| of_step(nodes, &most)).collect();
    let workspace_least = steps.iter().map(|nodes| of_step(nodes, &least)).collect();
    let described = |&id: &NodeId| described(training, &graph, id);
    let in_words = |nodes: &Vec<NodeId>| nodes.iter().take(2).map(described).collect::<Vec<_>>().join(" and ");
    Ok(Fp32Step {
        computes: steps.iter().map(in_words).collect(),
        graph,
        steps,
        places,
        replaced,
        workspace,
        workspace_least,
        beside,
        beside_least_in_form,
        beside_least,
        kept,
        peak: variants[0].taken.total(),
        alignment: setting.alignment,
    })
}

/// A graph whose tensors are all in `format`, but for the network's input and what is internal.
fn stored_in(graph: &Graph, format: Format, input: Format) -> Graph {
    let of = |id: NodeId| match graph.node(id).role {
        Role::Internal => Format::FP32,
        _ if graph.node(id).is_numeric_input() => input,
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
