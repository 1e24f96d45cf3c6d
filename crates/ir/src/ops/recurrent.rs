//! Recurrent layers.

use super::recurrent_steps::Layer;
use super::{Operator, Precision, Sample, Work, check, recurrent_gradients};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::recurrence::{Activation, ActivationFunction, Activations, Cell, Direction};
use crate::role::NodeId;
use crate::types::{DType, Dim, Shape, TensorType};

operator! {
    /// The states of a recurrent layer after each step (ONNX LSTM, GRU and RNN with layout 0).
    ///
    /// Operands, those in brackets if an attribute says so: x `[T, N, I]`, W `[D, G*H, I]`, R `[D, G*H, H]`, \[B `[D, 2*G*H]`\], \[lengths `[N]`\],
    /// \[initial hidden state, and the cell state of an LSTM, `[D, N, H]`\], \[peepholes `[D, 3*H]`\], with G gates and D directions.
    ///
    /// The result is `[S, T, D, N, H]`: hidden states first, then what else the gradient needs, the cell states of an LSTM and the hidden
    /// states times the reset gate of a GRU that resets before its product. Past the length of an example its states stay what they were.
    pub struct Recurrent {
        /// The equations of a step.
        cell: Cell,
        /// The order of the steps.
        direction: Direction = Direction::Forward,
        /// The activations, direction by direction.
        activations: Activations = Activations::standard(cell, direction),
        /// The largest magnitude of what is activated in a gate; 0 for none.
        clip: Real = Real(0.0),
        /// Whether a GRU multiplies with R before it resets, as PyTorch's does.
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

/// The sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecurrentSizes {
    /// Steps.
    pub(super) steps: usize,
    /// Examples.
    pub(super) batch: Dim,
    /// Elements of an input.
    pub(super) inputs: usize,
    /// Elements of a hidden state.
    pub(super) hidden: usize,
}

/// Where the operands of a layer stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecurrentOperands {
    /// B.
    pub bias: Option<usize>,
    /// The examples' lengths.
    pub lengths: Option<usize>,
    /// The initial hidden state.
    pub hidden: Option<usize>,
    /// The initial cell state.
    pub cell: Option<usize>,
    /// P.
    pub peepholes: Option<usize>,
    /// How many operands there are.
    pub count: usize,
}

impl Recurrent {
    /// Where the operands stand: x, W and R are the first three.
    pub fn operands(&self) -> RecurrentOperands {
        let mut count = 3;
        let mut next = |is_there: bool| {
            count += usize::from(is_there);
            is_there.then_some(count - 1)
        };
        let (bias, lengths, hidden) = (next(self.bias), next(self.lengths), next(self.initial));
        let (cell, peepholes) = (next(self.initial && self.cell == Cell::Lstm), next(self.peepholes));
        RecurrentOperands { bias, lengths, hidden, cell, peepholes, count }
    }

    /// How many states of a step the result holds.
    pub fn states(&self) -> usize {
        match self.cell {
            Cell::Lstm => 2,
            Cell::Gru => 1 + usize::from(!self.linear_before_reset),
            Cell::Rnn => 1,
        }
    }

    /// How many vectors of the hidden size the gradient has for a step: one for each gate, and that of a GRU's product before it is
    /// reset.
    pub fn gate_gradients(&self) -> usize {
        self.cell.gates() + usize::from(self.cell == Cell::Gru && self.linear_before_reset)
    }

    /// The activations of a direction.
    pub fn activations_of(&self, direction: usize) -> &[Activation] {
        let count = self.cell.standard_activations().len();
        self.activations.0.get(direction * count..(direction + 1) * count).unwrap_or_default()
    }

    /// The number of directions.
    pub fn directions(&self) -> usize {
        self.direction.is_reversed().len()
    }

