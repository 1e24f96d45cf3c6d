//! Annotations that are written into a file beside the network.

use bitbudget_ir::NodeId;
use std::collections::BTreeMap;

/// Keys and values that go with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Those of the whole model.
    pub model: Vec<(String, String)>,
    /// Those of operators, by node of the graph.
    pub nodes: BTreeMap<NodeId, Vec<(String, String)>>,
}
