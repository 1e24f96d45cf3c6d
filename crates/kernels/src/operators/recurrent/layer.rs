//! One direction of a layer for some examples: its weights, its products, its order of steps.

use super::activation::Activation;
use super::geometry::{Recurrent, RecurrentCell, RecurrentOperands};
use crate::error::{ShapeError, geometry};
use crate::operators::gemm::{Matmul, matmul};
use crate::tensors::elements::Elements;
use std::ops::Range;

/// One direction, for some examples.
pub(super) struct Layer<'a> {
    pub(super) g: &'a Recurrent,
    pub(super) direction: usize,
    /// The first of the examples, and how many there are.
    pub(super) first: usize,
    pub(super) examples: usize,
    x: Elements<'a>,
    w: Elements<'a>,
    r: Elements<'a>,
    /// What is added to the products with W, and to those with R.
    biases: [&'a [f32]; 2],
    /// Empty where there are none.
    pub(super) peepholes: &'a [f32],
    pub(super) activations: &'a [Activation],
    pub(super) lengths: Option<&'a [f32]>,
    initial: [Option<Elements<'a>>; 2],
}

/// The products with W of some steps.
pub(super) struct Inputs<'w> {
    products: &'w mut [f32],
    /// The steps whose products are there.
    steps: Range<usize>,
}

/// Elements that the biases, the peepholes and the products with W take.
pub(super) fn workspace(g: &Recurrent) -> usize {
    let products = g.steps_at_once().saturating_mul(g.examples_at_once()).saturating_mul(g.row());
    products.saturating_add(g.row().saturating_mul(2)).saturating_add(g.hidden.saturating_mul(3))
}

/// Takes `len` elements of what is left of the workspace.
pub(super) fn take<'w>(rest: &mut &'w mut [f32], len: usize) -> &'w mut [f32] {
    let (taken, left) = std::mem::take(rest).split_at_mut(len);
    *rest = left;
    taken
}

