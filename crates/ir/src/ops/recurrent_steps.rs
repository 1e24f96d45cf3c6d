//! The steps of a recurrent layer in the reference interpreter, example by example.

use super::Recurrent;
use crate::array::{Array, Float};
use crate::recurrence::{Activation, Cell};

/// A layer on given operands.
pub(super) struct Layer<'a, F> {
    op: &'a Recurrent,
    x: &'a Array<F>,
    w: &'a Array<F>,
    r: &'a Array<F>,
    bias: Option<&'a Array<F>>,
    lengths: Option<&'a Array<F>>,
    initial: [Option<&'a Array<F>>; 2],
    peepholes: Option<&'a Array<F>>,
}

/// One example's way through one direction.
#[derive(Clone, Copy)]
struct Place {
    direction: usize,
    example: usize,
}

/// One step of one example, by the elements of the hidden size.
struct Step<F> {
    /// What each gate activates, gate by gate.
    before: Vec<F>,
    /// What the gates give.
    gates: Vec<F>,
    /// The product of a GRU before it is reset.
    product: Vec<F>,
    /// The hidden state, and the other one.
    states: [Vec<F>; 2],
}

/// The gradient that a step passes to what came before.
struct Passed<F> {
    gates: Vec<F>,
    states: [Vec<F>; 2],
}

