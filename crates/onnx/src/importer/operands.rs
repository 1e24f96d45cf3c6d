//! Operands as nodes read them: tensors of the graph, shapes, values that are known at import.

use super::node::{Node, Operand, Padded, Value, axis};
use super::parameters::parameter;
use super::state::Importer;
use crate::file::constant::{Constant, Elements};
use bitbudget_ir::{DType, Dim, NodeId, Shape, ops};
use std::rc::Rc;

impl Importer {
    /// The input at a position as floating-point numbers.
    pub(crate) fn tensor(&mut self, node: &Node, position: usize) -> Result<NodeId, String> {
        self.operand(node.need(position)?)
    }

    /// The input at a position as whole numbers.
    pub(crate) fn whole(&mut self, node: &Node, position: usize) -> Result<NodeId, String> {
        self.typed(node.need(position)?, DType::I32)
    }

    /// The input at a position as truth values.
    pub(crate) fn truth(&mut self, node: &Node, position: usize) -> Result<NodeId, String> {
        self.typed(node.need(position)?, DType::Bool)
    }

    /// The input at a position as elements of whatever type they have, for what only moves them.
    pub(crate) fn moved(&mut self, node: &Node, position: usize) -> Result<NodeId, String> {
        let operand = node.need(position)?;
        let dtype = self.dtype(operand);
        self.typed(operand, dtype)
    }

    /// The type of an operand's elements.
    pub(crate) fn dtype(&self, operand: &Operand) -> DType {
        match &operand.value {
            Value::Tensor(id) => self.graph.ty(*id).dtype,
            Value::Constant(constant) if matches!(constant.elements, Elements::Ints(_)) => DType::I32,
            _ => DType::F32,
        }
    }

    /// The second input as a tensor that broadcasts against the first, `x`: before operator set 7 an attribute `axis` said with which axis of
    /// it the second one begins.
    pub(crate) fn aligned(&mut self, node: &Node, x: NodeId) -> Result<NodeId, String> {
        let second = self.tensor(node, 1)?;
        let Some(given) = node.int("axis")? else { return Ok(second) };
        let (rank, mut shape) = (self.shape(x).rank(), self.shape(second));
        let axis = axis(given, rank)?;
        if axis + shape.rank() > rank {
            return Err(format!("{shape} does not fit into {} from axis {axis} on", self.shape(x)));
        }
        shape.0.resize(rank - axis, Dim::fixed(1));
        self.reshape(node.name, second, shape)
    }

    /// An operand as floating-point numbers: initializers become parameters, constants constants.
    pub(crate) fn operand(&mut self, operand: &Operand) -> Result<NodeId, String> {
        self.typed(operand, DType::F32)
    }

    /// An operand as a tensor of the graph of some type.
    pub(crate) fn typed(&mut self, operand: &Operand, dtype: DType) -> Result<NodeId, String> {
        let id = match &operand.value {
            Value::Tensor(id) => Ok(*id),
            Value::Padded(padded) => self.padded(padded),
            Value::Initializer(i) => parameter(self, *i),
            Value::Constant(constant) => {
                let key = (operand.name.clone(), dtype);
                match self.constants.get(&key) {
                    Some(&id) => Ok(id),
                    None => {
                        let id = self.typed_source(&operand.name, constant, dtype)?;
                        self.constants.insert(key, id);
                        Ok(id)
                    }
                }
            }
            Value::Sequence(_) => Err(format!("`{}` is a sequence of tensors where one is needed", operand.name)),
            Value::Failed => Err("it needs the result of a node that cannot be imported".into()),
        };
        id.and_then(|id| self.converted(id, dtype))
    }

    /// The shape of an operand, without making a source of it.
    pub(crate) fn shape_of(&mut self, operand: &Operand) -> Result<Shape, String> {
        Ok(match &operand.value {
            Value::Constant(constant) => Shape::fixed(&constant.shape),
            Value::Initializer(i) => Shape::fixed(&self.initializers[*i].constant.shape),
            Value::Tensor(id) => self.shape(*id),
            _ => {
                let x = self.operand(operand)?;
                self.shape(x)
            }
        })
    }

    /// The value of an operand that has to be known at import; an initializer that is read so is not trained.
    pub(crate) fn constant(&self, operand: &Operand) -> Result<Rc<Constant>, String> {
        match &operand.value {
            Value::Constant(constant) => Ok(constant.clone()),
            Value::Initializer(i) => Ok(self.initializers[*i].constant.clone()),
            _ => Err(format!("`{}` must be known at import, but is computed from the network's input", operand.name)),
        }
    }

    /// The whole numbers of an optional input, which have to be known at import.
    pub(crate) fn ints(&self, node: &Node, position: usize) -> Result<Option<Vec<i64>>, String> {
        node.input(position).map(|operand| self.constant(operand)?.as_fixed()).transpose()
    }

    /// A padded tensor for a reader that cannot take the padding into its own.
    pub(crate) fn padded(&mut self, padded: &Padded) -> Result<NodeId, String> {
        if let Some(id) = padded.made.get() {
            return Ok(id);
        }
        if padded.value != 0.0 {
            return Err(format!(
                "padding with {} by `{}` is supported only before a MaxPool without ceil_mode",
                padded.value, padded.name
            ));
        }
        let mut shape = self.shape(padded.x);
        for (axis, dim) in shape.0.iter_mut().enumerate() {
            let more = padded.begin[axis] + padded.end[axis];
            match dim.as_fixed() {
                Some(size) => *dim = Dim::fixed(size.saturating_add(more)),
                None if more == 0 => {}
                None => return Err("the batch dimension cannot be padded".into()),
            }
        }
        let op = ops::SliceScatter { begin: padded.begin.clone(), step: vec![1; shape.rank()], shape };
        let id = self.emit(&padded.name, op, &[padded.x])?;
        padded.made.set(Some(id));
        Ok(id)
    }
}
