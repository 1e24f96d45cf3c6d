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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    op: &'static str,
    name: String,
    operands: String,
    reason: Reason,
}

impl GraphError {
    /// A fault of operator `op` at node `name` with the given operand types.
    pub fn new(op: &'static str, name: &str, operands: &[String], reason: Reason) -> GraphError {
        GraphError { op, name: name.to_string(), operands: operands.join(", "), reason }
    }

    /// The operator and its node's name.
    pub fn place(&self) -> String {
        match self.name.as_str() {
            "" => self.op.to_string(),
            name => format!("{} `{name}`", self.op),
        }
    }

    /// The reason alone, without the place.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operands.as_str() {
            "" => write!(f, "{}: {}", self.place(), self.reason),
            operands => write!(f, "{} on ({operands}): {}", self.place(), self.reason),
        }
    }
}

impl std::error::Error for GraphError {}

impl From<GraphError> for Reason {
    fn from(error: GraphError) -> Reason {
        Reason(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{GraphError, Reason};

    #[test]
    fn a_fault_names_what_there_is() {
        let fault = |name: &str, operands: &[&str]| {
            let operands: Vec<String> = operands.iter().map(|text| text.to_string()).collect();
            GraphError::new("graph", name, &operands, Reason::new("has no loss")).to_string()
        };
        assert_eq!(fault("", &[]), "graph: has no loss");
        assert_eq!(fault("net", &[]), "graph `net`: has no loss");
        assert_eq!(fault("net", &["f32[N]", "f32[2]"]), "graph `net` on (f32[N], f32[2]): has no loss");
    }
}
