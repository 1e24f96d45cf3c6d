//! Why a graph cannot be lowered.

use bitbudget_ir::{Graph, NodeId};
use bitbudget_program::ProgramError;

/// The kinds of [`LowerError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The batch size is zero.
    Batch,
    /// A tensor has no elements, so that nothing can be learned from it.
    Empty,
    /// A tensor would not fit into any memory.
    Size,
    /// The program would compute something else than the graph, which is a fault of the compiler.
    Program,
}

/// Why a graph cannot be lowered, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {help}")]
pub struct LowerError {
    kind: ErrorKind,
    place: String,
    reason: String,
    help: &'static str,
    source: Option<ProgramError>,
}

impl LowerError {
    pub(crate) fn batch() -> LowerError {
        let (place, reason) = ("the batch size".to_string(), "the batch size is 0".to_string());
        LowerError { kind: ErrorKind::Batch, place, reason, help: "it must be at least 1", source: None }
    }

    pub(crate) fn empty(graph: &Graph, id: NodeId) -> LowerError {
        let reason = format!("{} has a dimension of size zero", tensor(graph, id));
        let help = "change the network or its input's shape";
        LowerError { kind: ErrorKind::Empty, place: place(graph, id), reason, help, source: None }
    }

    pub(crate) fn size(graph: &Graph, id: NodeId, batch: usize) -> LowerError {
        let reason = format!("{} is too large at batch {batch}", tensor(graph, id));
        LowerError { kind: ErrorKind::Size, place: place(graph, id), reason, help: "use a smaller batch", source: None }
    }

    pub(crate) fn program(graph: &Graph, error: ProgramError) -> LowerError {
        let reason = format!("the compiled program is wrong, which is a fault in bitbudget: {error}");
        let (place, help) = (format!("graph `{}`", graph.name()), "please report it with the network");
        LowerError { kind: ErrorKind::Program, place, reason, help, source: Some(error) }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: the node with its operator, the graph, or the batch size.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The fault.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Advice.
    pub fn help(&self) -> &str {
        self.help
    }
}

/// A node's result with its shape.
fn tensor(graph: &Graph, id: NodeId) -> String {
    format!("tensor `{}` of shape {}", name(graph, id), graph.ty(id).shape)
}

/// A node with its operator.
fn place(graph: &Graph, id: NodeId) -> String {
    format!("{} `{}`", graph.op(id).name(), name(graph, id))
}

fn name(graph: &Graph, id: NodeId) -> String {
    let name = &graph.node(id).name;
    if name.is_empty() { id.to_string() } else { name.clone() }
}
