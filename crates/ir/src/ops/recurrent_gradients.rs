//! The gradients of a recurrent layer's operands, from that of its gates.

use super::{Concat, Matmul, Mul, Recurrent, RecurrentGrad, RecurrentGradient, ReduceSum, Reshape, Scale};
use super::{Slice, SliceScatter};
use crate::attribute::Real;
use crate::error::Reason;
use crate::graph::Graph;
use crate::recurrence::Cell;
use crate::role::{NodeId, Role};
use crate::types::{Dim, Shape};

/// A layer in a graph.
struct Emitter<'g> {
    graph: &'g mut Graph,
    op: &'g Recurrent,
    operands: Vec<NodeId>,
    /// The layer's result.
    states: NodeId,
    steps: usize,
    batch: Dim,
    hidden: usize,
}

/// Emits the gradients of the operands of `node`, given that of its result.
///
/// # Errors
/// If the operands do not fit.
pub(super) fn emit(op: &Recurrent, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
    let (operands, at) = (graph.operands(node).to_vec(), op.operands());
    let types: Vec<_> = operands.iter().map(|&id| graph.ty(id)).collect();
    let sizes = op.sizes(&types)?;
    let all = [&[dy, node], operands.as_slice()].concat();
    let gates = graph.add(RecurrentGrad::of(op, RecurrentGradient::Gates), &all)?;
    // It is the largest tensor of the backward pass: it is stored as the gradient of the states is.
    graph.set_role(gates, Role::OutputGradient { of: node });
    let mut emitter =
        Emitter { graph, op, operands, states: node, steps: sizes.steps, batch: sizes.batch, hidden: sizes.hidden };
    let by_input = emitter.rows(gates, false)?;
    let mut gradients = vec![
        Some(emitter.of_input(by_input)?),
        Some(emitter.of_weight(by_input)?),
        Some(emitter.of_recurrence(gates)?),
    ];
    gradients.resize(at.count, None);
    if let Some(i) = at.bias {
        gradients[i] = Some(emitter.of_bias(gates)?);
    }
    for (position, by) in [(at.hidden, RecurrentGradient::Hidden), (at.cell, RecurrentGradient::Cell)] {
        if let Some(i) = position {
            gradients[i] = Some(emitter.graph.add(RecurrentGrad::of(op, by), &all)?);
        }
    }
    if let Some(i) = at.peepholes {
        gradients[i] = Some(emitter.of_peepholes(gates)?);
    }
    Ok(gradients)
}

