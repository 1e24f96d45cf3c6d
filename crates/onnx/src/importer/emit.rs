//! Sources and nodes that are added to the graph.

use super::node::Node;
use super::state::Importer;
use crate::error::ImportProblem;
use crate::file::constant::{Constant, Elements};
use crate::importer::Value;
use bitbudget_ir::{DType, Graph, NodeId, Op, Precision, Role, ScalarKind, Shape, TensorType, ops};

/// Elements per example, or of a tensor without a batch, beyond which a shape is surely wrong.
const MOST_ELEMENTS: usize = 1 << 40;

/// The largest magnitude of whole numbers in a graph, up to which FP32 holds all of them.
const LARGEST_INTEGER: f32 = 16_777_216.0;

impl Importer {
    pub(crate) fn add_input(&mut self, name: &str, ty: TensorType) {
        if let Err(reason) = plausible(&ty.shape) {
            return self.problems.push(ImportProblem::at(format!("input `{name}`"), reason));
        }
        if name.is_empty() {
            return self.problems.push("the input has no name".into());
        }
        self.names.take(name);
        let id = self.graph.source(ops::Input { name: name.into(), target: false }, ty);
        self.known.insert(name.into(), Value::Tensor(id));
    }

    /// A constant source of floating-point numbers.
    pub(crate) fn constant_source(&mut self, name: &str, constant: &Constant) -> Result<NodeId, String> {
        self.typed_source(name, constant, DType::F32)
    }

    /// The source of a number that the training loop gives.
    pub(crate) fn scalar(&mut self, kind: ScalarKind) -> NodeId {
        let scalar = Op::from(ops::Scalar { kind });
        let found = self.graph.ids().find(|&id| *self.graph.op(id) == scalar);
        found.unwrap_or_else(|| self.graph.source(scalar, TensorType::scalar()))
    }

    /// A constant source of a type with the given value.
    pub(crate) fn typed_source(&mut self, name: &str, constant: &Constant, dtype: DType) -> Result<NodeId, String> {
        let numbers = constant.as_floats()?;
        let fault = match (&constant.elements, dtype) {
            _ if numbers.is_empty() => "has no elements".to_string(),
            (Elements::Floats(_), DType::I32 | DType::Index8) => {
                "holds floating-point numbers where whole ones are needed".to_string()
            }
            (Elements::Ints(_), DType::F32 | DType::I32)
                if let Some(x) = numbers.iter().find(|x| x.abs() > LARGEST_INTEGER) =>
            {
                format!("holds {x}; whole numbers in the network may be {LARGEST_INTEGER} at most")
            }
            _ => String::new(),
        };
        if !fault.is_empty() {
            return Err(format!("`{name}` {fault}"));
        }
        let name = if self.values.contains_key(name) { self.fresh_name(name) } else { name.to_string() };
        let truth = |x: &f32| f32::from(u8::from(*x != 0.0));
        let numbers = if dtype == DType::Bool { numbers.iter().map(truth).collect() } else { numbers };
        self.values.insert(name.clone(), numbers);
        let ty = TensorType { dtype, shape: Shape::fixed(&constant.shape) };
        Ok(self.graph.source(ops::Constant { name }, ty))
    }

    /// The same elements as another type; nothing if they are of that type.
    pub(crate) fn converted(&mut self, x: NodeId, to: DType) -> Result<NodeId, String> {
        let from = self.graph.ty(x).dtype;
        if from == to {
            return Ok(x);
        }
        if let Some(&known) = self.conversions.get(&(x, to)) {
            return Ok(known);
        }
        let name = self.graph.node(x).name.clone();
        let id = self.emit_internal(&format!("{name}.{to}"), ops::Convert { from, to }, &[x])?;
        self.conversions.insert((x, to), id);
        Ok(id)
    }

    /// Takes a tensor of numbers for what a tensor of truth values is once it is cast, its only use.
    pub(crate) fn count_as(&mut self, truths: NodeId, numbers: NodeId) {
        self.conversions.insert((truths, DType::F32), numbers);
        self.cast_only.insert(truths);
    }

    /// A result that was computed in FP32 as elements of the type that it has in ONNX.
    pub(crate) fn whole_again(&mut self, y: NodeId, to: DType) -> Result<NodeId, String> {
        if self.graph.ty(y).dtype != to {
            self.graph.set_role(y, Role::Internal);
        }
        self.converted(y, to)
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
        // Whole numbers and truth values have no format.
        if self.graph.ty(id).dtype != DType::F32 {
            self.graph.set_role(id, Role::Internal);
        }
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
        self.make_internal(id);
        Ok(id)
    }

    /// Adds an inner node of an ONNX node, whose name says what it is.
    pub(crate) fn inner(
        &mut self,
        node: &Node,
        what: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        self.emit_internal(&format!("{}.{what}", node.name), op, operands)
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

    /// Makes statistics of the nodes from one on, which compute what is inside of an operator.
    pub(crate) fn make_all_internal(&mut self, first: usize) {
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
