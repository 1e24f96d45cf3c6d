//! Which operators compute element by element, and so run in one pass with others and may replace what they read.

use super::Op;

impl Op {
    /// How many of its operands, from the first on, the operator reads element by element: for an element of its result,
    /// only the element in the same position. It reads the others per channel, as scalars, or only for their shape.
    ///
    /// 0 for operators that compute no element by itself. An operand counts only if it has the result's shape: the arithmetic
    /// operators are elementwise where neither operand is broadcast.
    pub fn elementwise(&self) -> usize {
        match self {
            Op::Relu(_)
            | Op::LeakyRelu(_)
            | Op::Clip(_)
            | Op::Sigmoid(_)
            | Op::Tanh(_)
            | Op::Exp(_)
            | Op::Log(_)
            | Op::Sqrt(_)
            | Op::Scale(_)
            | Op::Cast(_)
            | Op::BatchNormalize(_) => 1,
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::ReluGrad(_)
            | Op::LeakyReluGrad(_)
            | Op::ClipGrad(_)
            | Op::BatchNormGradInput(_)
            | Op::RunningAverage(_)
            | Op::RunningVariance(_)
            | Op::SgdParameter(_)
            | Op::AdamFirstMoment(_)
            | Op::AdamSecondMoment(_) => 2,
            Op::SgdVelocity(_) | Op::AdamwParameter(_) => 3,
            Op::Sum(_) => usize::MAX,
            _ => 0,
        }
    }

    /// Whether the operator computes element by element from operands of these shapes to a result of that one.
    pub fn is_elementwise<S: PartialEq + ?Sized>(&self, operands: &[&S], result: &S) -> bool {
        let count = self.elementwise();
        count > 0 && operands.iter().take(count).all(|operand| *operand == result)
    }
}

/// Which of `count` operators of one step run in one pass over their elements, each at the same position at the same time:
/// the last ones that compute element by element to the last one's shape (`joins`), and that no other operator reads.
///
/// What such an operator reads element by element it may replace, unless another operator of the step reads it too. The others compute
/// before, or whenever one of these needs some elements of theirs. `reads` says whether an operator reads another's result.
pub fn one_pass(count: usize, joins: impl Fn(usize) -> bool, reads: impl Fn(usize, usize) -> bool) -> Vec<bool> {
    let mut together = vec![false; count];
    for i in (0..count).rev() {
        together[i] = joins(i) && (i + 1..count).all(|reader| together[reader] || !reads(reader, i));
    }
    together
}