    /// The sizes, if the operands fit.
    ///
    /// # Errors
    /// Why they do not.
    pub(super) fn sizes(&self, operands: &[&TensorType]) -> Result<RecurrentSizes, Reason> {
        let at = self.operands();
        if operands.len() != at.count {
            return Err(Reason::new(format!("needs {} operands, has {}", at.count, operands.len())));
        }
        let directions = self.directions();
        if self.activations.0.len() != directions * self.cell.standard_activations().len() {
            let needed = directions * self.cell.standard_activations().len();
            return Err(Reason::new(format!("needs {needed} activations, has {}", self.activations.0.len())));
        }
        let is_of = |flag: bool, cell: Cell| !flag || self.cell == cell;
        if !is_of(self.peepholes || self.input_forget, Cell::Lstm) || !is_of(self.linear_before_reset, Cell::Gru) {
            return Err(Reason::new(format!("a layer of kind {} has no such attribute", self.cell.name())));
        }
        let whole = |position: usize| at.lengths != Some(position);
        let floats: Vec<&TensorType> =
            operands.iter().enumerate().filter(|(position, _)| whole(*position)).map(|(_, ty)| *ty).collect();
        check::all_floats(&floats)?;
        let fixed = |x: &TensorType, axis: usize| x.shape.get(axis).and_then(Dim::as_fixed);
        let (x, r) = (operands[0], operands[2]);
        let (Some(steps), Some(batch), Some(inputs), 3) = (fixed(x, 0), x.shape.get(1), fixed(x, 2), x.shape.rank()) else {
            return Err(Reason::new(format!(
                "the input must be [steps, examples, features] with a known number of steps and features, but is {}",
                x.shape
            )));
        };
        let (Some(hidden), 3) = (fixed(r, 2), r.shape.rank()) else {
            return Err(Reason::new(format!("R must be [directions, gates * hidden, hidden], but is {}", r.shape)));
        };
        let (d, h, rows) = (Dim::fixed(directions), Dim::fixed(hidden), Dim::fixed(self.cell.gates().saturating_mul(hidden)));
        let is = |what: &str, position: usize, shape: &[Dim]| {
            let found = &operands[position].shape;
            match found.0 == shape {
                true => Ok(()),
                false => Err(Reason::new(format!("{what} must be {}, but is {found}", Shape(shape.to_vec())))),
            }
        };
        is("W", 1, &[d, rows, Dim::fixed(inputs)])?;
        is("R", 2, &[d, rows, h])?;
        at.bias.map_or(Ok(()), |i| is("B", i, &[d, Dim::fixed(rows.factor().saturating_mul(2))]))?;
        if let Some(i) = at.lengths {
            check::is_of("the lengths", operands[i], DType::I32)?;
            is("the lengths", i, &[batch])?;
        }
        at.hidden.map_or(Ok(()), |i| is("the initial hidden state", i, &[d, batch, h]))?;
        at.cell.map_or(Ok(()), |i| is("the initial cell state", i, &[d, batch, h]))?;
        at.peepholes.map_or(Ok(()), |i| is("P", i, &[d, Dim::fixed(hidden.saturating_mul(3))]))?;
        Ok(RecurrentSizes { steps, batch, inputs, hidden })
    }
}

/// The facts of a layer and its gradient.
pub(super) fn facts() -> Facts {
    Facts::new(Form::Product, Reads::All(Read::Whole))
}

/// Operations of a pass over all steps, `products` for each weight.
pub(super) fn steps_work(op: &Recurrent, operands: &[&TensorType], batch: usize, products: u64) -> Work {
    let Ok(sizes) = op.sizes(operands) else { return Work::default() };
    let rows = sizes.steps as u64 * sizes.batch.at(batch) as u64 * op.directions() as u64;
    let gates = (op.cell.gates() * sizes.hidden) as u64;
    Work { flops: rows * gates * (2 * products * (sizes.inputs + sizes.hidden) as u64 + 20) }
}

impl Operator for Recurrent {
    const NAME: &'static str = "recurrent";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let RecurrentSizes { steps, batch, hidden, .. } = self.sizes(operands)?;
        let [states, steps, directions, hidden] = [self.states(), steps, self.directions(), hidden].map(Dim::fixed);
        Ok(TensorType::f32([states, steps, directions, batch, hidden]))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        recurrent_gradients::emit(self, graph, node, dy)
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        facts()
    }

    fn work(&self, operands: &[&TensorType], _: &TensorType, batch: usize) -> Work {
        steps_work(self, operands, batch, 1)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        Layer::new(self, operands).forward(shape)
    }

    fn samples() -> Vec<Sample> {
        all_samples(|_, op, types| Sample::typed(op.clone(), types))
    }
}

