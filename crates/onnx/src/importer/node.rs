//! One ONNX node as its import function sees it.

use crate::file::constant::Constant;
use crate::file::tensor;
use bitbudget_ir::NodeId;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, NodeProto, TensorProto};
use std::rc::Rc;

/// The value of a name of the ONNX graph.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A tensor of the imported graph.
    Tensor(NodeId),
    /// Something known at import.
    Constant(Rc<Constant>),
    /// A floating-point initializer that may be trained: a parameter as soon as it is read as a tensor.
    Initializer(usize),
    /// A tensor padded with one value, which its reader may take into its own padding.
    Padded(Rc<Padded>),
    /// Several tensors in order (ONNX's type Sequence), as PyTorch's exporter makes them of a split.
    Sequence(Rc<Vec<Value>>),
    /// The result of a node whose import failed: a problem that is already reported.
    Failed,
}

impl Value {
    pub(crate) fn known(constant: Constant) -> Value {
        Value::Constant(Rc::new(constant))
    }
}

/// A tensor and the border around it.
#[derive(Debug)]
pub(crate) struct Padded {
    pub(crate) x: NodeId,
    pub(crate) begin: Vec<usize>,
    pub(crate) end: Vec<usize>,
    /// Zero, or the least number.
    pub(crate) value: f32,
    /// The padded tensor, once some reader needed it.
    pub(crate) made: std::cell::Cell<Option<NodeId>>,
    pub(crate) name: String,
}

impl Padded {
    /// Whether there are spatial dimensions, and only these are padded, with the given value.
    pub(crate) fn is_spatial(&self, value: f32) -> bool {
        let spared = self.begin.iter().take(2).chain(self.end.iter().take(2)).all(|&p| p == 0);
        self.value == value && self.begin.len() > 2 && spared
    }
}

/// An input of a node.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// An ONNX node with its inputs looked up.
pub(crate) struct Node<'m> {
    pub(crate) proto: &'m NodeProto,
    /// The node's name, or that of its first output.
    pub(crate) name: &'m str,
    /// The version of the operator that the file's operator set selects.
    pub(crate) version: i64,
    pub(crate) inputs: Vec<Option<Operand>>,
    /// Which outputs something reads.
    pub(crate) read: Vec<bool>,
}

impl Node<'_> {
    /// The input at a position, unless it is left out.
    pub(crate) fn input(&self, position: usize) -> Option<&Operand> {
        self.inputs.get(position).and_then(Option::as_ref)
    }

    /// The input at a position.
    pub(crate) fn need(&self, position: usize) -> Result<&Operand, String> {
        self.input(position).ok_or_else(|| format!("input {position} is missing"))
    }

    /// Refuses outputs from `position` on that something reads.
    pub(crate) fn refuse_outputs(&self, position: usize, what: &str) -> Result<(), String> {
        match self.read.iter().skip(position).any(|&read| read) {
            true => Err(format!("its output {what} is used, which is not supported")),
            false => Ok(()),
        }
    }

    fn attribute(&self, name: &str, kind: AttributeType) -> Result<Option<&AttributeProto>, String> {
        let Some(attribute) = self.proto.attribute.iter().find(|a| a.name == name) else { return Ok(None) };
        if !attribute.ref_attr_name.is_empty() {
            return Err(format!("attribute `{name}` refers to a function's attribute; inline the functions first"));
        }
        match attribute.type_.enum_value() {
            Ok(found) if found == kind => Ok(Some(attribute)),
            // Files of IR version 1 leave the type out.
            Ok(AttributeType::UNDEFINED) => Ok(Some(attribute)),
            found => Err(format!("attribute `{name}` must be of type {kind:?}, but is {found:?}")),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, String> {
        Ok(self.attribute(name, AttributeType::INT)?.map(|a| a.i))
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<&[i64]>, String> {
        Ok(self.attribute(name, AttributeType::INTS)?.map(|a| a.ints.as_slice()))
    }

    /// A truth value, stored as a whole number; 0 if left out.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        Ok(self.int(name)?.unwrap_or(0) != 0)
    }

    /// A finite number: the shortest decimal fraction that the stored FP32 number stands for, so that 0.1 is 0.1.
    pub(crate) fn float(&self, name: &str) -> Result<Option<f64>, String> {
        match self.attribute(name, AttributeType::FLOAT)? {
            Some(a) if a.f.is_nan() => Err(format!("attribute `{name}` is not a number")),
            found => Ok(found.map(|a| decimal(a.f))),
        }
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Option<&[f32]>, String> {
        Ok(self.attribute(name, AttributeType::FLOATS)?.map(|a| a.floats.as_slice()))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        let found = self.attribute(name, AttributeType::STRING)?;
        Ok(found.map(|a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let found = self.attribute(name, AttributeType::STRINGS)?;
        Ok(found.map(|a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()))
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<&TensorProto>, String> {
        Ok(self.attribute(name, AttributeType::TENSOR)?.and_then(|a| a.t.as_ref()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.proto.attribute.iter().any(|a| a.name == name)
    }

    /// An element type given as an attribute.
    pub(crate) fn element_type(&self, name: &str) -> Result<Option<i32>, String> {
        match self.int(name)? {
            Some(code) => match i32::try_from(code).ok().filter(|&c| tensor::is_float(c) || tensor::is_whole(c)) {
                Some(code) => Ok(Some(code)),
                None => Err(format!("attribute `{name}` names element type {code}, which is not supported")),
            },
            None => Ok(None),
        }
    }
}

/// The shortest decimal fraction that rounds to an FP32 number.
pub(crate) fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// A dimension number that may count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let rank_i = i64::try_from(rank).unwrap_or(i64::MAX);
    let counted = if axis < 0 { axis.saturating_add(rank_i) } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("axis {axis} is out of range for a tensor of {rank} dimensions"))
}

/// Distinct dimension numbers, ascending.
pub(crate) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut found = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    match found.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(format!("axes {axes:?} name a dimension twice")),
        false => Ok(found),
    }
}
