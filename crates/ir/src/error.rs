//! Why a graph is wrong, and where.

use std::fmt;

/// Why an operator refuses its operands; the graph adds the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// A reason in words: what disagrees, with shapes, and what would be right.
    pub fn new(text: impl Into<String>) -> Reason {
        Reason(text.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}

/// A fault at a node of a graph: which operator, on which operand types, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} `{name}`{}: {reason}", on(operands))]
pub struct GraphError {
    op: &'static str,
    name: String,
    operands: String,
    reason: Reason,
}

/// The operand types, where there are any.
fn on(operands: &str) -> String {
    if operands.is_empty() { String::new() } else { format!(" on ({operands})") }
}

impl GraphError {
    /// A fault of operator `op` at node `name` with the given operand types.
    pub fn new(op: &'static str, name: &str, operands: &[String], reason: Reason) -> GraphError {
        GraphError { op, name: name.to_string(), operands: operands.join(", "), reason }
    }

    /// The operator and its node's name.
    pub fn place(&self) -> String {
        format!("{} `{}`", self.op, self.name)
    }

    /// The reason alone, without the place.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl From<GraphError> for Reason {
    fn from(error: GraphError) -> Reason {
        Reason(error.to_string())
    }
}
