//! Sources and nodes that are added to the graph.

use super::state::Importer;
use crate::error::ImportProblem;
use crate::file::constant::{Constant, Elements};
use crate::importer::Value;
use bitbudget_ir::{NodeId, Op, Role, Shape, TensorType, ops};

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
        Ok(id)
    }

    /// Adds a statistic: a node that is not a tensor of the network itself.
    pub(crate) fn emit_internal(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        let id = self.emit(name, op, operands)?;
        self.make_internal(id);
        Ok(id)
    }

    /// Makes a node one that is not a tensor of the network itself: it has no format.
    pub(crate) fn make_internal(&mut self, id: NodeId) {
        self.graph.set_role(id, Role::Internal);
        self.graph.set_onnx_type(id, "");
    }

    /// Makes a node's tensor one of the network itself, with a format.
    pub(crate) fn make_output(&mut self, id: NodeId) {
        let owner = self.graph.owner(id);
        self.graph.set_role(owner, Role::Output);
        self.graph.set_onnx_type(owner, &self.operator);
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
