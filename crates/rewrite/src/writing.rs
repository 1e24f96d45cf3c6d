//! A graph written anew from another one, some of its nodes several times.

use bitbudget_ir::{Graph, GraphError, NodeId, Reason, Role};

/// Where a node of a graph with copies comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node of the graph that was given.
    pub node: NodeId,
    /// Whether its overflows are counted elsewhere: it is computed for the second time, say.
    pub again: bool,
}

/// A graph that computes some tensors several times.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The graph, in the order in which its nodes shall be computed; a copy is stored as its original.
    pub graph: Graph,
    /// Where each node comes from.
    pub origins: Vec<Origin>,
}

/// A graph on its way from another one.
pub(crate) struct Writing<'a> {
    pub(crate) source: &'a Graph,
    result: Copied,
    /// The new id of each node.
    pub(crate) renamed: Vec<Option<NodeId>>,
    /// The first that was written of each node, itself or a copy.
    first: Vec<Option<NodeId>>,
}

impl<'a> Writing<'a> {
    /// The graph's sources, as far as something needs them and `steps` do not compute them.
    pub(crate) fn begin(source: &'a Graph, steps: &[Vec<NodeId>]) -> Result<Writing<'a>, GraphError> {
        let mut writing = Writing {
            source,
            result: Copied { graph: Graph::new(source.name()), origins: Vec::new() },
            renamed: vec![None; source.len()],
            first: vec![None; source.len()],
        };
        let mut listed = vec![false; source.len()];
        steps.iter().flatten().for_each(|id| listed[id.index()] = true);
        let live = source.live();
        for id in source.ids().filter(|id| live[id.index()] && !listed[id.index()]) {
            writing.write(id, &[])?;
        }
        Ok(writing)
    }

    /// The new id of a node that `reader` reads.
    pub(crate) fn original(&self, id: NodeId, reader: NodeId) -> Result<NodeId, GraphError> {
        let missing = || {
            let reason = Reason::new(format!("operand {id} comes after it in the order"));
            GraphError::new(self.source.op(reader).name(), &self.source.node(reader).name, &[], reason)
        };
        self.renamed[id.index()].ok_or_else(missing)
    }

    /// Writes a node itself.
    pub(crate) fn write(&mut self, id: NodeId, operands: &[NodeId]) -> Result<(), GraphError> {
        self.renamed[id.index()] = Some(self.copy(id, operands, false)?);
        Ok(())
    }

    /// Writes a copy of a node.
    pub(crate) fn copy(&mut self, id: NodeId, operands: &[NodeId], again: bool) -> Result<NodeId, GraphError> {
        let node = self.source.node(id);
        let new = match node.op.source_name() {
            Some(_) => self.result.graph.source(node.op.clone(), node.ty.clone()),
            None => self.result.graph.add_named(node.op.clone(), operands, &node.name)?,
        };
        self.result.graph.set_role(new, self.role(node.role));
        self.result.graph.set_format(new, node.stored.format);
        self.result.origins.push(Origin { node: id, again });
        self.first[id.index()].get_or_insert(new);
        Ok(new)
    }

    /// A role in the new graph's ids. What is named stands before its gradient.
    fn role(&self, role: Role) -> Role {
        match role {
            Role::OutputGradient { of } => {
                self.first[of.index()].map_or(Role::Internal, |of| Role::OutputGradient { of })
            }
            Role::ParameterGradient { of } => {
                self.first[of.index()].map_or(Role::Internal, |of| Role::ParameterGradient { of })
            }
            role => role,
        }
    }

    /// The graph with outputs and updates.
    pub(crate) fn finish(mut self) -> Result<Copied, GraphError> {
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
