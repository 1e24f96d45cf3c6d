//! Turns a graph and its schedule into a program.
//!
//! Values and gradients keep their meaning: parameters and outputs saturate, gradients become not finite. Kept tensors are
//! replaced in place where the schedule says so, else by a copy as soon as nothing reads the old value any more. This crate
//! knows nothing of devices.
//!
//! ```
//! use bitbudget_ir::Graph;
//! use bitbudget_program::{Family, Kernel, Machine, Role};
//! use bitbudget_schedule::{Setting, Storage, plan};
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = relu(%0) : f32[N,4] output "relu" in 1-6-9
//!   return "y" = %1
//! }"#.parse()?;
//! let setting = Setting { batch: 8, storage: Storage::Packed, alignment: 64 };
//! let schedule = plan(&graph, &setting);
//! let relu = Kernel { family: Family::Elementwise, roles: vec![Role::Head], workspace: 0, scratch: 0 };
//! let program = bitbudget_lower::lower(&graph, &schedule, &vec![relu; schedule.steps.len()], &setting, Machine::Cpu)?;
//! assert!(program.to_string().contains(r#"b1 = relu(b0) : 1-6-9[8, 4]@0 "relu" saturate counted %1 kernel elementwise"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod masks;

use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{Graph, Layout, NodeId, Op, Stored};
use bitbudget_program::{Buffer, BufferId, Instruction, Kernel, Machine, Part, Program, Rounding, Source};
use bitbudget_schedule::{Place, Schedule, Setting, Step, Storage, place};

pub use error::{ErrorKind, LowerError};

/// The largest tensor in elements: a terabyte of FP32.
const MAX_ELEMENTS: usize = 1 << 38;

/// The program of steps that these kernels compute, with the schedule that has room for what they need.
///
/// # Errors
/// As for [`lower`].
pub fn place_and_lower(
    graph: &Graph,
    steps: Vec<Vec<NodeId>>,
    kernels: &[Kernel],
    setting: &Setting,
    machine: Machine,
) -> Result<(Schedule, Program), LowerError> {
    let workspace: Vec<usize> = kernels.iter().map(|kernel| kernel.workspace).collect();
    let schedule = place(graph, steps, &workspace, setting);
    let program = lower(graph, &schedule, kernels, setting, machine)?;
    Ok((schedule, program))
}

/// The program of `graph`, each tensor stored in its format, in the schedule's order and places, which were made of the
/// same graph with the same setting; `kernels` of the machine compute its steps.
///
/// # Errors
/// If a tensor is empty, the batch size is zero or too large, or the schedule is wrong.
pub fn lower(
    graph: &Graph,
    schedule: &Schedule,
    kernels: &[Kernel],
    setting: &Setting,
    machine: Machine,
) -> Result<Program, LowerError> {
    if setting.batch == 0 {
        return Err(LowerError::batch());
    }
    let buffers: Result<Vec<Buffer>, LowerError> = graph.ids().map(|id| buffer(graph, schedule, setting, id)).collect();
    let (masks, instructions) = (masks::masks(graph), Vec::new());
    let mut lowering = Lowering { graph, schedule, setting, masks, buffers: buffers?, instructions };
    let stores = stores(graph, schedule);
    for (position, (step, kernel)) in schedule.steps.iter().zip(kernels).enumerate() {
        lowering.step(step, kernel);
        let due = stores.iter().filter(|store| store.after == position);
        let due = due.map(|s| Instruction::Store { value: BufferId(s.value.0), target: BufferId(s.target.0) });
        lowering.instructions.extend(due);
    }
    let outputs = graph.outputs().iter().map(|(name, id)| (name.clone(), lowering.buffer(*id))).collect();
    let Lowering { buffers, instructions, .. } = lowering;
    let Setting { batch, alignment, .. } = *setting;
    let program = Program { machine, batch, arena: schedule.arena, alignment, buffers, instructions, outputs };
    program.check().map_err(|error| LowerError::program(graph, error))?;
    Ok(program)
}

struct Lowering<'a> {
    graph: &'a Graph,
    schedule: &'a Schedule,
    setting: &'a Setting,
    masks: Vec<bool>,
    buffers: Vec<Buffer>,
    instructions: Vec<Instruction>,
}

