//! A copy of a graph in which some nodes stand several times.

use bitbudget_ir::ops::Transpose;
use bitbudget_ir::{Graph, GraphError, Layout, NodeId, Origin, Reason, Role, Stage};

/// A graph on its way from another one.
pub(crate) struct Writing<'a> {
    pub(crate) source: &'a Graph,
    /// In the order in which nodes shall be computed; a copy is stored as its original.
    result: Graph,
    /// The new id of each node.
    pub(crate) renamed: Vec<Option<NodeId>>,
    /// The first that was written of each node, itself or a copy.
    first: Vec<Option<NodeId>>,
}

impl<'a> Writing<'a> {
    /// The graph's sources, as far as something needs them and `steps` do not compute them.
    pub(crate) fn begin(source: &'a Graph, steps: &[Vec<NodeId>]) -> Result<Writing<'a>, GraphError> {
        let mut result = Graph::new(source.name());
        result.set_stage(Stage::Ordered);
        let mut writing =
            Writing { source, result, renamed: vec![None; source.len()], first: vec![None; source.len()] };
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
        self.renamed[id.index()] = Some(self.copy(id, operands, self.source.node(id).origin.clone())?);
        Ok(())
    }

    /// Writes a node once more, computed in another way.
    pub(crate) fn copy(&mut self, id: NodeId, operands: &[NodeId], origin: Origin) -> Result<NodeId, GraphError> {
        let node = self.source.node(id);
        let new = match node.op.source_name() {
            Some(_) => self.result.source(node.op.clone(), node.ty.clone()),
            None => self.result.add_named(node.op.clone(), operands, &node.name)?,
        };
        self.result.set_role(new, self.role(node.role));
        self.result.set_format(new, node.stored.format);
        self.result.set_layout(new, node.stored.layout);
        self.result.set_origin(new, origin);
        self.first[id.index()].get_or_insert(new);
        Ok(new)
    }

    /// Writes a copy of a node's result in another order: a transposition that permutes no axis.
    pub(crate) fn moved(&mut self, id: NodeId, written: NodeId, layout: Layout) -> Result<NodeId, GraphError> {
        let node = self.source.node(id);
        let perm = (0..node.ty.shape.rank()).collect();
        let new = self.result.add_named(Transpose { perm }, &[written], &node.name)?;
        self.result.set_format(new, node.stored.format);
        self.result.set_layout(new, layout);
        self.result.set_origin(new, Origin { uncounted: true, ..Origin::default() });
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
    pub(crate) fn finish(mut self) -> Result<Graph, GraphError> {
        for (name, id) in self.source.outputs() {
            let id = self.original(*id, *id)?;
            self.result.set_output(name.clone(), id);
        }
        for &(target, value) in self.source.updates() {
            let (target, value) = (self.original(target, value)?, self.original(value, value)?);
            self.result.add_update(target, value);
        }
        Ok(self.result)
    }
}