impl<'a, F: Float> Layer<'a, F> {
    /// The operands as they stand in [`Recurrent`].
    pub(super) fn new(op: &'a Recurrent, operands: &[&'a Array<F>]) -> Layer<'a, F> {
        let at = op.operands();
        let given = |position: Option<usize>| position.map(|i| operands[i]);
        Layer {
            op,
            x: operands[0],
            w: operands[1],
            r: operands[2],
            bias: given(at.bias),
            lengths: given(at.lengths),
            initial: [given(at.hidden), given(at.cell)],
            peepholes: given(at.peepholes),
        }
    }

    fn hidden(&self) -> usize {
        self.r.shape[2]
    }

    /// All ways.
    fn places(&self) -> impl Iterator<Item = Place> + use<F> {
        let (directions, examples) = (self.r.shape[0], self.x.shape[1]);
        (0..directions).flat_map(move |direction| (0..examples).map(move |example| Place { direction, example }))
    }

    /// The steps of a way in their order; those past the example's length are left out.
    fn order(&self, place: Place) -> Vec<usize> {
        let steps = self.x.shape[0];
        let length = self.lengths.map_or(steps, |lengths| lengths.data[place.example].f64() as usize);
        let order = 0..length.min(steps);
        if self.is_reversed(place) { order.rev().collect() } else { order.collect() }
    }

    fn is_reversed(&self, place: Place) -> bool {
        self.op.direction.is_reversed()[place.direction]
    }

    /// The initial states of a way.
    fn first(&self, place: Place) -> [Vec<F>; 2] {
        let state = |array: Option<&Array<F>>| {
            (0..self.hidden())
                .map(|i| array.map_or(F::zero(), |array| array.at(&[place.direction, place.example, i])))
                .collect()
        };
        self.initial.map(state)
    }

    /// A gate's product with R, of a state.
    fn product(&self, place: Place, gate: usize, i: usize, state: &[F]) -> F {
        let row = gate * self.hidden() + i;
        state.iter().enumerate().map(|(k, &h)| h * self.r.at(&[place.direction, row, k])).sum()
    }

    /// One of the two biases of a gate.
    fn bias(&self, place: Place, gate: usize, i: usize, is_of_r: bool) -> F {
        let row = (gate + if is_of_r { self.op.cell.gates() } else { 0 }) * self.hidden() + i;
        self.bias.map_or(F::zero(), |bias| bias.at(&[place.direction, row]))
    }

    /// A gate's product with W, with its bias.
    fn input(&self, place: Place, t: usize, gate: usize, i: usize) -> F {
        let row = gate * self.hidden() + i;
        let product: F = (0..self.x.shape[2])
            .map(|k| self.x.at(&[t, place.example, k]) * self.w.at(&[place.direction, row, k]))
            .sum();
        product + self.bias(place, gate, i, false)
    }

    fn peephole(&self, place: Place, which: usize, i: usize) -> F {
        self.peepholes.map_or(F::zero(), |p| p.at(&[place.direction, which * self.hidden() + i]))
    }

    fn activation(&self, place: Place, position: usize) -> Activation {
        self.op.activations_of(place.direction)[position]
    }

    /// The activation of a gate, behind the clip.
    fn gate(&self, place: Place, position: usize, x: F) -> F {
        let clip = F::of(self.op.clip.0);
        let x = if clip > F::zero() { x.max(-clip).min(clip) } else { x };
        self.activation(place, position).value(x)
    }

    fn gate_slope(&self, place: Place, position: usize, x: F) -> F {
        let clip = F::of(self.op.clip.0);
        match clip > F::zero() && x.abs() > clip {
            true => F::zero(),
            false => self.activation(place, position).slope(x),
        }
    }

    fn step(&self, place: Place, t: usize, before: &[Vec<F>; 2]) -> Step<F> {
        let h = self.hidden();
        let [state, cell] = before;
        let gates = self.op.cell.gates();
        let mut step = Step {
            before: vec![F::zero(); gates * h],
            gates: vec![F::zero(); gates * h],
            product: vec![F::zero(); h],
            states: [vec![F::zero(); h], vec![F::zero(); h]],
        };
        let sum = |gate: usize, i: usize| {
            self.input(place, t, gate, i) + self.product(place, gate, i, state) + self.bias(place, gate, i, true)
        };
        match self.op.cell {
            Cell::Rnn => {
                for i in 0..h {
                    step.before[i] = sum(0, i);
                    step.gates[i] = self.gate(place, 0, step.before[i]);
                    step.states[0][i] = step.gates[i];
                }
            }
            Cell::Gru => {
                for (gate, i) in (0..2).flat_map(|gate| (0..h).map(move |i| (gate, i))) {
                    step.before[gate * h + i] = sum(gate, i);
                    step.gates[gate * h + i] = self.gate(place, 0, step.before[gate * h + i]);
                }
                let reset: Vec<F> = (0..h).map(|i| step.gates[h + i] * state[i]).collect();
                for i in 0..h {
                    let (x, bias) = (self.input(place, t, 2, i), self.bias(place, 2, i, true));
                    step.before[2 * h + i] = match self.op.linear_before_reset {
                        true => {
                            step.product[i] = self.product(place, 2, i, state) + bias;
                            x + step.gates[h + i] * step.product[i]
                        }
                        false => x + self.product(place, 2, i, &reset) + bias,
                    };
                    let (z, n) = (step.gates[i], self.gate(place, 1, step.before[2 * h + i]));
                    step.gates[2 * h + i] = n;
                    step.states[0][i] = (F::one() - z) * n + z * state[i];
                }
                step.states[1] = reset;
            }
            Cell::Lstm => {
                for i in 0..h {
                    let peephole = |which: usize| self.peephole(place, which, i);
                    let a_i = sum(0, i) + peephole(0) * cell[i];
                    let a_f = sum(2, i) + peephole(2) * cell[i];
                    let (a_c, input) = (sum(3, i), self.gate(place, 0, a_i));
                    let forget = if self.op.input_forget { F::one() - input } else { self.gate(place, 0, a_f) };
                    let candidate = self.gate(place, 1, a_c);
                    let next = forget * cell[i] + input * candidate;
                    let a_o = sum(1, i) + peephole(1) * next;
                    let output = self.gate(place, 0, a_o);
                    for (gate, (a, value)) in
                        [(a_i, input), (a_o, output), (a_f, forget), (a_c, candidate)].into_iter().enumerate()
                    {
                        (step.before[gate * h + i], step.gates[gate * h + i]) = (a, value);
                    }
                    step.states[0][i] = output * self.activation(place, 2).value(next);
                    step.states[1][i] = next;
                }
            }
        }
        step
    }

    /// The states `[S, T, D, N, H]`.
    pub(super) fn forward(&self, shape: &[usize]) -> Array<F> {
        let mut y = Array::zeros(shape);
        for place in self.places() {
            let mut states = self.first(place);
            let order = self.order(place);
            for t in self.all_in_order(place) {
                // Past its length an example's states stay, and nothing is reset.
                match order.contains(&t) {
                    true => states = self.step(place, t, &states).states,
                    false if self.op.cell == Cell::Gru => states[1].fill(F::zero()),
                    false => {}
                }
                for (part, i) in (0..shape[0]).flat_map(|part| (0..shape[4]).map(move |i| (part, i))) {
                    let at = y.offset(&[part, t, place.direction, place.example, i]);
                    y.data[at] = states[part][i];
                }
            }
        }
        y
    }

    fn all_in_order(&self, place: Place) -> Vec<usize> {
        let steps = 0..self.x.shape[0];
        if self.is_reversed(place) { steps.rev().collect() } else { steps.collect() }
    }

    /// The gradients of the gates `[T, N, D, K, H]` and of the initial states `[D, N, H]`, given that of the states.
    pub(super) fn backward(&self, dy: &Array<F>, y: &Array<F>) -> (Array<F>, [Array<F>; 2]) {
        let (steps, h) = (self.x.shape[0], self.hidden());
        let [directions, examples, vectors] = [self.r.shape[0], self.x.shape[1], self.op.gate_gradients()];
        let mut gates = Array::zeros(&[steps, examples, directions, vectors, h]);
        let mut first = [0, 1].map(|_| Array::zeros(&[directions, examples, h]));
        for place in self.places() {
            let at = |array: &Array<F>, part: usize, t: usize, i: usize| {
                array.at(&[part, t, place.direction, place.example, i])
            };
            let all = self.all_in_order(place);
            let order = self.order(place);
            let mut d = [vec![F::zero(); h], vec![F::zero(); h]];
            for (position, &t) in all.iter().enumerate().rev() {
                for (part, i) in (0..dy.shape[0]).flat_map(|part| (0..h).map(move |i| (part, i))) {
                    d[part][i] = d[part][i] + at(dy, part, t, i);
                }
                if !order.contains(&t) {
                    if self.op.cell == Cell::Gru {
                        d[1].fill(F::zero());
                    }
                    continue;
                }
                let mut before = self.first(place);
                if let Some(earlier) = position.checked_sub(1).map(|position| all[position]) {
                    for (part, i) in (0..dy.shape[0]).flat_map(|part| (0..h).map(move |i| (part, i))) {
                        before[part][i] = at(y, part, earlier, i);
                    }
                }
                let passed = self.step_back(place, t, &before, &d);
                for (k, &value) in passed.gates.iter().enumerate() {
                    let at = gates.offset(&[t, place.example, place.direction, k / h, k % h]);
                    gates.data[at] = value;
                }
                d = passed.states;
            }
            for (array, d) in first.iter_mut().zip(d) {
                let at = array.offset(&[place.direction, place.example, 0]);
                array.data[at..at + h].copy_from_slice(&d);
            }
        }
        (gates, first)
    }

    fn step_back(&self, place: Place, t: usize, before: &[Vec<F>; 2], d: &[Vec<F>; 2]) -> Passed<F> {
        let h = self.hidden();
        let step = self.step(place, t, before);
        let [state, cell] = before;
        let mut passed = Passed {
            gates: vec![F::zero(); self.op.gate_gradients() * h],
            states: [vec![F::zero(); h], vec![F::zero(); h]],
        };
        let slope = |position: usize, k: usize| self.gate_slope(place, position, step.before[k]);
        let one = F::one();
        match self.op.cell {
            Cell::Rnn => (0..h).for_each(|i| passed.gates[i] = d[0][i] * slope(0, i)),
            Cell::Gru => {
                for i in 0..h {
                    let (z, n) = (step.gates[i], step.gates[2 * h + i]);
                    passed.gates[i] = d[0][i] * (state[i] - n) * slope(0, i);
                    passed.gates[2 * h + i] = d[0][i] * (one - z) * slope(1, 2 * h + i);
                    passed.states[0][i] = d[0][i] * z;
                }
                for i in 0..h {
                    let reset = step.gates[h + i];
                    let d_reset = if self.op.linear_before_reset {
                        passed.gates[3 * h + i] = passed.gates[2 * h + i] * reset;
                        passed.gates[2 * h + i] * step.product[i]
                    } else {
                        let back = self.transposed(place, 2, i, &passed.gates[2 * h..3 * h]) + d[1][i];
                        passed.states[0][i] = passed.states[0][i] + back * reset;
                        back * state[i]
                    };
                    passed.gates[h + i] = d_reset * slope(0, h + i);
                }
            }
            Cell::Lstm => {
                for i in 0..h {
                    let [input, output, forget, candidate] = [0, 1, 2, 3].map(|gate| step.gates[gate * h + i]);
                    let next = step.states[1][i];
                    let outer = self.activation(place, 2);
                    let d_output = d[0][i] * outer.value(next) * slope(0, h + i);
                    let d_next = d[1][i] + d[0][i] * output * outer.slope(next) + d_output * self.peephole(place, 1, i);
                    let (mut d_input, mut d_forget) = (d_next * candidate, d_next * cell[i]);
                    if self.op.input_forget {
                        (d_input, d_forget) = (d_input - d_forget, F::zero());
                    }
                    let (d_input, d_forget) = (d_input * slope(0, i), d_forget * slope(0, 2 * h + i));
                    let d_candidate = d_next * input * slope(1, 3 * h + i);
                    for (gate, value) in [d_input, d_output, d_forget, d_candidate].into_iter().enumerate() {
                        passed.gates[gate * h + i] = value;
                    }
                    passed.states[1][i] =
                        d_next * forget + d_input * self.peephole(place, 0, i) + d_forget * self.peephole(place, 2, i);
                }
            }
        }
        // Of a GRU that resets before its product, that of the last gate is passed already.
        let products: &[(usize, usize)] = match (self.op.cell, self.op.linear_before_reset) {
            (Cell::Rnn, _) => &[(0, 0)],
            (Cell::Lstm, _) => &[(0, 0), (1, 1), (2, 2), (3, 3)],
            (Cell::Gru, false) => &[(0, 0), (1, 1)],
            (Cell::Gru, true) => &[(0, 0), (1, 1), (2, 3)],
        };
        for (&(gate, vector), i) in products.iter().flat_map(|pair| (0..h).map(move |i| (pair, i))) {
            let back = self.transposed(place, gate, i, &passed.gates[vector * h..(vector + 1) * h]);
            passed.states[0][i] = passed.states[0][i] + back;
        }
        passed
    }

    /// The product of a gate's gradient with a column of R.
    fn transposed(&self, place: Place, gate: usize, column: usize, gradient: &[F]) -> F {
        let h = self.hidden();
        gradient.iter().enumerate().map(|(j, &d)| d * self.r.at(&[place.direction, gate * h + j, column])).sum()
    }
}
