//! The graph: nodes in execution order, operands as edges.

use crate::error::{GraphError, Reason};
use crate::facts::Facts;
use crate::layout::Layout;
use crate::ops::{Op, ScalarKind};
use crate::origin::{Origin, Stage, TrainingId};
use crate::role::{NodeId, Role};
use crate::storage::Stored;
use crate::types::{DType, Shape, TensorType};
use bitbudget_formats::Format;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::sync::Arc;

/// An operator with the type of its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operator and its attributes.
    pub op: Op,
    /// The result's type.
    pub ty: TensorType,
    /// The role of the tensor in the training step.
    pub role: Role,
    /// How the tensor is stored.
    pub stored: Stored,
    /// The nodes of the training graph that it stands for, and how it is computed.
    pub origin: Origin,
    /// Where it comes from, for people: an ONNX node's name, say; may be empty.
    pub name: String,
    /// The type of the ONNX operator that it does the work of; empty where there is none.
    pub onnx_type: String,
}

impl Node {
    /// A node whose tensor is stored in FP32, and which stands for itself once it is in a graph.
    pub(crate) fn new(op: Op, ty: TensorType, role: Role, name: String) -> Node {
        let (stored, origin) = (Stored::of(role, Format::FP32), Origin::default());
        Node { op, ty, role, stored, origin, name, onnx_type: String::new() }
    }
}

impl Node {
    /// Whether it is an input that the network reads, of numbers that may be rounded.
    pub fn is_numeric_input(&self) -> bool {
        self.ty.dtype == DType::F32 && matches!(&self.op, Op::Input(op) if !op.target)
    }

    /// Whether it is an input that the network reads.
    pub fn is_input(&self) -> bool {
        matches!(&self.op, Op::Input(op) if !op.target)
    }

    /// Whether it is the input that the loss compares the network's result with.
    pub fn is_target(&self) -> bool {
        matches!(&self.op, Op::Input(op) if op.target)
    }
}

/// A node with its operands, and the facts of its operator on them.
#[derive(Clone, Debug)]
struct Entry {
    node: Node,
    operands: Vec<NodeId>,
    facts: Arc<Facts>,
}

