//! The common part of operators that compute element by element.

use super::Operator;
use crate::array::{Array, Float};
use crate::facts::{Form, Read};
use crate::types::Shape;

/// The result of an operator that computes element by element.
pub(crate) fn elementwise<F: Float>(op: &impl Operator, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
    let shapes: Vec<Shape> = operands.iter().map(|operand| Shape::fixed(&operand.shape)).collect();
    let facts = op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
    let Form::Map(expression) = facts.form else { return Array::filled(shape, F::nan()) };
    let per_channel = |position: usize| {
        let axes = operands[position].shape.iter().enumerate();
        axes.filter(|&(axis, _)| axis != 1).map(|(_, &size)| size).product()
    };
    let mut at = 0..;
    Array::from_fn(shape, |index| {
        let element = |position: usize| {
            let array = operands[position];
            match facts.reads.of(position) {
                Read::Each => array.at(index),
                Read::Channel => array.data[index[1]],
                Read::Scalar => array.scalar(),
                Read::Broadcast => array.broadcast_at(index),
                Read::Shape | Read::Whole => F::nan(),
            }
        };
        expression.evaluate(at.next().unwrap_or(0), &element, &per_channel)
    })
}
