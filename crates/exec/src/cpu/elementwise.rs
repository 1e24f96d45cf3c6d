//! How operators are computed element by element.

use bitbudget_ir::ops::RunningVariance;
use bitbudget_ir::{Expression, Form, Op, Shape};
use bitbudget_kernels::{Formula, Function, Word};
use bitbudget_select::geometry::channels;
use std::slice;
use std::sync::Arc;

/// The function that computes an operator element by element, on operands of some shapes: one that is written for it, or its
/// expression; `None` if it does not compute so.
pub(super) fn function(op: &Op, operands: &[&[usize]], shape: &[usize]) -> Option<Function> {
    let formula = || formula(op, operands, shape).map(|formula| Function::Formula(Arc::new(formula)));
    written(op, operands, shape).or_else(formula)
}

/// The expression of an operator that computes element by element, for these shapes.
fn formula(op: &Op, operands: &[&[usize]], shape: &[usize]) -> Option<Formula> {
    let shapes: Vec<Shape> = operands.iter().map(|shape| Shape::fixed(shape)).collect();
    let facts = op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
    let is_elementwise = facts.is_elementwise();
    let Form::Map(expression) = facts.form else { return None };
    let mut words = Vec::new();
    append(&expression, operands, &mut words);
    Formula::new(words, operands.len()).ok().filter(|_| is_elementwise)
}

/// Appends the instructions of an expression.
fn append(expression: &Expression, operands: &[&[usize]], words: &mut Vec<Word>) {
    let (parts, word): (&[Expression], Word) = match expression {
        Expression::Operand(position) => (&[], Word::Operand(*position)),
        Expression::Number(number) => (&[], Word::Number(*number as f32)),
        Expression::PerChannel(position) => {
            let [n, _, s] = operands.get(*position).map_or([0; 3], |shape| channels(shape));
            (&[], Word::Number((n * s) as f32))
        }
        Expression::Neg(a) => (slice::from_ref(a), Word::Neg),
        Expression::Sqrt(a) => (slice::from_ref(a), Word::Sqrt),
        Expression::Exp(a) => (slice::from_ref(a), Word::Exp),
        Expression::Log(a) => (slice::from_ref(a), Word::Log),
        Expression::Tanh(a) => (slice::from_ref(a), Word::Tanh),
        Expression::Erf(a) => (slice::from_ref(a), Word::Erf),
        Expression::Sin(a) => (slice::from_ref(a), Word::Sin),
        Expression::Cos(a) => (slice::from_ref(a), Word::Cos),
        Expression::Log1p(a) => (slice::from_ref(a), Word::Log1p),
        Expression::Floor(a) => (slice::from_ref(a), Word::Floor),
        Expression::Round(a) => (slice::from_ref(a), Word::Round),
        Expression::Pow(ab) => (ab.as_slice(), Word::Pow),
        Expression::Uniform(key, ab) => (ab.as_slice(), Word::Uniform(*key)),
        Expression::Add(ab) => (ab.as_slice(), Word::Add),
        Expression::Sub(ab) => (ab.as_slice(), Word::Sub),
        Expression::Mul(ab) => (ab.as_slice(), Word::Mul),
        Expression::Div(ab) => (ab.as_slice(), Word::Div),
        Expression::Fma(abc) => (abc.as_slice(), Word::Fma),
        Expression::Less(abcd) => (abcd.as_slice(), Word::Less),
        Expression::AtMost(abcd) => (abcd.as_slice(), Word::AtMost),
    };
    parts.iter().for_each(|part| append(part, operands, words));
    words.push(word);
}

/// The kernel that is written for an operator, if there is one.
fn written(op: &Op, operands: &[&[usize]], shape: &[usize]) -> Option<Function> {
    let single = |x: f64| x as f32;
    let whole = || operands.iter().all(|s| *s == shape);
    Some(match op {
        Op::Relu(_) => Function::Relu,
        Op::LeakyRelu(op) => Function::LeakyRelu { alpha: single(op.alpha.0) },
        Op::Clip(op) => Function::Clip { min: single(op.min.0), max: single(op.max.0) },
        Op::Sigmoid(_) => Function::Sigmoid,
        Op::Tanh(_) => Function::Tanh,
        Op::Exp(_) => Function::Exp,
        Op::Log(_) => Function::Log,
        Op::Sqrt(_) => Function::Sqrt,
        Op::Scale(op) => Function::Scale { by: single(op.by.0) },
        Op::Cast(_) => Function::Copy,
        Op::Add(_) if whole() => Function::Add,
        Op::Sub(_) if whole() => Function::Sub,
        Op::Mul(_) if whole() => Function::Mul,
        Op::Div(_) if whole() => Function::Div,
        Op::Sum(_) => Function::Sum,
        Op::ReluGrad(_) => Function::ReluGrad,
        Op::ClipGrad(op) => Function::ClipGrad { min: single(op.min.0), max: single(op.max.0) },
        Op::LeakyReluGrad(op) => Function::LeakyReluGrad { alpha: single(op.alpha.0) },
        Op::BatchNormalize(op) => Function::Normalize { epsilon: single(op.epsilon.0) },
        Op::BatchNormGradInput(op) => Function::NormalizeGradInput { epsilon: single(op.epsilon.0) },
        Op::RunningAverage(op) => Function::RunningAverage { momentum: single(op.momentum.0), correction: 1.0 },
        Op::RunningVariance(op) => {
            let [n, _, s] = channels(operands.get(2)?);
            let correction = single(RunningVariance::correction((n * s) as f64));
            Function::RunningAverage { momentum: single(op.momentum.0), correction }
        }
        Op::SgdVelocity(op) => {
            let (momentum, weight_decay) = (single(op.momentum.0), single(op.weight_decay.0));
            Function::SgdVelocity { momentum, weight_decay }
        }
        Op::SgdParameter(_) => Function::SgdParameter,
        Op::AdamFirstMoment(op) => Function::AdamFirstMoment { beta: single(op.beta.0) },
        Op::AdamSecondMoment(op) => Function::AdamSecondMoment { beta: single(op.beta.0) },
        Op::AdamwParameter(op) => {
            let (weight_decay, epsilon) = (single(op.weight_decay.0), single(op.epsilon.0));
            Function::AdamwParameter { weight_decay, epsilon }
        }
        _ => return None,
    })
}
