//! Tensors that the backward pass computes again.

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, GraphError, NodeId, Op, Role};

/// Where a node of a graph with recomputed tensors comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node of the graph that was given.
    pub node: NodeId,
    /// Whether it is computed for the second time.
    pub again: bool,
}

/// A training graph that computes some tensors a second time.
#[derive(Clone, Debug)]
pub struct Recomputed {
    /// The graph, in the order in which its nodes shall be computed.
    pub graph: Graph,
    /// The formats of its nodes; a copy has that of its original.
    pub formats: Vec<Format>,
    /// Where each node comes from.
    pub origins: Vec<Origin>,
}

/// The training graph in which the backward pass reads copies of the nodes in `again`, computed just before it needs them.
///
/// `steps` hold the nodes that are computed, operands first; copies come before the step that needs them. Copies read copies
/// where their operands are in `again` too, so a tensor is computed again at most once. Copies give the same bits.
///
/// # Errors
/// If `steps` are none of the graph.
pub fn recompute(
    graph: &Graph,
    formats: &[Format],
    steps: &[Vec<NodeId>],
    again: &[NodeId],
) -> Result<Recomputed, GraphError> {
    let mut marked = vec![false; graph.len()];
    again.iter().for_each(|id| marked[id.index()] = true);
    // What only shows a recomputed tensor is shown anew.
    for id in graph.ids().filter(|&id| matches!(graph.op(id), Op::Reshape(_))) {
        marked[id.index()] |= graph.operands(id).first().is_some_and(|operand| marked[operand.index()]);
    }
    let mut copying = Copying {
        source: graph,
        formats,
        again: marked,
        result: Recomputed { graph: Graph::new(graph.name()), formats: Vec::new(), origins: Vec::new() },
        renamed: vec![None; graph.len()],
        copies: vec![None; graph.len()],
    };
    let backward = graph.backward();
    let mut listed = vec![false; graph.len()];
    steps.iter().flatten().for_each(|id| listed[id.index()] = true);
    let live = graph.live();
    let sources = graph.ids().filter(|id| live[id.index()] && !listed[id.index()]);
    for id in sources {
        copying.renamed[id.index()] = Some(copying.emit(id, &[], false)?);
    }
    for step in steps {
        if step.iter().all(|id| backward[id.index()]) {
            for operand in step.iter().flat_map(|&id| graph.operands(id)) {
                if copying.again[operand.index()] {
                    copying.copy(operand)?;
                }
            }
        }
        for &id in step {
            let mut operands = Vec::new();
            for operand in graph.operands(id) {
                let copied = backward[id.index()] && copying.again[operand.index()];
                operands.push(if copied { copying.copy(operand)? } else { copying.original(operand, id)? });
            }
            copying.renamed[id.index()] = Some(copying.emit(id, &operands, false)?);
        }
    }
    copying.finish()
}

struct Copying<'a> {
    source: &'a Graph,
    formats: &'a [Format],
    again: Vec<bool>,
    result: Recomputed,
    /// The new id of each node, and that of its copy.
    renamed: Vec<Option<NodeId>>,
    copies: Vec<Option<NodeId>>,
}

impl Copying<'_> {
    fn original(&self, id: NodeId, reader: NodeId) -> Result<NodeId, GraphError> {
        let missing = || {
            let reason = bitbudget_ir::Reason::new(format!("operand {id} comes after it in the order"));
            GraphError::new(self.source.op(reader).name(), &self.source.node(reader).name, &[], reason)
        };
        self.renamed[id.index()].ok_or_else(missing)
    }

    fn copy(&mut self, id: NodeId) -> Result<NodeId, GraphError> {
        if let Some(copy) = self.copies[id.index()] {
            return Ok(copy);
        }
        let mut operands = Vec::new();
        for operand in self.source.operands(id) {
            let copied = self.again[operand.index()];
            operands.push(if copied { self.copy(operand)? } else { self.original(operand, id)? });
        }
        let copy = self.emit(id, &operands, true)?;
        self.copies[id.index()] = Some(copy);
        Ok(copy)
    }

    fn emit(&mut self, id: NodeId, operands: &[NodeId], again: bool) -> Result<NodeId, GraphError> {
        let node = self.source.node(id);
        let new = match node.op.source_name() {
            Some(_) => self.result.graph.source(node.op.clone(), node.ty.clone()),
            None => self.result.graph.add_named(node.op.clone(), operands, &node.name)?,
        };
        self.result.graph.set_role(new, self.role(node.role));
        self.result.formats.push(self.formats[id.index()]);
        self.result.origins.push(Origin { node: id, again });
        Ok(new)
    }

    /// A role in the new graph's ids. What is named stands before its gradient.
    fn role(&self, role: Role) -> Role {
        match role {
            Role::OutputGradient { of } => {
                self.renamed[of.index()].map_or(Role::Internal, |of| Role::OutputGradient { of })
            }
            Role::ParameterGradient { of } => {
                self.renamed[of.index()].map_or(Role::Internal, |of| Role::ParameterGradient { of })
            }
            role => role,
        }
    }

    fn finish(mut self) -> Result<Recomputed, GraphError> {
        for (name, id) in self.source.outputs() {
            let id = self.original(*id, *id)?;
            self.result.graph.set_output(name.clone(), id);
        }
        for &(target, value) in self.source.updates() {
            let (target, value) = (self.original(target, value)?, self.original(value, value)?);
            self.result.graph.add_update(target, value);
        }
        Ok(self.result)
    }
}