impl Emitter<'_> {
    /// Steps times examples.
    fn all_rows(&self) -> Dim {
        let factor = self.batch.factor().saturating_mul(self.steps);
        if self.batch.is_batch() { Dim::batches(factor) } else { Dim::fixed(factor) }
    }

    fn directions(&self) -> usize {
        self.op.directions()
    }

    /// The elements of all gates of a direction.
    fn gates(&self) -> usize {
        self.op.cell.gates() * self.hidden
    }

    fn reshape(&mut self, x: NodeId, shape: impl Into<Shape>) -> Result<NodeId, Reason> {
        let shape = shape.into();
        match self.graph.ty(x).shape == shape {
            true => Ok(x),
            false => Ok(self.graph.add(Reshape { shape }, &[x])?),
        }
    }

    /// Some indices of an axis; nothing new if these are all.
    fn part(&mut self, x: NodeId, axis: usize, start: usize, count: usize) -> Result<NodeId, Reason> {
        let mut shape = self.graph.ty(x).shape.clone();
        if shape.0[axis] == Dim::fixed(count) {
            return Ok(x);
        }
        shape.0[axis] = Dim::fixed(count);
        let mut begin = vec![0; shape.rank()];
        begin[axis] = start;
        Ok(self.graph.add(Slice { step: vec![1; begin.len()], begin, shape }, &[x])?)
    }

    /// Side by side; nothing new if there is only one.
    fn join(&mut self, parts: &[NodeId], axis: usize) -> Result<NodeId, Reason> {
        match parts {
            [only] => Ok(*only),
            several => Ok(self.graph.add(Concat { axis }, several)?),
        }
    }

    fn matmul(&mut self, trans_a: bool, a: NodeId, b: NodeId) -> Result<NodeId, Reason> {
        Ok(self.graph.add(Matmul { trans_a, trans_b: false }, &[a, b])?)
    }

    /// The vectors `[T, N, D, G, H]` of the gradient of the gates that are by the products with W, or with R.
    fn vectors(&mut self, gates: NodeId, axis: usize, is_of_r: bool) -> Result<NodeId, Reason> {
        if self.op.gate_gradients() == self.op.cell.gates() {
            return Ok(gates);
        }
        if !is_of_r {
            return self.part(gates, axis, 0, 3);
        }
        let (first, last) = (self.part(gates, axis, 0, 2)?, self.part(gates, axis, 3, 1)?);
        self.join(&[first, last], axis)
    }

    /// These vectors as rows `[T*N, D*G*H]`.
    fn rows(&mut self, gates: NodeId, is_of_r: bool) -> Result<NodeId, Reason> {
        let vectors = self.vectors(gates, 3, is_of_r)?;
        let columns = self.directions() * self.gates();
        self.reshape(vectors, [self.all_rows(), Dim::fixed(columns)])
    }

    fn of_input(&mut self, by_input: NodeId) -> Result<NodeId, Reason> {
        let shape = self.graph.ty(self.operands[0]).shape.clone();
        let columns = shape.0[2];
        let w = self.reshape(self.operands[1], [Dim::fixed(self.directions() * self.gates()), columns])?;
        let dx = self.matmul(false, by_input, w)?;
        // The product is rounded, and not only the view of it.
        let of = self.graph.owner(self.operands[0]);
        self.graph.set_role(dx, Role::OutputGradient { of });
        self.reshape(dx, shape)
    }

    fn of_weight(&mut self, by_input: NodeId) -> Result<NodeId, Reason> {
        let shape = self.graph.ty(self.operands[1]).shape.clone();
        let (one, columns) = (Dim::fixed(1), self.graph.ty(by_input).shape.0[1]);
        let (rows, x) = (self.all_rows(), self.operands[0]);
        let x = self.reshape(x, [one, rows, shape.0[2]])?;
        let by_input = self.reshape(by_input, [one, rows, columns])?;
        let dw = self.matmul(true, by_input, x)?;
        self.reshape(dw, shape)
    }

    /// The states of one kind of one direction after `count` steps from the first on, `[count, N, H]`.
    fn states_of(&mut self, kind: usize, direction: usize, first: usize, count: usize) -> Result<NodeId, Reason> {
        let mut shape = self.graph.ty(self.states).shape.clone();
        let all = shape.clone();
        (shape.0[0], shape.0[1], shape.0[2]) = (Dim::fixed(1), Dim::fixed(count), Dim::fixed(1));
        let mut states = self.states;
        if shape != all {
            let begin = vec![kind, first, direction, 0, 0];
            states = self.graph.add(Slice { step: vec![1; begin.len()], begin, shape }, &[states])?;
        }
        self.reshape(states, [Dim::fixed(count), self.batch, Dim::fixed(self.hidden)])
    }

    /// The states `[T, N, H]` before each step of one direction; `None` if all of them are zero.
    fn states_before(&mut self, part: usize, direction: usize) -> Result<Option<NodeId>, Reason> {
        let is_reversed = self.op.direction.is_reversed()[direction];
        let (steps, batch, hidden) = (self.steps, self.batch, Dim::fixed(self.hidden));
        let at = self.op.operands();
        let initial = match if part == 0 { at.hidden } else { at.cell } {
            Some(position) => {
                let own = self.part(self.operands[position], 0, direction, 1)?;
                Some(self.reshape(own, [Dim::fixed(1), batch, hidden])?)
            }
            None => None,
        };
        if steps == 1 {
            return Ok(initial);
        }
        let earlier = self.states_of(part, direction, usize::from(is_reversed), steps - 1)?;
        match initial {
            Some(initial) if is_reversed => self.join(&[earlier, initial], 0).map(Some),
            Some(initial) => self.join(&[initial, earlier], 0).map(Some),
            None => {
                let begin = vec![usize::from(!is_reversed), 0, 0];
                let shape = Shape(vec![Dim::fixed(steps), batch, hidden]);
                Ok(Some(self.graph.add(SliceScatter { begin, step: vec![1; 3], shape }, &[earlier])?))
            }
        }
    }

    fn of_recurrence(&mut self, gates: NodeId) -> Result<NodeId, Reason> {
        let (one, rows, hidden) = (Dim::fixed(1), self.all_rows(), Dim::fixed(self.hidden));
        // A GRU that resets first multiplies its last gate with states of its own.
        let split = self.op.cell == Cell::Gru && !self.op.linear_before_reset;
        let mut parts = Vec::new();
        for direction in 0..self.directions() {
            let own = self.part(gates, 2, direction, 1)?;
            let own = self.vectors(own, 3, true)?;
            let Some(before) = self.states_before(0, direction)? else {
                return Ok(self.graph.add(Scale { by: Real(0.0) }, &[self.operands[2]])?);
            };
            let before = self.reshape(before, [one, rows, hidden])?;
            let product = |emitter: &mut Self, start: usize, count: usize, states: NodeId| {
                let vectors = emitter.part(own, 3, start, count)?;
                let vectors = emitter.reshape(vectors, [one, rows, Dim::fixed(count * emitter.hidden)])?;
                emitter.matmul(true, vectors, states)
            };
            let part = if split {
                let reset = self.states_of(1, direction, 0, self.steps)?;
                let reset = self.reshape(reset, [one, rows, hidden])?;
                let (first, last) = (product(self, 0, 2, before)?, product(self, 2, 1, reset)?);
                self.join(&[first, last], 1)?
            } else {
                product(self, 0, self.op.cell.gates(), before)?
            };
            parts.push(part);
        }
        self.join(&parts, 0)
    }

    fn of_bias(&mut self, gates: NodeId) -> Result<NodeId, Reason> {
        let sums = self.graph.add(ReduceSum { axes: vec![0, 1], keep: false }, &[gates])?;
        let shape = [Dim::fixed(self.directions()), Dim::fixed(self.gates())];
        let (of_w, of_r) = (self.vectors(sums, 1, false)?, self.vectors(sums, 1, true)?);
        let (of_w, of_r) = (self.reshape(of_w, shape)?, self.reshape(of_r, shape)?);
        self.join(&[of_w, of_r], 1)
    }

    /// Peepholes of the gates input, output and forget, the second of which sees the new cell state.
    fn of_peepholes(&mut self, gates: NodeId) -> Result<NodeId, Reason> {
        let (steps, batch, hidden) = (Dim::fixed(self.steps), self.batch, Dim::fixed(self.hidden));
        let mut parts = Vec::new();
        for direction in 0..self.directions() {
            let own = self.part(gates, 2, direction, 1)?;
            let (before, after) = (self.states_before(1, direction)?, self.states_of(1, direction, 0, self.steps)?);
            let mut sums = Vec::new();
            for (gate, states) in [(0, before), (1, Some(after)), (2, before)] {
                let vector = self.part(own, 3, gate, 1)?;
                let vector = self.reshape(vector, [steps, batch, hidden])?;
                let products = match states {
                    Some(states) => self.graph.add(Mul {}, &[vector, states])?,
                    None => self.graph.add(Scale { by: Real(0.0) }, &[vector])?,
                };
                sums.push(self.graph.add(ReduceSum { axes: vec![0, 1], keep: false }, &[products])?);
            }
            let joined = self.join(&sums, 0)?;
            parts.push(self.reshape(joined, [Dim::fixed(1), Dim::fixed(3 * self.hidden)])?);
        }
        self.join(&parts, 0)
    }
}
