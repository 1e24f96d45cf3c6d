//! The gradient of recurrent layers.

use super::recurrent::{RecurrentSizes, all_samples, facts, steps_work};
use super::recurrent_steps::Layer;
use super::{Operator, Precision, Recurrent, Sample, Work, check, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::{Attribute, AttributeValue, Real, operator};
use crate::error::Reason;
use crate::facts::Facts;
use crate::graph::Graph;
use crate::recurrence::{Activations, Cell, Direction};
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

/// What a gradient is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecurrentGradient {
    /// The sums that the gates activate, `[T, N, D, K, H]`: those of R, W and the biases follow by products. With a GRU that
    /// multiplies before it resets, K is 4, and the last vector is by the product.
    Gates,
    /// The initial hidden state, `[D, N, H]`.
    Hidden,
    /// The initial cell state, `[D, N, H]`.
    Cell,
}

impl RecurrentGradient {
    const ALL: [RecurrentGradient; 3] = [RecurrentGradient::Gates, RecurrentGradient::Hidden, RecurrentGradient::Cell];

    fn name(self) -> &'static str {
        match self {
            RecurrentGradient::Gates => "gates",
            RecurrentGradient::Hidden => "hidden",
            RecurrentGradient::Cell => "cell",
        }
    }
}

impl AttributeValue for RecurrentGradient {
    fn to_attribute(&self) -> Attribute {
        Attribute::Text(self.name().into())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Text(text) => RecurrentGradient::ALL.into_iter().find(|value| value.name() == text),
            _ => None,
        }
    }
}

operator! {
    /// A gradient of [`Recurrent`] from that of its result, its result, and its operands, in this order.
    ///
    /// It computes the gates again from the states before each step: storing them would cost as many elements as the result of each gate.
    pub struct RecurrentGrad {
        /// What it is by.
        by: RecurrentGradient,
        /// The equations of a step.
        cell: Cell,
        /// The order of the steps.
        direction: Direction = Direction::Forward,
        /// The activations, direction by direction.
        activations: Activations = Activations::standard(cell, direction),
        /// The largest magnitude of what is activated in a gate; 0 for none.
        clip: Real = Real(0.0),
        /// Whether a GRU multiplies with R before it resets.
        linear_before_reset: bool = false,
        /// Whether the forget gate of an LSTM is 1 minus the input gate.
        input_forget: bool = false,
        /// Whether there is an operand of biases.
        bias: bool = false,
        /// Whether there is an operand of the examples' lengths.
        lengths: bool = false,
        /// Whether there are operands of initial states.
        initial: bool = false,
        /// Whether there is an operand of peepholes.
        peepholes: bool = false,
    }
}

impl RecurrentGrad {
    /// The gradient of a layer.
    pub(super) fn of(op: &Recurrent, by: RecurrentGradient) -> RecurrentGrad {
        let Recurrent { cell, direction, activations, clip, linear_before_reset, input_forget, .. } = op.clone();
        let Recurrent { bias, lengths, initial, peepholes, .. } = *op;
        RecurrentGrad {
            by,
            cell,
            direction,
            activations,
            clip,
            linear_before_reset,
            input_forget,
            bias,
            lengths,
            initial,
            peepholes,
        }
    }

    /// The layer that it is the gradient of.
    pub fn forward(&self) -> Recurrent {
        let RecurrentGrad { cell, direction, activations, clip, linear_before_reset, input_forget, .. } = self.clone();
        let RecurrentGrad { bias, lengths, initial, peepholes, .. } = *self;
        Recurrent {
            cell,
            direction,
            activations,
            clip,
            linear_before_reset,
            input_forget,
            bias,
            lengths,
            initial,
            peepholes,
        }
    }
}

impl Operator for RecurrentGrad {
    const NAME: &'static str = "recurrent_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, y, given @ ..] = operands else {
            return Err(Reason::new(format!("needs 5 operands at least, has {}", operands.len())));
        };
        let op = self.forward();
        check::same("the gradient and the states", dy, y)?;
        check::same("the states and what the operands give", y, &op.infer(given)?)?;
        check::all_floats(&[dy, y])?;
        let RecurrentSizes { steps, batch, hidden, .. } = op.sizes(given)?;
        let [steps, directions, vectors, hidden] = [steps, op.directions(), op.gate_gradients(), hidden].map(Dim::fixed);
        match self.by {
            RecurrentGradient::Gates => Ok(TensorType::f32([steps, batch, directions, vectors, hidden])),
            RecurrentGradient::Hidden => Ok(TensorType::f32([directions, batch, hidden])),
            RecurrentGradient::Cell if self.cell == Cell::Lstm => Ok(TensorType::f32([directions, batch, hidden])),
            RecurrentGradient::Cell => Err(Reason::new("only an LSTM has a cell state")),
        }
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        facts()
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        operands.get(2..).map_or(Work::default(), |given| steps_work(&self.forward(), given, batch, 2))
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], _: &[usize]) -> Array<F> {
        let op = self.forward();
        let (gates, [hidden, cell]) = Layer::new(&op, &operands[2..]).backward(operands[0], operands[1]);
        match self.by {
            RecurrentGradient::Gates => gates,
            RecurrentGradient::Hidden => hidden,
            RecurrentGradient::Cell => cell,
        }
    }

    fn samples() -> Vec<Sample> {
        all_samples(|i, op, types| {
            let by = match RecurrentGradient::ALL[i % 3] {
                RecurrentGradient::Cell if op.cell != Cell::Lstm => RecurrentGradient::Hidden,
                by => by,
            };
            let y = op.infer(&types.iter().collect::<Vec<_>>()).ok()?;
            Sample::typed(RecurrentGrad::of(op, by), &[&[y.clone(), y], types].concat())
        })
    }
}
