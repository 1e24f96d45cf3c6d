//! The states of a recurrent layer.

use bitbudget_formats::Counts;
use rayon::prelude::*;

use super::cells::{Gates, multiply};
use super::geometry::{Recurrent, RecurrentCell, RecurrentOperands};
use super::layer::{self, Inputs, Layer, take};
use crate::error::{ShapeError, check};
use crate::tensors::elements::{Output, SharedOutput};
use crate::tensors::parallel::rows_per_task;

/// Elements of workspace that [`recurrent`] needs: the states, the gates of a step and the products with R.
pub fn recurrent_workspace(g: &Recurrent) -> usize {
    let rows = g.row().saturating_mul(2).saturating_add(g.hidden.saturating_mul(3));
    layer::workspace(g).saturating_add(g.examples_at_once().saturating_mul(rows))
}

/// The states of a recurrent layer `[S, T, D, N, H]` after each step: the hidden ones, then the cell states of an LSTM or the hidden
/// states times the reset gate of a GRU that resets before its product. Past its length an example's states stay.
/// `workspace` has [`recurrent_workspace`] elements.
///
/// # Errors
/// If a size is wrong, a length is not a number of steps, or weights are not stored.
pub fn recurrent(
    g: &Recurrent,
    operands: &RecurrentOperands<'_>,
    y: &mut Output<'_>,
    workspace: &mut [f32],
) -> Result<Counts, ShapeError> {
    g.check("recurrent", operands)?;
    let needed = recurrent_workspace(g);
    check("recurrent", &[("y", y.len(), g.elements()), ("workspace", workspace.len().min(needed), needed)])?;
    if g.elements() == 0 {
        return Ok(Counts::default());
    }
    let out = y.shared();
    let mut counts = Counts::default();
    for of in (0..g.directions()).flat_map(|direction| g.parts().map(move |examples| (direction, examples))) {
        let mut rest = &mut *workspace;
        let (layer, mut inputs) = Layer::new(g, of, operands, &mut rest)?;
        let mut states = States::new(&layer, &mut rest);
        for position in 0..g.steps {
            counts = [counts, states.step(&layer, &mut inputs, layer.step(position), &out)?].into_iter().sum();
        }
    }
    Ok(counts)
}

/// The states of all examples, and what a step needs.
struct States<'w> {
    hidden: &'w mut [f32],
    /// The cell states, or the reset hidden states of a GRU.
    other: &'w mut [f32],
    outer: &'w mut [f32],
    after: &'w mut [f32],
    product: &'w mut [f32],
}

impl<'w> States<'w> {
    fn new(layer: &Layer<'_>, rest: &mut &'w mut [f32]) -> States<'w> {
        let (state, rows) = (layer.examples * layer.g.hidden, layer.examples * layer.g.row());
        let [hidden, other, outer] = [(); 3].map(|()| take(rest, state));
        let [after, product] = [(); 2].map(|()| take(rest, rows));
        layer.first(0, hidden);
        layer.first(1, other);
        States { hidden, other, outer, after, product }
    }

    fn step(
        &mut self,
        layer: &Layer<'_>,
        inputs: &mut Inputs<'_>,
        step: usize,
        out: &SharedOutput,
    ) -> Result<Counts, ShapeError> {
        let (g, h, row) = (layer.g, layer.g.hidden, layer.g.row());
        let before = layer.inputs(inputs, step)?;
        let resets_first = g.cell == RecurrentCell::Gru { linear_before_reset: false };
        let gates = if resets_first { 2 } else { g.gates() };
        let products = &mut self.product[..layer.examples * gates * h];
        layer.product(self.hidden, 0, gates, products)?;
        if resets_first {
            let rows = (
                before.par_chunks_mut(row),
                self.after.par_chunks_mut(row),
                products.par_chunks(2 * h),
                self.hidden.par_chunks(h),
                self.other.par_chunks_mut(h),
            );
            let each = rows.into_par_iter().with_min_len(rows_per_task(row));
            each.for_each(|(before, after, product, hidden, reset)| {
                layer.gru_gates(Gates { before, after: &mut *after, product });
                multiply(&after[h..2 * h], hidden, reset);
            });
            layer.product(self.other, 2, 1, &mut self.product[..layer.examples * h])?;
        }
        let width = if resets_first { h } else { row };
        let rows = (
            before.par_chunks_mut(row),
            self.after.par_chunks_mut(row),
            self.product[..layer.examples * width].par_chunks(width),
            self.hidden.par_chunks_mut(h),
            self.other.par_chunks_mut(h),
            self.outer.par_chunks_mut(h),
        );
        let each = rows.into_par_iter().with_min_len(rows_per_task(row)).enumerate();
        Ok(each
            .map(|(example, (before, after, product, hidden, other, outer))| {
                let mut gates = Gates { before, after: &mut *after, product };
                let has_step = layer.has(example, step);
                match g.cell {
                    RecurrentCell::Lstm { .. } if has_step => {
                        layer.lstm(gates, other, outer);
                        multiply(&after[h..2 * h], outer, hidden);
                    }
                    RecurrentCell::Rnn if has_step => {
                        layer.rnn(gates);
                        hidden.copy_from_slice(after);
                    }
                    RecurrentCell::Gru { linear_before_reset } if has_step => {
                        if linear_before_reset {
                            layer.gru_gates(Gates { before: &mut *gates.before, after: &mut *gates.after, product });
                            gates.product = &product[2 * h..];
                        }
                        layer.gru_last(gates);
                        layer.gru_hidden(after, hidden);
                    }
                    RecurrentCell::Gru { linear_before_reset: false } => other.fill(0.0),
                    _ => {}
                }
                let kinds: [&[f32]; 2] = [hidden, other];
                let kinds = kinds.into_iter().enumerate().take(g.states());
                // SAFETY: each task writes its own examples of this step and direction.
                kinds.map(|(kind, state)| unsafe { out.write(layer.place(kind, step) + example * h, state) }).sum()
            })
            .sum())
    }
}