/// A directed acyclic graph of operators in execution order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    name: String,
    stage: Stage,
    /// An edge runs from each operand to its reader, once per position.
    graph: DiGraph<Arc<Entry>, ()>,
    outputs: Vec<(String, NodeId)>,
    updates: Vec<(NodeId, NodeId)>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// How far the graph has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Says how far the graph has come.
    pub fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The graph's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a source (an operator without operands), whose type is given.
    pub fn source(&mut self, op: impl Into<Op>, ty: TensorType) -> NodeId {
        let op = op.into();
        let name = op.source_name().unwrap_or_default().to_string();
        self.insert(Node::new(op, ty, Role::Internal, name), &[])
    }

    /// Adds an operator on `operands`; its type is inferred, its role is [`Role::Output`] and its name empty.
    ///
    /// # Errors
    /// The operator's reason, with the operand types, if they do not fit.
    pub fn add(&mut self, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, GraphError> {
        self.add_named(op, operands, "")
    }

    /// Like [`Graph::add`], with a name for people.
    ///
    /// # Errors
    /// The operator's reason, with the operand types, if they do not fit.
    pub fn add_named(&mut self, op: impl Into<Op>, operands: &[NodeId], name: &str) -> Result<NodeId, GraphError> {
        let op = op.into();
        let ty = self.infer(&op, operands, name)?;
        Ok(self.insert(Node::new(op, ty, Role::Output, name.to_string()), operands))
    }

    /// The type that `op` gives on `operands`.
    ///
    /// # Errors
    /// The operator's reason, with the operand types, if they do not fit.
    pub fn infer(&self, op: &Op, operands: &[NodeId], name: &str) -> Result<TensorType, GraphError> {
        let fault = |reason| {
            let types: Vec<String> = operands
                .iter()
                .map(|&id| if self.contains(id) { self.ty(id).to_string() } else { format!("{id}?") })
                .collect();
            GraphError::new(op.name(), name, &types, reason)
        };
        if let Some(&missing) = operands.iter().find(|&&id| !self.contains(id)) {
            return Err(fault(Reason::new(format!("operand {missing} does not stand before it"))));
        }
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.ty(id)).collect();
        op.infer(&types).map_err(fault)
    }

    /// Makes a node compute `op` on `operands`, which stand before it; its type has to stay what it is.
    ///
    /// # Errors
    /// A reason if the operands stand behind it or give another type; the node is left as it was then.
    pub fn replace(&mut self, id: NodeId, op: impl Into<Op>, operands: &[NodeId]) -> Result<(), GraphError> {
        let op = op.into();
        let ty = self.infer(&op, operands, &self.node(id).name)?;
        if ty != *self.ty(id) || operands.iter().any(|operand| *operand >= id) {
            let reason = Reason::new(format!("cannot stand for {id} of type {}", self.ty(id)));
            return Err(GraphError::new(op.name(), &id.to_string(), &[ty.to_string()], reason));
        }
        let edges = self.graph.edges_directed(at(id), Direction::Incoming);
        let mut edges: Vec<_> = edges.map(|edge| edge.id()).collect();
        // Removing an edge gives its index to the last one.
        edges.sort_unstable();
        edges.into_iter().rev().for_each(|edge| {
            self.graph.remove_edge(edge);
        });
        for operand in operands {
            self.graph.add_edge(at(*operand), at(id), ());
        }
        let facts = Arc::new(self.facts_of(&op, operands, &ty));
        let entry = Arc::make_mut(&mut self.graph[at(id)]);
        (entry.node.op, entry.operands, entry.facts) = (op, operands.to_vec(), facts);
        Ok(())
    }

    pub(crate) fn insert(&mut self, mut node: Node, operands: &[NodeId]) -> NodeId {
        let facts = Arc::new(self.facts_of(&node.op, operands, &node.ty));
        let is_new = self.stage == Stage::Training && node.origin.stands_for.is_empty();
        if self.stage == Stage::Imported || is_new {
            node.origin = Origin::of(TrainingId(self.len() as u32));
        }
        let index = self.graph.add_node(Arc::new(Entry { node, operands: operands.to_vec(), facts }));
        for operand in operands {
            self.graph.add_edge(at(*operand), index, ());
        }
        NodeId(index.index() as u32)
    }

    fn facts_of(&self, op: &Op, operands: &[NodeId], ty: &TensorType) -> Facts {
        let shapes: Vec<&Shape> = operands.iter().map(|&id| &self.ty(id).shape).collect();
        op.facts(&shapes, &ty.shape)
    }

    /// Whether `id` is a node of this graph.
    pub fn contains(&self, id: NodeId) -> bool {
        id.index() < self.len()
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes in execution order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        (0..self.len() as u32).map(NodeId)
    }

    /// The node of an id that this graph gave out.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[at(id)].node
    }

    /// The operator of a node.
    pub fn op(&self, id: NodeId) -> &Op {
        &self.node(id).op
    }

    /// The facts about a node.
    pub fn facts(&self, id: NodeId) -> &Facts {
        &self.graph[at(id)].facts
    }

    /// The type of a node's result.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.node(id).ty
    }

    /// Sets what a tensor is to the training step.
    pub fn set_role(&mut self, id: NodeId, role: Role) {
        let node = self.node_mut(id);
        node.role = role;
        node.stored = Stored { layout: node.stored.layout, ..Stored::of(role, node.stored.format) };
    }

    /// Sets the format in which a tensor is stored.
    pub fn set_format(&mut self, id: NodeId, format: Format) {
        if self.format(id) != format {
            self.node_mut(id).stored.format = format;
        }
    }

    /// Sets the order in which a tensor's elements lie.
    pub fn set_layout(&mut self, id: NodeId, layout: Layout) {
        if self.node(id).stored.layout != layout {
            self.node_mut(id).stored.layout = layout;
        }
    }

    /// Sets the type of the ONNX operator that a node does the work of.
    pub fn set_onnx_type(&mut self, id: NodeId, onnx_type: &str) {
        if self.node(id).onnx_type != onnx_type {
            self.node_mut(id).onnx_type = onnx_type.to_string();
        }
    }

    /// Says where a node comes from, and how it is computed.
    pub fn set_origin(&mut self, id: NodeId, origin: Origin) {
        self.node_mut(id).origin = origin;
    }

    /// Sets a node's name for people.
    pub fn set_name(&mut self, id: NodeId, name: impl Into<String>) {
        self.node_mut(id).name = name.into();
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut Arc::make_mut(&mut self.graph[at(id)]).node
    }

    /// The operands of a node, in order.
    pub fn operands(&self, id: NodeId) -> &[NodeId] {
        &self.graph[at(id)].operands
    }

    /// One operand of a node.
    ///
    /// # Errors
    /// A reason if the node has no operand at `position`.
    pub fn operand(&self, id: NodeId, position: usize) -> Result<NodeId, Reason> {
        self.operands(id).get(position).copied().ok_or_else(|| Reason::new(format!("{id} has no operand {position}")))
    }

    /// The nodes that read a tensor, in execution order, once per node.
    pub fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let mut readers: Vec<NodeId> =
            self.graph.neighbors_directed(at(id), Direction::Outgoing).map(|n| NodeId(n.index() as u32)).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// The number of examples in a batch, where it is no symbol: the first dimension of the first input.
    pub fn fixed_batch(&self) -> Option<usize> {
        let mut inputs = self.ids().filter(|&id| self.node(id).is_input()).map(|id| &self.ty(id).shape).peekable();
        let first = inputs.peek()?.get(0)?.as_fixed();
        inputs.all(|shape| shape.0.iter().all(|dim| !dim.is_batch())).then_some(first).flatten()
    }

    /// Whether any node reads a tensor.
    pub fn has_readers(&self, id: NodeId) -> bool {
        self.graph.neighbors_directed(at(id), Direction::Outgoing).next().is_some()
    }

    /// Named results, in the order in which they were set.
    pub fn outputs(&self) -> &[(String, NodeId)] {
        &self.outputs
    }

    /// The result of a name.
    pub fn output(&self, name: &str) -> Option<NodeId> {
        self.outputs.iter().find(|(n, _)| n == name).map(|&(_, id)| id)
    }

    /// Names a result; a second result of the same name replaces the first.
    pub fn set_output(&mut self, name: impl Into<String>, id: NodeId) {
        let name = name.into();
        match self.outputs.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = id,
            None => self.outputs.push((name, id)),
        }
    }

    /// Takes all named results away.
    pub fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Parameters and states with the nodes whose results replace their values after the step.
    pub fn updates(&self) -> &[(NodeId, NodeId)] {
        &self.updates
    }

    /// Makes `value`'s result the next value of the parameter or state `target`.
    pub fn add_update(&mut self, target: NodeId, value: NodeId) {
        self.updates.push((target, value));
    }

    /// Takes all updates away.
    pub fn clear_updates(&mut self) {
        self.updates.clear();
    }

    /// The nodes that outputs and updates need; sources count only if something reads them.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.len()];
        for &(_, id) in &self.outputs {
            live[id.index()] = true;
        }
        for &(target, value) in &self.updates {
            live[target.index()] = true;
            live[value.index()] = true;
        }
        for id in self.ids().rev() {
            if live[id.index()] {
                for &operand in self.operands(id) {
                    live[operand.index()] = true;
                }
            }
        }
        live
    }

    /// The nodes that some nodes' results go into, these included.
    pub fn dependents(&self, of: &[NodeId]) -> Vec<bool> {
        let mut depends = vec![false; self.len()];
        for id in self.ids() {
            depends[id.index()] = of.contains(&id) || self.operands(id).iter().any(|o| depends[o.index()]);
        }
        depends
    }

    /// The nodes that depend on the loss scale, with which every gradient begins.
    pub fn backward(&self) -> Vec<bool> {
        let mut backward = vec![false; self.len()];
        for id in self.ids() {
            let seed = matches!(self.op(id), Op::Scalar(op) if op.kind == ScalarKind::LossScale);
            backward[id.index()] = seed || self.operands(id).iter().any(|o| backward[o.index()]);
        }
        backward
    }

    /// The graph of the nodes that [`Graph::live`] names, in the same order, with the new id of each old node.
    ///
    /// In an imported graph nodes stand for themselves, in others for what they stood for. A role that points to a dropped tensor keeps pointing to the nearest thing there is: the role becomes internal.
    pub fn without_dead_nodes(&self) -> (Graph, Vec<Option<NodeId>>) {
        let live = self.live();
        let mut graph = Graph { stage: self.stage, ..Graph::new(self.name.clone()) };
        let mut renamed: Vec<Option<NodeId>> = vec![None; self.len()];
        for id in self.ids().filter(|id| live[id.index()]) {
            let operands: Vec<NodeId> = self.operands(id).iter().filter_map(|o| renamed[o.index()]).collect();
            let mut node = self.node(id).clone();
            node.role = match node.role {
                Role::OutputGradient { of } => {
                    renamed[of.index()].map_or(Role::Internal, |of| Role::OutputGradient { of })
                }
                Role::ParameterGradient { of } => {
                    renamed[of.index()].map_or(Role::Internal, |of| Role::ParameterGradient { of })
                }
                role => role,
            };
            renamed[id.index()] = Some(graph.insert(node, &operands));
        }
        graph.outputs = self.outputs.iter().filter_map(|(n, id)| Some((n.clone(), renamed[id.index()]?))).collect();
        graph.updates =
            self.updates.iter().filter_map(|(t, v)| Some((renamed[t.index()]?, renamed[v.index()]?))).collect();
        (graph, renamed)
    }
}

impl Graph {
    /// The node of the training graph that names a node, if one has its tensor.
    pub fn origin(&self, id: NodeId) -> Option<TrainingId> {
        self.node(id).origin.stands_for.first().copied()
    }

    /// Whether a node has the tensor of one of the training graph.
    pub fn stands_for(&self, id: NodeId, other: TrainingId) -> bool {
        self.node(id).origin.stands_for.contains(&other)
    }

    /// By node of the training graph, the first node here that has its tensor, if one has; nothing behind the last of them.
    pub fn by_origin(&self) -> Vec<Option<NodeId>> {
        let mut found = Vec::new();
        for id in self.ids() {
            for origin in &self.node(id).origin.stands_for {
                if found.len() <= origin.index() {
                    found.resize(origin.index() + 1, None);
                }
                found[origin.index()].get_or_insert(id);
            }
        }
        found
    }
}

fn at(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.index())
}
