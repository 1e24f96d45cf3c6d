//! One step of one example, between the products.

use super::geometry::RecurrentCell;
use super::layer::Layer;
use crate::words::simd::multiversion;

/// One example's rows: what the gates activate, what they give, and the product with R.
pub(super) struct Gates<'r> {
    /// At first the product with W.
    pub(super) before: &'r mut [f32],
    pub(super) after: &'r mut [f32],
    pub(super) product: &'r [f32],
}

multiversion! {
    /// `y += a * b`.
    pub(super) fn add_product(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y += a * b;
        }
    }
}

multiversion! {
    /// `y += x`.
    pub(super) fn add(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

multiversion! {
    /// `y = a * b`.
    pub(super) fn multiply(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a * b;
        }
    }
}

multiversion! {
    /// `y = f * y + i * g`.
    fn next_cell(f: &[f32], i: &[f32], g: &[f32], y: &mut [f32]) {
        for (((y, f), i), g) in y.iter_mut().zip(f).zip(i).zip(g) {
            *y = *f * *y + i * g;
        }
    }
}

multiversion! {
    /// `y = (1 - z) * n + z * y`.
    fn next_hidden(z: &[f32], n: &[f32], y: &mut [f32]) {
        for ((y, z), n) in y.iter_mut().zip(z).zip(n) {
            *y = (1.0 - z) * n + z * *y;
        }
    }
}

impl Layer<'_> {
    /// Applies the activation `function` to gate `gate`.
    fn activate(&self, function: usize, gate: usize, gates: &mut Gates<'_>) {
        let range = gate * self.g.hidden..(gate + 1) * self.g.hidden;
        self.activations[function].apply(self.g.clip, &gates.before[range.clone()], &mut gates.after[range]);
    }

    /// An LSTM's step: `cell` becomes the next one, `outer` what the last activation makes of it.
    pub(super) fn lstm(&self, mut gates: Gates<'_>, cell: &mut [f32], outer: &mut [f32]) {
        let h = self.g.hidden;
        add(gates.product, gates.before);
        let has_peepholes = !self.peepholes.is_empty();
        if has_peepholes {
            add_product(&self.peepholes[..h], cell, &mut gates.before[..h]);
            add_product(&self.peepholes[2 * h..], cell, &mut gates.before[2 * h..3 * h]);
        }
        for (function, gate) in [(0, 0), (0, 2), (1, 3)] {
            self.activate(function, gate, &mut gates);
        }
        if let RecurrentCell::Lstm { input_forget: true } = self.g.cell {
            let (input, others) = gates.after.split_at_mut(h);
            others[h..2 * h].iter_mut().zip(input).for_each(|(forget, input)| *forget = 1.0 - *input);
        }
        next_cell(&gates.after[2 * h..3 * h], &gates.after[..h], &gates.after[3 * h..], cell);
        if has_peepholes {
            add_product(&self.peepholes[h..2 * h], cell, &mut gates.before[h..2 * h]);
        }
        self.activate(0, 1, &mut gates);
        self.activations[2].apply(0.0, cell, outer);
    }

    /// An RNN's step.
    pub(super) fn rnn(&self, mut gates: Gates<'_>) {
        add(gates.product, gates.before);
        self.activate(0, 0, &mut gates);
    }

    /// The gates of a GRU that a product does not need to wait for.
    pub(super) fn gru_gates(&self, mut gates: Gates<'_>) {
        let h = self.g.hidden;
        add(&gates.product[..2 * h], &mut gates.before[..2 * h]);
        self.activate(0, 0, &mut gates);
        self.activate(0, 1, &mut gates);
    }

    /// The last gate of a GRU, from its product with R, which comes before or after the reset.
    pub(super) fn gru_last(&self, mut gates: Gates<'_>) {
        let h = self.g.hidden;
        let last = &mut gates.before[2 * h..];
        match self.g.cell {
            RecurrentCell::Gru { linear_before_reset: true } => {
                add_product(&gates.after[h..2 * h], gates.product, last)
            }
            _ => add(gates.product, last),
        }
        self.activate(1, 2, &mut gates);
    }

    /// A GRU's next hidden state, from what its gates give.
    pub(super) fn gru_hidden(&self, after: &[f32], hidden: &mut [f32]) {
        let h = self.g.hidden;
        next_hidden(&after[..h], &after[2 * h..], hidden);
    }
}

