//! The sizes and operands of recurrent layers.

use super::activation::Activation;
use crate::error::{ShapeError, check, elements, geometry};
use crate::operators::gemm::{Matmul, matmul_scratch};
use crate::tensors::elements::Elements;
use bitbudget_formats::Format;
use std::ops::Range;

/// Examples that go through all steps together, and rows of a product with W at least, where there are as many.
const ROWS: usize = 64;

/// The equations of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrentCell {
    /// Gates: input, output, forget, cell.
    Lstm {
        /// Whether the forget gate is 1 minus the input gate.
        input_forget: bool,
    },
    /// Gates: update, reset, hidden.
    Gru {
        /// Whether the product with R comes before the reset.
        linear_before_reset: bool,
    },
    /// One product.
    Rnn,
}

/// A recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// The equations of a step.
    pub cell: RecurrentCell,
    /// Steps.
    pub steps: usize,
    /// Examples.
    pub batch: usize,
    /// Elements of an input.
    pub inputs: usize,
    /// Elements of a hidden state.
    pub hidden: usize,
    /// For each direction, whether it begins at the last step.
    pub reversed: Vec<bool>,
    /// The activations, direction by direction: three for an LSTM, two for a GRU, one for an RNN.
    pub activations: Vec<Activation>,
    /// The largest magnitude of what a gate activates; 0 for none.
    pub clip: f32,
}

/// The operands of a layer, with T steps, N examples, D directions and G gates.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentOperands<'a> {
    /// The input `[T, N, I]`.
    pub x: Elements<'a>,
    /// `[D, G*H, I]`.
    pub w: Elements<'a>,
    /// `[D, G*H, H]`.
    pub r: Elements<'a>,
    /// Those of W, then those of R, `[D, 2*G*H]`.
    pub bias: Option<Elements<'a>>,
    /// The examples' lengths, `[N]`.
    pub lengths: Option<&'a [f32]>,
    /// The initial hidden state `[D, N, H]`.
    pub hidden: Option<Elements<'a>>,
    /// The initial cell state `[D, N, H]`.
    pub cell: Option<Elements<'a>>,
    /// `[D, 3*H]`.
    pub peepholes: Option<Elements<'a>>,
}

/// What a gradient is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrentGradient {
    /// What the gates activate, `[T, N, D, K, H]`: K is the number of gates, and one more for the product of a GRU that comes before the
    /// reset.
    Gates,
    /// The initial hidden state `[D, N, H]`.
    Hidden,
    /// The initial cell state `[D, N, H]`.
    Cell,
}

impl Recurrent {
    pub(super) fn gates(&self) -> usize {
        match self.cell {
            RecurrentCell::Lstm { .. } => 4,
            RecurrentCell::Gru { .. } => 3,
            RecurrentCell::Rnn => 1,
        }
    }

    /// States of a step that the result holds.
    pub(super) fn states(&self) -> usize {
        match self.cell {
            RecurrentCell::Lstm { .. } | RecurrentCell::Gru { linear_before_reset: false } => 2,
            RecurrentCell::Gru { linear_before_reset: true } | RecurrentCell::Rnn => 1,
        }
    }

    /// Vectors of a step that the gradient of the gates holds.
    pub(super) fn vectors(&self) -> usize {
        match self.cell {
            RecurrentCell::Gru { linear_before_reset: true } => 4,
            _ => self.gates(),
        }
    }

    /// Activations of a direction.
    pub(super) fn functions(&self) -> usize {
        match self.cell {
            RecurrentCell::Lstm { .. } => 3,
            RecurrentCell::Gru { .. } => 2,
            RecurrentCell::Rnn => 1,
        }
    }

    pub(super) fn directions(&self) -> usize {
        self.reversed.len()
    }

    /// Examples that go through all steps together: what a step needs for them is the workspace.
    pub(super) fn examples_at_once(&self) -> usize {
        self.batch.min(ROWS)
    }

    /// The examples in the parts that go together.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let batch = self.batch;
        (0..batch).step_by(ROWS).map(move |first| first..batch.min(first + ROWS))
    }

    /// Steps whose inputs are multiplied at once.
    pub(super) fn steps_at_once(&self) -> usize {
        ROWS.div_ceil(self.batch.max(1)).min(self.steps).max(1)
    }

    pub(super) fn row(&self) -> usize {
        self.gates().saturating_mul(self.hidden)
    }

    /// Elements of the result.
    pub(super) fn elements(&self) -> usize {
        elements(&[self.states(), self.steps, self.directions(), self.batch, self.hidden])
    }

    pub(super) fn check(&self, kernel: &'static str, operands: &RecurrentOperands<'_>) -> Result<(), ShapeError> {
        let (d, h, row) = (self.directions(), self.hidden, self.row());
        let optional = |given: Option<Elements<'_>>, needed: usize| given.map_or(needed, Elements::len);
        let (state, peepholes) = (elements(&[d, self.batch, h]), elements(&[d, 3, h]));
        check(
            kernel,
            &[
                ("x", operands.x.len(), elements(&[self.steps, self.batch, self.inputs])),
                ("w", operands.w.len(), elements(&[d, row, self.inputs])),
                ("r", operands.r.len(), elements(&[d, row, h])),
                ("bias", optional(operands.bias, elements(&[d, 2, row])), elements(&[d, 2, row])),
                ("lengths", operands.lengths.map_or(self.batch, <[f32]>::len), self.batch),
                ("hidden", optional(operands.hidden, state), state),
                ("cell", optional(operands.cell, state), state),
                ("peepholes", optional(operands.peepholes, peepholes), peepholes),
                ("activations", self.activations.len(), d.saturating_mul(self.functions())),
            ],
        )?;
        match operands.lengths.and_then(|lengths| lengths.iter().find(|&&x| x < 0.0 || x > self.steps as f32)) {
            Some(wrong) => {
                Err(geometry(kernel, format!("an example's length is {wrong}; there are {} steps", self.steps)))
            }
            None => Ok(()),
        }
    }
}

/// FP32 elements of scratch memory that a thread takes in either at most.
pub fn recurrent_scratch(g: &Recurrent) -> usize {
    // A product is cut into blocks; what is beyond their sizes takes no more scratch memory.
    const LARGE: usize = 1 << 20;
    let product = |m: usize, n: usize, k: usize, trans_b: bool| {
        let [m, n, k] = [m, n, k].map(|size| size.min(LARGE));
        matmul_scratch(&Matmul { count: 1, m, n, k, trans_a: false, trans_b }, Format::FP32, Format::FP32)
    };
    let examples = g.examples_at_once();
    let products = [
        product(examples.saturating_mul(g.steps_at_once()), g.row(), g.inputs, true),
        product(examples, g.row(), g.hidden, true),
        product(examples, g.hidden, g.row(), false),
    ];
    // A product of some gates may be cut in another way; it takes no more than one of all.
    let largest = products.into_iter().max().unwrap_or(0);
    largest.max(g.hidden.saturating_mul(2).saturating_add(64))
}