impl Lowering<'_> {
    /// The buffer of a node: its own, or that of the kept tensor in whose place it lies.
    fn buffer(&self, id: NodeId) -> BufferId {
        match self.schedule.places[id.index()] {
            Some(Place::Kept(target)) => BufferId(target.0),
            _ => BufferId(id.0),
        }
    }

    fn step(&mut self, step: &Step, kernel: &Kernel) {
        // What shows a result of the step comes behind it; nothing in the step reads it then.
        let (behind, nodes): (Vec<NodeId>, Vec<NodeId>) =
            step.nodes.iter().partition(|&&id| self.is_view(id) && step.nodes.contains(&self.graph.storage(id)));
        let parts: Vec<Part> = nodes.into_iter().filter_map(|id| self.part(id)).collect();
        if !parts.is_empty() {
            let (kernel, workspace) = (kernel.clone(), step.workspace);
            self.instructions.push(Instruction::Compute { parts, kernel, workspace });
        }
        behind.into_iter().for_each(|id| self.view(id));
        self.instructions.extend(step.ends.iter().map(|end| Instruction::Free { buffer: BufferId(end.0) }));
    }

    /// Whether a node becomes a view: an alias, unless it shows what only its step knows.
    fn is_view(&self, id: NodeId) -> bool {
        let storage = self.graph.storage(id);
        self.graph.is_alias(id) && self.schedule.places[storage.index()] != Some(Place::Inside)
    }

    fn view(&mut self, id: NodeId) {
        let (input, output) = (self.graph.operands(id).first().map(|&o| self.buffer(o)), self.buffer(id));
        self.instructions.extend(input.map(|input| Instruction::View { input, output }));
    }

    /// The part that computes a node, if it is no view.
    fn part(&mut self, id: NodeId) -> Option<Part> {
        if self.is_view(id) {
            self.view(id);
            return None;
        }
        let output = self.buffer(id);
        let inputs: Vec<BufferId> = self.graph.operands(id).iter().map(|&o| self.buffer(o)).collect();
        let rounding = rounding(self.graph, id, self.masks[id.index()]);
        if let Op::Input(_) = self.graph.op(id) {
            // The batch comes in FP32; its rounded form is a buffer of its own.
            let raw = BufferId(self.buffers.len() as u32);
            let layout = Layout::ROWS;
            let source = Buffer { format: Format::FP32, layout, offset: None, ..self.buffers[id.index()].clone() };
            self.buffers.push(source);
            self.buffers[id.index()].source = Source::None;
            return Some(Part { op: bitbudget_ir::ops::Cast {}.into(), inputs: vec![raw], output, rounding });
        }
        Some(Part { op: self.graph.op(id).at(self.setting.batch), inputs, output, rounding })
    }
}

fn buffer(graph: &Graph, schedule: &Schedule, setting: &Setting, id: NodeId) -> Result<Buffer, LowerError> {
    let (node, batch) = (graph.node(id), setting.batch);
    let source = match &node.op {
        Op::Input(_) => Source::Input,
        Op::Scalar(op) => Source::Scalar(op.kind),
        Op::Parameter(_) | Op::State(_) => Source::Kept,
        Op::Constant(_) => Source::Constant,
        _ => Source::None,
    };
    match node.ty.shape.elements(batch) {
        0 => return Err(LowerError::empty(graph, id)),
        1..=MAX_ELEMENTS => {}
        _ => return Err(LowerError::size(graph, id, batch)),
    }
    let format = graph.format(graph.storage(id));
    let packed = setting.storage == Storage::Packed;
    let offset = match schedule.places[id.index()] {
        Some(Place::Arena(offset)) => Some(offset),
        _ => None,
    };
    let (name, shape, dtype) = (node.name.clone(), node.ty.shape.at(batch), node.ty.dtype);
    Ok(Buffer { name, shape, dtype, format, packed, layout: graph.layout(id), source, offset })
}

/// How a node's result is rounded, and for which node of the training graph its overflows are counted.
fn rounding(graph: &Graph, id: NodeId, is_mask: bool) -> Option<Rounding> {
    let Stored { overflow, .. } = graph.rounding(id)?;
    let is_counted = overflow == Overflow::Saturate && !graph.node(id).origin.uncounted && !is_mask;
    let counted = graph.origin(id).filter(|_| is_counted);
    Some(Rounding { overflow, counted: counted.map(|origin| origin.0) })
}

/// A kept tensor's replacement and the step after which it is due.
struct Store {
    target: NodeId,
    value: NodeId,
    after: usize,
}

/// A kept tensor that is not replaced in place is when its new value is there and the old one was read for the last time.
fn stores(graph: &Graph, schedule: &Schedule) -> Vec<Store> {
    let mut last = vec![0; graph.len()];
    for (position, step) in schedule.steps.iter().enumerate() {
        for &id in &step.nodes {
            last[graph.storage(id).index()] = position;
            for &operand in graph.operands(id) {
                last[graph.storage(operand).index()] = position;
            }
        }
    }
    let replaced = |&(target, value): &(NodeId, NodeId)| {
        let value = graph.storage(value);
        let after = last[target.index()].max(last[value.index()]);
        Store { target, value, after }
    };
    let in_place = |value: NodeId| matches!(schedule.places[value.index()], Some(Place::Kept(_)));
    graph.updates().iter().filter(|&&(_, value)| !in_place(value)).map(replaced).collect()
}
