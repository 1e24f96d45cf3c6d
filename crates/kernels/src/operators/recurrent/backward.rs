//! The gradient of a recurrent layer.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use super::cells::{Gates, LstmCells, add, add_product, multiply};
use super::geometry::{Recurrent, RecurrentCell, RecurrentGradient, RecurrentOperands};
use super::layer::{self, Inputs, Layer, take};
use crate::error::{ShapeError, check, elements};
use crate::tensors::elements::{Elements, Output, SharedOutput};
use crate::tensors::parallel::rows_per_task;

/// Elements of workspace that [`recurrent_grad`] needs: the states before a step, their gradients, and the gates of a step.
pub fn recurrent_grad_workspace(g: &Recurrent) -> usize {
    let rows = g.row().saturating_mul(2).saturating_add(g.hidden.saturating_mul(2 * g.vectors() + 8));
    layer::workspace(g).saturating_add(g.examples_at_once().saturating_mul(rows))
}

/// A gradient of `recurrent`, from that of its result and its result, both `[S, T, D, N, H]`.
/// `workspace` has [`recurrent_grad_workspace`] elements.
///
/// # Errors
/// If a size is wrong, a length is not a number of steps, or weights are not stored.
pub fn recurrent_grad(
    g: &Recurrent,
    by: RecurrentGradient,
    [dy, y]: [Elements<'_>; 2],
    operands: &RecurrentOperands<'_>,
    result: &mut Output<'_>,
    workspace: &mut [f32],
) -> Result<Counts, ShapeError> {
    g.check("recurrent_grad", operands)?;
    let (directions, needed) = (g.directions(), recurrent_grad_workspace(g));
    let size = match by {
        RecurrentGradient::Gates => elements(&[g.steps, g.batch, directions, g.vectors(), g.hidden]),
        RecurrentGradient::Hidden | RecurrentGradient::Cell => elements(&[directions, g.batch, g.hidden]),
    };
    check(
        "recurrent_grad",
        &[
            ("dy", dy.len(), g.elements()),
            ("y", y.len(), g.elements()),
            ("result", result.len(), size),
            ("workspace", workspace.len().min(needed), needed),
        ],
    )?;
    if size == 0 || g.elements() == 0 {
        return Ok(result.fill(1, |_, y| y.fill(0.0)));
    }
    let out = result.shared();
    let mut counts = Counts::default();
    for of in (0..directions).flat_map(|direction| g.parts().map(move |examples| (direction, examples))) {
        let mut rest = &mut *workspace;
        let (layer, mut inputs) = Layer::new(g, of, operands, &mut rest)?;
        let mut back = Back::new(&layer, dy, y, &mut rest);
        for position in (0..g.steps).rev() {
            let gates = (by == RecurrentGradient::Gates).then_some(&out);
            counts = [counts, back.step(&layer, &mut inputs, position, gates)?].into_iter().sum();
        }
        let first = (layer.direction * g.batch + layer.first) * g.hidden;
        let state = match by {
            RecurrentGradient::Gates => continue,
            RecurrentGradient::Hidden => &*back.d_hidden,
            RecurrentGradient::Cell => &*back.d_other,
        };
        // SAFETY: no task is at work.
        counts = [counts, unsafe { out.write(first, state) }].into_iter().sum();
    }
    Ok(counts)
}

/// What goes back from step to step, and what a step needs.
struct Back<'a, 'w> {
    dy: Elements<'a>,
    y: Elements<'a>,
    /// The gradients by the states after a step.
    d_hidden: &'w mut [f32],
    d_other: &'w mut [f32],
    /// The states before it.
    hidden: &'w mut [f32],
    other: &'w mut [f32],
    /// The part of the gradient by the hidden state that no product with R gives.
    direct: &'w mut [f32],
    /// Two rows of each example for what lies between.
    between: &'w mut [f32],
    /// The gradient of a GRU's last gate, where it goes through a product to the reset.
    last: &'w mut [f32],
    after: &'w mut [f32],
    product: &'w mut [f32],
    /// The gradients of the gates, as they are written, and as they are multiplied with R.
    gates: &'w mut [f32],
    for_r: &'w mut [f32],
}

impl<'a, 'w> Back<'a, 'w> {
    fn new(layer: &Layer<'_>, dy: Elements<'a>, y: Elements<'a>, rest: &mut &'w mut [f32]) -> Back<'a, 'w> {
        let (batch, h, row) = (layer.examples, layer.g.hidden, layer.g.row());
        let [d_hidden, d_other, hidden, other, direct, last] = [(); 6].map(|()| take(rest, batch * h));
        let between = take(rest, 2 * batch * h);
        let [after, product] = [(); 2].map(|()| take(rest, batch * row));
        let [gates, for_r] = [(); 2].map(|()| take(rest, batch * h * layer.g.vectors()));
        d_hidden.fill(0.0);
        d_other.fill(0.0);
        Back { dy, y, d_hidden, d_other, hidden, other, direct, between, last, after, product, gates, for_r }
    }

    /// Puts the states before a step, and adds what the result's gradient says to those after it.
    fn load(&mut self, layer: &Layer<'_>, position: usize) {
        let before: [&mut [f32]; 2] = [&mut *self.hidden, &mut *self.other];
        for (kind, state) in before.into_iter().enumerate() {
            match position.checked_sub(1) {
                Some(earlier) if kind < layer.g.states() => {
                    self.y.unpack(layer.place(kind, layer.step(earlier)), state);
                }
                _ => layer.first(kind, state),
            }
        }
        let gradients: [&mut [f32]; 2] = [&mut *self.d_hidden, &mut *self.d_other];
        for (kind, gradient) in gradients.into_iter().enumerate().take(layer.g.states()) {
            let given = &mut self.between[..gradient.len()];
            self.dy.unpack(layer.place(kind, layer.step(position)), given);
            add(given, gradient);
        }
    }

    fn step(
        &mut self,
        layer: &Layer<'_>,
        inputs: &mut Inputs<'_>,
        position: usize,
        out: Option<&SharedOutput>,
    ) -> Result<Counts, ShapeError> {
        let (g, step) = (layer.g, layer.step(position));
        self.load(layer, position);
        let before = layer.inputs(inputs, step)?;
        match g.cell {
            RecurrentCell::Gru { linear_before_reset: false } => self.gru_that_resets_first(layer, before, step)?,
            _ => self.others(layer, before, step)?,
        }
        add(self.direct, self.d_hidden);
        let Some(out) = out else { return Ok(Counts::default()) };
        let row = g.vectors() * g.hidden;
        let each = self.gates.par_chunks(row).with_min_len(rows_per_task(row)).enumerate();
        Ok(each
            .map(|(example, gates)| {
                let place = (step * g.batch + layer.first + example) * g.directions() + layer.direction;
                // SAFETY: each task writes its own examples of this step and direction.
                unsafe { out.write(place * row, gates) }
            })
            .sum())
    }

    /// The step of every cell whose gates need one product with R.
    fn others(&mut self, layer: &Layer<'_>, before: &mut [f32], step: usize) -> Result<(), ShapeError> {
        let (g, h, row) = (layer.g, layer.g.hidden, layer.g.row());
        layer.product(self.hidden, 0, g.gates(), self.product)?;
        let rows = (
            before.par_chunks_mut(row),
            self.after.par_chunks_mut(row),
            self.product.par_chunks(row),
            self.hidden.par_chunks(h),
            self.other.par_chunks_mut(h),
            self.d_hidden.par_chunks(h),
            self.d_other.par_chunks_mut(h),
            self.direct.par_chunks_mut(h),
            self.between.par_chunks_mut(2 * h),
            self.gates.par_chunks_mut(g.vectors() * h),
            self.for_r.par_chunks_mut(g.vectors() * h),
        );
        let each = rows.into_par_iter().with_min_len(rows_per_task(row)).enumerate();
        each.for_each(|(example, rows)| {
            let (before, after, product, hidden, other, d_hidden, d_other, direct, between, d_gates, for_r) = rows;
            if !layer.has(example, step) {
                d_gates.fill(0.0);
                for_r.fill(0.0);
                direct.copy_from_slice(d_hidden);
                return;
            }
            let gates = Gates { before: &mut *before, after: &mut *after, product };
            match g.cell {
                RecurrentCell::Lstm { .. } => {
                    let (earlier, outer) = between.split_at_mut(h);
                    earlier.copy_from_slice(other);
                    layer.lstm(gates, other, outer);
                    let cells = LstmCells { earlier, next: other, outer };
                    layer.lstm_back([before, after], &cells, d_hidden, direct, d_other, d_gates);
                    direct.fill(0.0);
                }
                RecurrentCell::Rnn => {
                    layer.rnn(gates);
                    d_gates.copy_from_slice(d_hidden);
                    layer.multiply_slope(0, 0, before, after, d_gates);
                    direct.fill(0.0);
                }
                RecurrentCell::Gru { .. } => {
                    layer.gru_gates(gates);
                    let product = &product[2 * h..];
                    layer.gru_last(Gates { before: &mut *before, after: &mut *after, product });
                    layer.gru_back(before, after, [hidden, d_hidden], direct, d_gates);
                    let (first, last) = d_gates.split_at_mut(2 * h);
                    let (last, of_product) = last.split_at_mut(h);
                    multiply(last, product, &mut first[h..]);
                    layer.multiply_slope(0, 1, before, after, &mut first[h..]);
                    multiply(last, &after[h..2 * h], of_product);
                    for_r[..2 * h].copy_from_slice(first);
                    for_r[2 * h..3 * h].copy_from_slice(of_product);
                }
            }
        });
        if let RecurrentCell::Gru { .. } = g.cell {
            // The rows of R for three gates of four vectors: the third vector is by the product with W.
            gather_rows(self.for_r, g.vectors() * h, row);
            return layer.product_back(&self.for_r[..layer.examples * row], 0, g.gates(), self.d_hidden);
        }
        layer.product_back(self.gates, 0, g.gates(), self.d_hidden)
    }

    fn gru_that_resets_first(&mut self, layer: &Layer<'_>, before: &mut [f32], step: usize) -> Result<(), ShapeError> {
        let (h, row) = (layer.g.hidden, layer.g.row());
        let state = layer.examples * h;
        layer.product(self.hidden, 0, 2, &mut self.product[..2 * state])?;
        let rows = (
            before.par_chunks_mut(row),
            self.after.par_chunks_mut(row),
            self.product[..2 * state].par_chunks(2 * h),
            self.hidden.par_chunks(h),
            self.other.par_chunks_mut(h),
        );
        rows.into_par_iter().with_min_len(rows_per_task(row)).for_each(|(before, after, product, hidden, reset)| {
            layer.gru_gates(Gates { before, after: &mut *after, product });
            multiply(&after[h..2 * h], hidden, reset);
        });
        layer.product(self.other, 2, 1, &mut self.product[..state])?;
        let rows = (
            before.par_chunks_mut(row),
            self.after.par_chunks_mut(row),
            self.product[..state].par_chunks(h),
            self.hidden.par_chunks(h),
            self.d_hidden.par_chunks(h),
            self.direct.par_chunks_mut(h),
            self.last.par_chunks_mut(h),
            self.gates.par_chunks_mut(row),
        );
        let each = rows.into_par_iter().with_min_len(rows_per_task(row)).enumerate();
        each.for_each(|(example, (before, after, product, hidden, d_hidden, direct, last, d_gates))| {
            if layer.has(example, step) {
                layer.gru_last(Gates { before: &mut *before, after: &mut *after, product });
                layer.gru_back(before, after, [hidden, d_hidden], direct, d_gates);
            } else {
                d_gates.fill(0.0);
                direct.copy_from_slice(d_hidden);
            }
            last.copy_from_slice(&d_gates[2 * h..]);
        });
        layer.product_back(self.last, 2, 1, &mut self.between[..state])?;
        let rows = (
            before.par_chunks(row),
            self.after.par_chunks(row),
            self.hidden.par_chunks(h),
            self.between[..state].par_chunks_mut(h),
            self.d_other.par_chunks_mut(h),
            self.direct.par_chunks_mut(h),
            self.gates.par_chunks_mut(row),
            self.for_r[..2 * state].par_chunks_mut(2 * h),
        );
        let each = rows.into_par_iter().with_min_len(rows_per_task(row)).enumerate();
        each.for_each(|(example, (before, after, hidden, d_reset, d_other, direct, d_gates, for_r))| {
            if layer.has(example, step) {
                add(d_other, d_reset);
                multiply(d_reset, hidden, &mut d_gates[h..2 * h]);
                layer.multiply_slope(0, 1, before, after, &mut d_gates[h..2 * h]);
                add_product(d_reset, &after[h..2 * h], direct);
            }
            d_other.fill(0.0);
            for_r.copy_from_slice(&d_gates[..2 * h]);
        });
        layer.product_back(&self.for_r[..2 * state], 0, 2, self.d_hidden)
    }
}

/// Moves rows that lie `distance` apart behind each other.
fn gather_rows(all: &mut [f32], distance: usize, row: usize) {
    for i in 1..all.len() / distance {
        all.copy_within(i * distance..i * distance + row, i * row);
    }
}