impl<'a> Layer<'a> {
    /// A direction of a layer whose operands were checked, for some examples.
    pub(super) fn new(
        g: &'a Recurrent,
        (direction, examples): (usize, Range<usize>),
        operands: &RecurrentOperands<'a>,
        rest: &mut &'a mut [f32],
    ) -> Result<(Layer<'a>, Inputs<'a>), ShapeError> {
        let (h, row) = (g.hidden, g.row());
        let part = |all: Elements<'a>, first: usize, len: usize| {
            let own = all.part(first, len);
            own.ok_or_else(|| geometry("recurrent", "weights and states must be stored"))
        };
        let first_state = (direction * g.batch + examples.start) * h;
        let state = |all: Option<Elements<'a>>| all.map(|all| part(all, first_state, examples.len() * h)).transpose();
        let (of_w, of_r) = (take(rest, row), take(rest, row));
        of_r.fill(0.0);
        match operands.bias {
            Some(bias) => {
                bias.unpack(direction * 2 * row, of_w);
                bias.unpack(direction * 2 * row + row, of_r);
            }
            None => of_w.fill(0.0),
        }
        // Both are added at once, but for a product that is reset.
        let apart = if let RecurrentCell::Gru { linear_before_reset: true } = g.cell { 2 * h } else { row };
        for (w, r) in of_w.iter_mut().zip(of_r.iter_mut()).take(apart) {
            *w += std::mem::take(r);
        }
        let peepholes = take(rest, 3 * h);
        if let Some(given) = operands.peepholes {
            given.unpack(direction * 3 * h, peepholes);
        }
        let products = take(rest, g.steps_at_once() * examples.len() * row);
        let functions = g.functions();
        let layer = Layer {
            g,
            direction,
            first: examples.start,
            examples: examples.len(),
            x: operands.x,
            w: part(operands.w, direction * row * g.inputs, row * g.inputs)?,
            r: part(operands.r, direction * row * h, row * h)?,
            biases: [of_w, of_r],
            peepholes: if operands.peepholes.is_some() { peepholes } else { &[] },
            activations: &g.activations[direction * functions..(direction + 1) * functions],
            lengths: operands.lengths,
            initial: [state(operands.hidden)?, state(operands.cell)?],
        };
        Ok((layer, Inputs { products, steps: 0..0 }))
    }

    /// The step at a position of the order.
    pub(super) fn step(&self, position: usize) -> usize {
        if self.g.reversed[self.direction] { self.g.steps - 1 - position } else { position }
    }

    /// Whether an example has a step.
    pub(super) fn has(&self, example: usize, step: usize) -> bool {
        self.lengths.is_none_or(|lengths| (step as f32) < lengths[self.first + example])
    }

    /// The first element of the examples at a step of a kind of states.
    pub(super) fn place(&self, kind: usize, step: usize) -> usize {
        let before = (kind * self.g.steps + step) * self.g.directions() + self.direction;
        (before * self.g.batch + self.first) * self.g.hidden
    }

    /// Writes an initial state.
    pub(super) fn first(&self, kind: usize, state: &mut [f32]) {
        match self.initial[kind] {
            Some(initial) => initial.unpack(0, state),
            None => state.fill(0.0),
        }
    }

    /// The products of a step's inputs with W, with the bias; they may be overwritten.
    pub(super) fn inputs<'i>(&self, all: &'i mut Inputs<'_>, step: usize) -> Result<&'i mut [f32], ShapeError> {
        let Recurrent { batch, inputs, steps, .. } = *self.g;
        let (row, examples) = (self.g.row(), self.examples);
        if !all.steps.contains(&step) {
            let at_once = self.g.steps_at_once();
            let first = step / at_once * at_once;
            all.steps = first..steps.min(first + at_once);
            // Where steps go together, so do all examples.
            let rows = all.steps.len() * examples;
            let x = self.x.part((first * batch + self.first) * inputs, rows * inputs);
            let x = x.ok_or_else(|| geometry("recurrent", "the input must be stored"))?;
            let sizes = Matmul { count: 1, m: rows, n: row, k: inputs, trans_a: false, trans_b: true };
            let out = &mut all.products[..rows * row];
            matmul(&sizes, x, self.w, Some(self.biases[0].into()), &mut out.into())?;
        }
        let at = (step - all.steps.start) * examples * row;
        Ok(&mut all.products[at..at + examples * row])
    }

    /// The rows of R of some gates.
    fn gates_of_r(&self, first: usize, count: usize) -> Result<Elements<'a>, ShapeError> {
        let h = self.g.hidden;
        let part = self.r.part(first * h * h, count * h * h);
        part.ok_or_else(|| geometry("recurrent", "R must be stored"))
    }

    /// The products of states `[N, H]` with R for `count` gates from the first on, `[N, count * H]`.
    pub(super) fn product(&self, state: &[f32], first: usize, count: usize, y: &mut [f32]) -> Result<(), ShapeError> {
        let h = self.g.hidden;
        let r = self.gates_of_r(first, count)?;
        let bias = &self.biases[1][first * h..(first + count) * h];
        let sizes = Matmul { count: 1, m: self.examples, n: count * h, k: h, trans_a: false, trans_b: true };
        matmul(&sizes, state.into(), r, Some(bias.into()), &mut y.into())?;
        Ok(())
    }

    /// The products of gradients `[N, count * H]` with these rows of R, `[N, H]`.
    pub(super) fn product_back(
        &self,
        gates: &[f32],
        first: usize,
        count: usize,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        let h = self.g.hidden;
        let r = self.gates_of_r(first, count)?;
        let sizes = Matmul { count: 1, m: self.examples, n: h, k: count * h, trans_a: false, trans_b: false };
        matmul(&sizes, gates.into(), r, None, &mut y.into())?;
        Ok(())
    }
}