/// The cell states before and after an LSTM's step, and what the last activation makes of the next one.
pub(super) struct LstmCells<'r> {
    pub(super) earlier: &'r [f32],
    pub(super) next: &'r [f32],
    pub(super) outer: &'r [f32],
}

impl Layer<'_> {
    /// Multiplies a gradient with the derivative of activation `function` at gate `gate`.
    pub(super) fn multiply_slope(
        &self,
        function: usize,
        gate: usize,
        before: &[f32],
        after: &[f32],
        gradient: &mut [f32],
    ) {
        let range = gate * self.g.hidden..(gate + 1) * self.g.hidden;
        self.activations[function].multiply_slope(self.g.clip, &before[range.clone()], &after[range], gradient);
    }

    /// The gradients of an LSTM's gates and, in `d_cell`, of the cell state before it.
    /// `through` is overwritten.
    pub(super) fn lstm_back(
        &self,
        [before, after]: [&[f32]; 2],
        cells: &LstmCells<'_>,
        d_hidden: &[f32],
        through: &mut [f32],
        d_cell: &mut [f32],
        d_gates: &mut [f32],
    ) {
        let h = self.g.hidden;
        let value = |gate: usize| &after[gate * h..(gate + 1) * h];
        let (d_input, rest) = d_gates.split_at_mut(h);
        let (d_output, rest) = rest.split_at_mut(h);
        let (d_forget, d_candidate) = rest.split_at_mut(h);
        multiply(d_hidden, cells.outer, d_output);
        self.multiply_slope(0, 1, before, after, d_output);
        multiply(d_hidden, value(1), through);
        self.activations[2].multiply_slope(0.0, cells.next, cells.outer, through);
        add(through, d_cell);
        if !self.peepholes.is_empty() {
            add_product(&self.peepholes[h..2 * h], d_output, d_cell);
        }
        multiply(d_cell, value(3), d_input);
        multiply(d_cell, cells.earlier, d_forget);
        if let RecurrentCell::Lstm { input_forget: true } = self.g.cell {
            d_input.iter_mut().zip(&*d_forget).for_each(|(input, forget)| *input -= forget);
            d_forget.fill(0.0);
        }
        multiply(d_cell, value(0), d_candidate);
        for (function, gate, gradient) in [(0, 0, &mut *d_input), (0, 2, &mut *d_forget), (1, 3, d_candidate)] {
            self.multiply_slope(function, gate, before, after, gradient);
        }
        d_cell.iter_mut().zip(value(2)).for_each(|(d, forget)| *d *= forget);
        if !self.peepholes.is_empty() {
            add_product(&self.peepholes[..h], d_input, d_cell);
            add_product(&self.peepholes[2 * h..], d_forget, d_cell);
        }
    }

    /// The gradients of a GRU's update and last gates, and what goes straight to the hidden state before it.
    pub(super) fn gru_back(
        &self,
        before: &[f32],
        after: &[f32],
        [hidden, d_hidden]: [&[f32]; 2],
        direct: &mut [f32],
        d_gates: &mut [f32],
    ) {
        let h = self.g.hidden;
        let (update, last) = (&after[..h], &after[2 * h..]);
        let (d_update, rest) = d_gates.split_at_mut(h);
        let d_last = &mut rest[h..2 * h];
        update_gradients(d_hidden, hidden, [update, last], d_update, d_last);
        multiply(d_hidden, update, direct);
        self.multiply_slope(0, 0, before, after, d_update);
        self.multiply_slope(1, 2, before, after, d_last);
    }
}

multiversion! {
    /// `dz = d * (h - n)`, `dn = d * (1 - z)`.
    fn update_gradients(d: &[f32], h: &[f32], zn: [&[f32]; 2], dz: &mut [f32], dn: &mut [f32]) {
        let [z, n] = zn;
        for (((((dz, dn), d), h), z), n) in dz.iter_mut().zip(dn).zip(d).zip(h).zip(z).zip(n) {
            *dz = d * (h - n);
            *dn = d * (1.0 - z);
        }
    }
}
