//! Turns a graph, the formats of its tensors and a schedule into a program.
//!
//! Values and gradients keep their meaning: parameters and outputs saturate, gradients become not finite. Kept tensors are
//! replaced by renaming, as soon as nothing reads the old value any more. This crate knows nothing of devices.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::Graph;
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = relu(%0) : f32[N,4] output "relu"
//!   return "y" = %1
//! }"#.parse()?;
//! let formats = [Format::FP32, Format::PAPER_HIGH];
//! let schedule = bitbudget_schedule::plan(&graph, &formats);
//! let program = bitbudget_lower::lower(&graph, &formats, &schedule, 8)?;
//! assert!(program.to_string().contains(r#"b1 = relu(b0) : 1-6-9[8, 4] "relu" saturate counted %1"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::{Graph, NodeId, Op, Precision, Role};
use bitbudget_program::{Buffer, BufferId, Instruction, Program, Rounding, Source};
use bitbudget_schedule::{Schedule, is_alias, storage};

/// Why a graph cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The formats are not one per node.
    #[error("{formats} formats for {nodes} nodes")]
    Formats {
        /// Formats given.
        formats: usize,
        /// Nodes in the graph.
        nodes: usize,
    },
    /// The batch size is zero.
    #[error("the batch size must be at least 1")]
    Batch,
    /// A tensor has no elements, so that nothing can be learned from it.
    #[error("tensor `{name}` of shape {shape} has a dimension of size zero; change the network or its input's shape")]
    Empty {
        /// The tensor.
        name: String,
        /// Its symbolic shape.
        shape: String,
    },
    /// A tensor of the program would not fit into memory.
    #[error("tensor `{name}` of shape {shape} is too large at batch {batch}; use a smaller batch")]
    Size {
        /// The tensor.
        name: String,
        /// Its symbolic shape.
        shape: String,
        /// The batch size.
        batch: usize,
    },
}

/// The largest tensor in elements: a terabyte of FP32.
const MAX_ELEMENTS: usize = 1 << 38;

/// The program of `graph` at `batch` examples, each tensor stored in its format (by node id), in the schedule's order.
///
/// # Errors
/// If the formats are not one per node, a tensor is empty, or the batch size is zero or too large.
pub fn lower(graph: &Graph, formats: &[Format], schedule: &Schedule, batch: usize) -> Result<Program, LowerError> {
    if formats.len() != graph.len() {
        return Err(LowerError::Formats { formats: formats.len(), nodes: graph.len() });
    }
    if batch == 0 {
        return Err(LowerError::Batch);
    }
    let buffers: Result<Vec<Buffer>, LowerError> = graph.ids().map(|id| buffer(graph, formats, id, batch)).collect();
    let mut buffers = buffers?;
    let stores = stores(graph, formats, schedule);
    let mut instructions = Vec::new();
    for (position, step) in schedule.steps.iter().enumerate() {
        let id = step.node;
        let output = BufferId(id.0);
        let inputs: Vec<BufferId> = graph.operands(id).iter().map(|o| BufferId(o.0)).collect();
        if is_alias(graph, formats, id) {
            instructions.extend(inputs.first().map(|&input| Instruction::View { input, output }));
        } else if graph.op(id).source_name().is_none() {
            let rounding = rounding(graph, formats, id);
            instructions.push(Instruction::Compute { op: graph.op(id).at(batch), inputs, output, rounding });
        } else if let (Some(rounding), Op::Input(_)) = (rounding(graph, formats, id), graph.op(id)) {
            // The batch comes in FP32; its rounded form is a buffer of its own.
            let raw = BufferId(buffers.len() as u32);
            buffers.push(Buffer { format: Format::FP32, ..buffers[id.index()].clone() });
            buffers[id.index()].source = Source::None;
            let op = bitbudget_ir::ops::Cast {}.into();
            instructions.push(Instruction::Compute { op, inputs: vec![raw], output, rounding: Some(rounding) });
        }
        instructions.extend(step.ends.iter().map(|end| Instruction::Free { buffer: BufferId(end.0) }));
        let due = stores.iter().filter(|store| store.after == position);
        instructions
            .extend(due.map(|s| Instruction::Store { value: BufferId(s.value.0), target: BufferId(s.target.0) }));
    }
    let outputs = graph.outputs().iter().map(|(name, id)| (name.clone(), BufferId(id.0))).collect();
    Ok(Program { batch, buffers, instructions, outputs })
}

fn buffer(graph: &Graph, formats: &[Format], id: NodeId, batch: usize) -> Result<Buffer, LowerError> {
    let node = graph.node(id);
    let source = match &node.op {
        Op::Input(_) => Source::Input,
        Op::Label(_) => Source::Label,
        Op::Scalar(op) => Source::Scalar(op.kind),
        Op::Parameter(_) | Op::State(_) => Source::Kept,
        Op::Constant(_) => Source::Constant,
        _ => Source::None,
    };
    let (name, shape) = (node.name.clone(), node.ty.shape.to_string());
    match node.ty.shape.elements(batch) {
        0 => return Err(LowerError::Empty { name, shape }),
        1..=MAX_ELEMENTS => {}
        _ => return Err(LowerError::Size { name, shape, batch }),
    }
    let format = formats[storage(graph, formats, id).index()];
    Ok(Buffer { name: node.name.clone(), shape: node.ty.shape.at(batch), dtype: node.ty.dtype, format, source })
}

/// How a node's result is rounded: not at all where it only relabels, for its operand's numbers are of the format.
fn rounding(graph: &Graph, formats: &[Format], id: NodeId) -> Option<Rounding> {
    if formats[id.index()] == Format::FP32 || graph.op(id).precision() == Precision::Relabel {
        return None;
    }
    Some(match graph.node(id).role {
        Role::OutputGradient { .. } | Role::ParameterGradient { .. } => {
            Rounding { overflow: Overflow::NotFinite, counted: None }
        }
        Role::Output | Role::Parameter | Role::Internal => {
            Rounding { overflow: Overflow::Saturate, counted: Some(id.0) }
        }
    })
}

/// A kept tensor's replacement and the step after which it is due.
struct Store {
    target: NodeId,
    value: NodeId,
    after: usize,
}

/// A kept tensor is replaced when its new value is there and the old one was read for the last time.
fn stores(graph: &Graph, formats: &[Format], schedule: &Schedule) -> Vec<Store> {
    let mut last = vec![0; graph.len()];
    for (position, step) in schedule.steps.iter().enumerate() {
        last[storage(graph, formats, step.node).index()] = position;
        for operand in graph.operands(step.node) {
            last[storage(graph, formats, operand).index()] = position;
        }
    }
    let replaced = |&(target, value): &(NodeId, NodeId)| {
        let value = storage(graph, formats, value);
        let after = last[target.index()].max(last[value.index()]);
        Store { target, value, after }
    };
    graph.updates().iter().map(replaced).collect()
}