/// Samples of every form of a layer.
pub(super) fn all_samples(sample: impl Fn(usize, &Recurrent, &[TensorType]) -> Option<Sample>) -> Vec<Sample> {
    use ActivationFunction::{Affine, Elu, HardSigmoid, LeakyRelu, ScaledTanh, Sigmoid, Softplus, Softsign, Tanh};
    let plain = |cell: Cell| Recurrent {
        cell,
        direction: Direction::Forward,
        activations: Activations::standard(cell, Direction::Forward),
        clip: Real(0.0),
        linear_before_reset: false,
        input_forget: false,
        bias: false,
        lengths: false,
        initial: false,
        peepholes: false,
    };
    let turned = |op: Recurrent, direction: Direction| Recurrent {
        direction,
        activations: Activations::standard(op.cell, direction),
        ..op
    };
    let with = |function: ActivationFunction| match function.parameters() {
        0 => Activation::from(function),
        _ => Activation { function, alpha: Real(0.7), beta: Real(if function.parameters() > 1 { 0.4 } else { 0.0 }) },
    };
    let activated = |op: Recurrent, functions: &[ActivationFunction]| Recurrent {
        activations: Activations(functions.iter().map(|&function| with(function)).collect()),
        ..op
    };
    let (lstm, gru, rnn) = (plain(Cell::Lstm), plain(Cell::Gru), plain(Cell::Rnn));
    let linear = Recurrent { linear_before_reset: true, ..gru.clone() };
    let whole = |op: Recurrent| Recurrent { bias: true, lengths: true, initial: true, ..op };
    let forms = [
        (lstm.clone(), 3),
        (turned(whole(lstm.clone()), Direction::Bidirectional), 3),
        (Recurrent { peepholes: true, bias: true, initial: true, ..lstm.clone() }, 3),
        (turned(Recurrent { peepholes: true, lengths: true, ..lstm.clone() }, Direction::Reverse), 2),
        (Recurrent { input_forget: true, clip: Real(0.6), ..lstm.clone() }, 3),
        (activated(lstm.clone(), &[Affine, ScaledTanh, Softsign]), 2),
        (Recurrent { bias: true, ..gru.clone() }, 3),
        (turned(whole(gru), Direction::Bidirectional), 3),
        (turned(whole(linear.clone()), Direction::Bidirectional), 3),
        (activated(linear.clone(), &[HardSigmoid, Elu]), 1),
        (Recurrent { bias: true, clip: Real(0.5), ..linear }, 2),
        (Recurrent { bias: true, ..rnn.clone() }, 3),
        (turned(whole(rnn.clone()), Direction::Reverse), 3),
        (activated(turned(rnn.clone(), Direction::Bidirectional), &[LeakyRelu, Softplus]), 2),
        (activated(rnn.clone(), &[Sigmoid]), 1),
        (Recurrent { initial: true, ..activated(rnn, &[Tanh]) }, 1),
    ];
    let samples = forms.iter().enumerate().map(|(i, (op, steps))| {
        let (steps, batch, inputs, hidden, d, gates) = (*steps, 2, 3, 2, op.directions(), op.cell.gates());
        let state = TensorType::f32(Shape::fixed(&[d, batch, hidden]));
        let float = |shape: &[usize]| TensorType::f32(Shape::fixed(shape));
        let mut types = vec![
            float(&[steps, batch, inputs]),
            float(&[d, gates * hidden, inputs]),
            float(&[d, gates * hidden, hidden]),
        ];
        types.extend(op.bias.then(|| float(&[d, 2 * gates * hidden])));
        types.extend(op.lengths.then(|| TensorType::i32(Shape::fixed(&[batch]))));
        let initial = if op.cell == Cell::Lstm { 2 } else { 1 };
        types.extend(std::iter::repeat_n(state, if op.initial { initial } else { 0 }));
        types.extend(op.peepholes.then(|| float(&[d, 3 * hidden])));
        sample(i, op, &types)
    });
    samples.flatten().collect()
}
