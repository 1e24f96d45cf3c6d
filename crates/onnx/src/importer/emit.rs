//! Sources and nodes that are added to the graph.

use super::state::Importer;
use crate::error::ImportProblem;
use crate::file::constant::{Constant, Elements};
use crate::importer::Value;
use bitbudget_ir::{Graph, NodeId, Op, Precision, Role, Shape, TensorType, ops};

/// Elements per example, or of a tensor without a batch, beyond which a shape is surely wrong.
const MOST_ELEMENTS: usize = 1 << 40;

impl Importer {
    pub(crate) fn add_input(&mut self, name: &str, ty: TensorType) {
        if let Err(reason) = plausible(&ty.shape) {
            return self.problems.push(ImportProblem::at(format!("input `{name}`"), reason));
        }
        if name.is_empty() {
            return self.problems.push("the input has no name".into());
        }
        self.names.take(name);
        let id = self.graph.source(ops::Input { name: name.into() }, ty);
        self.known.insert(name.into(), Value::Tensor(id));
    }

    /// A constant source with the given value.
    pub(crate) fn constant_source(&mut self, name: &str, constant: &Constant) -> Result<NodeId, String> {
        let Elements::Floats(floats) = &constant.elements else {
            return Err(format!("`{name}` holds whole numbers where floating-point ones are needed"));
        };
        if floats.is_empty() {
            return Err(format!("`{name}` has no elements"));
        }
        let name = if self.values.contains_key(name) { self.fresh_name(name) } else { name.to_string() };
        self.values.insert(name.clone(), floats.clone());
        Ok(self.graph.source(ops::Constant { name }, TensorType::f32(Shape::fixed(&constant.shape))))
    }

    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        self.graph.ty(id).shape.clone()
    }

    /// Adds a node that does a forward operator's work.
    pub(crate) fn emit(&mut self, name: &str, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, String> {
        let op = op.into();
        let ty = self.graph.infer(&op, operands, name).map_err(|e| e.reason().to_string())?;
        plausible(&ty.shape)?;
        let id = self.graph.add_named(op, operands, name).map_err(|e| e.reason().to_string())?;
        self.graph.set_onnx_type(id, &self.operator);
        self.keep_name_for_last(name, id);
        Ok(id)
    }

    /// Of the nodes that one ONNX node becomes, the last bears its name, unless it is a view; the names of the others also say their operators.
    fn keep_name_for_last(&mut self, name: &str, id: NodeId) {
        let number = self.reader.node;
        let before = self.bearers.get(name).filter(|(of, _)| *of == number).map(|&(_, before)| before);
        let is_view = self.graph.op(id).precision() == Precision::Relabel;
        let (bearer, other) = match before {
            Some(before) if is_view => (before, Some(id)),
            before => (id, before),
        };
        if let Some(other) = other.filter(|&other| other != bearer && !name.is_empty()) {
            let fresh = self.fresh_name(&format!("{name}.{}", self.graph.op(other).name()));
            self.graph.set_name(other, fresh);
        }
        self.bearers.insert(name.into(), (number, bearer));
    }

    /// Adds a statistic: a node that is not a tensor of the network itself.
    pub(crate) fn emit_internal(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        let id = self.emit(name, op, operands)?;
        self.graph.set_role(id, Role::Internal);
        self.graph.set_onnx_type(id, "");
        Ok(id)
    }

    /// Makes statistics of the nodes from one on, which compute what is inside of an operator.
    pub(crate) fn make_internal(&mut self, first: usize) {
        let computes = |graph: &Graph, id: NodeId| graph.op(id).source_name().is_none();
        let inner: Vec<NodeId> = self.graph.ids().skip(first).filter(|&id| computes(&self.graph, id)).collect();
        for id in inner {
            self.graph.set_role(id, Role::Internal);
            self.graph.set_onnx_type(id, "");
        }
    }

    /// The same elements under another shape; nothing if it has that shape.
    pub(crate) fn reshape(&mut self, name: &str, x: NodeId, shape: Shape) -> Result<NodeId, String> {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.emit(name, ops::Reshape { shape }, &[x])
    }

    /// The same elements, repeated to a shape that they broadcast to; nothing if it has that shape.
    pub(crate) fn broadcast(&mut self, name: &str, x: NodeId, shape: Shape) -> Result<NodeId, String> {
        if self.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.emit(name, ops::Broadcast { shape }, &[x])
    }
}

/// Refuses shapes that no memory can hold, before arithmetic on them overflows.
fn plausible(shape: &Shape) -> Result<(), String> {
    let (elements, batches) = shape.symbolic_elements();
    if elements == 0 || elements > MOST_ELEMENTS {
        return Err(format!("a tensor of shape {shape} is {}", if elements == 0 { "empty" } else { "too large" }));
    }
    if batches > 1 {
        return Err(format!("the batch size occurs twice in the shape {shape}"));
    }
    Ok(())
}
