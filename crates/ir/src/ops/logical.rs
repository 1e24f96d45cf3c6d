//! Functions of truth values.

use super::elementwise::elementwise;
use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Attribute, AttributeValue, operator};
use crate::error::Reason;
use crate::expression::{number, x};
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// A function of one or two truth values.
    pub struct Logical {
        /// Which one.
        function: LogicalFunction,
    }
}

/// A function of truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogicalFunction {
    /// Whether both are true.
    And,
    /// Whether one is true, or both.
    Or,
    /// Whether exactly one is true.
    Xor,
    /// Whether the only one is false.
    Not,
}

impl LogicalFunction {
    /// Every function.
    pub const ALL: [LogicalFunction; 4] =
        [LogicalFunction::And, LogicalFunction::Or, LogicalFunction::Xor, LogicalFunction::Not];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            LogicalFunction::And => "and",
            LogicalFunction::Or => "or",
            LogicalFunction::Xor => "xor",
            LogicalFunction::Not => "not",
        }
    }
}

impl AttributeValue for LogicalFunction {
    fn to_attribute(&self) -> Attribute {
        Attribute::Text(self.name().into())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Text(text) => LogicalFunction::ALL.into_iter().find(|function| function.name() == text),
            _ => None,
        }
    }
}

impl Operator for Logical {
    const NAME: &'static str = "logical";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let first = match self.function {
            LogicalFunction::Not => {
                let [x] = check::count(operands)?;
                x
            }
            LogicalFunction::And | LogicalFunction::Or | LogicalFunction::Xor => {
                let [a, b] = check::count(operands)?;
                check::same("the operands", a, b)?;
                check::is_of("the second operand", b, DType::Bool)?;
                a
            }
        };
        check::is_of("the operand", first, DType::Bool)?;
        Ok(first.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Ok(vec![None; graph.operands(node).len()])
    }

    fn precision(&self) -> Precision {
        Precision::Full
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let expression = match self.function {
            LogicalFunction::And => x(0) * x(1),
            LogicalFunction::Or => x(0).less(x(1), x(1), x(0)),
            LogicalFunction::Xor => (x(0) - x(1)) * (x(0) - x(1)),
            LogicalFunction::Not => number(1.0) - x(0),
        };
        Facts::new(Form::Map(expression), Reads::All(Read::Each)).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let truth = TensorType::bool(Shape::fixed(&[2, 7]));
        let sample = |function: LogicalFunction| {
            let operands = if function == LogicalFunction::Not { 1 } else { 2 };
            Sample::typed(Logical { function }, &vec![truth.clone(); operands])
        };
        LogicalFunction::ALL.into_iter().filter_map(sample).collect()
    }
}
