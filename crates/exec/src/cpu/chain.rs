//! Elementwise operators, alone or several in one pass over their operands.

use super::load::BoundPart;
use super::operands::{Operand, Operands, Place};
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::ops::RunningVariance;
use bitbudget_ir::{Expression, Form, Op, Shape};
use bitbudget_kernels::{self as kernels, Formula, Function, Output, Word};
use bitbudget_select::geometry::channels;
use std::slice;

/// One part of an instruction in one step.
pub(super) struct Link<'t> {
    pub(super) op: &'t Op,
    pub(super) operands: Operands<'t>,
    /// That of the result.
    pub(super) shape: &'t [usize],
    pub(super) part: &'t BoundPart,
}

/// How an operator is computed element by element, on operands of the result's shape.
#[derive(Debug)]
pub(super) enum Elementwise {
    /// By a kernel written for it.
    Written(Function<'static>),
    /// By its expression.
    Formula(Formula),
}

impl Elementwise {
    /// The kernel of an operator; `None` if it does not compute element by element.
    pub(super) fn new(op: &Op, operands: &Operands<'_>, shape: &[usize]) -> Option<Elementwise> {
        let formula = || formula(op, operands, shape).map(Elementwise::Formula);
        written(op, operands, shape).map(Elementwise::Written).or_else(formula)
    }

    pub(super) fn function(&self) -> Function<'_> {
        match self {
            Elementwise::Written(function) => *function,
            Elementwise::Formula(formula) => Function::Formula(formula),
        }
    }
}

/// The expression of an operator that computes element by element, for these shapes.
fn formula(op: &Op, operands: &Operands<'_>, shape: &[usize]) -> Option<Formula> {
    let shapes: Vec<Shape> = operands.0.iter().map(|(_, shape)| Shape::fixed(shape)).collect();
    let facts = op.facts(&shapes.iter().collect::<Vec<_>>(), &Shape::fixed(shape));
    let is_elementwise = facts.is_elementwise();
    let Form::Map(expression) = facts.form else { return None };
    let mut words = Vec::new();
    append(&expression, &operands.0, &mut words);
    Formula::new(words, operands.len()).ok().filter(|_| is_elementwise)
}

/// Appends the instructions of an expression.
fn append(expression: &Expression, operands: &[(Operand<'_>, &[usize])], words: &mut Vec<Word>) {
    let (parts, word): (&[Expression], Word) = match expression {
        Expression::Operand(position) => (&[], Word::Operand(*position)),
        Expression::Number(number) => (&[], Word::Number(*number as f32)),
        Expression::PerChannel(position) => {
            let [n, _, s] = operands.get(*position).map_or([0; 3], |(_, shape)| channels(shape));
            (&[], Word::Number((n * s) as f32))
        }
        Expression::Neg(a) => (slice::from_ref(a), Word::Neg),
        Expression::Sqrt(a) => (slice::from_ref(a), Word::Sqrt),
        Expression::Exp(a) => (slice::from_ref(a), Word::Exp),
        Expression::Log(a) => (slice::from_ref(a), Word::Log),
        Expression::Tanh(a) => (slice::from_ref(a), Word::Tanh),
        Expression::Erf(a) => (slice::from_ref(a), Word::Erf),
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
fn written(op: &Op, operands: &Operands<'_>, shape: &[usize]) -> Option<Function<'static>> {
    let single = |x: f64| x as f32;
    let whole = || operands.0.iter().all(|(_, s)| *s == shape);
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
            let [n, _, s] = channels(operands.get(2).ok()?.1);
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

/// Whether an operator is skipped where its last operand is zero, which leaves its first one as it is.
fn can_be_skipped(op: &Op) -> bool {
    matches!(
        op,
        Op::SgdVelocity(_)
            | Op::SgdParameter(_)
            | Op::AdamFirstMoment(_)
            | Op::AdamSecondMoment(_)
            | Op::AdamwParameter(_)
    )
}

/// Elementwise parts for a kernel.
pub(super) struct Chain<'t> {
    /// How the kernel sees their shape.
    pub(super) layout: [usize; 3],
    pub(super) parts: Vec<kernels::Part<'t>>,
    /// Whether nothing would change.
    untouched: bool,
}

/// The chain of elementwise parts of a shape.
pub(super) fn parts<'t>(links: &[Link<'t>], shape: &[usize]) -> Result<Chain<'t>, Fault> {
    let mut parts = Vec::with_capacity(links.len());
    let mut untouched = true;
    for link in links {
        let function = link.part.elementwise.as_ref().map(Elementwise::function);
        let mut function = function.ok_or_else(|| Fault::Operands(format!("{} is no function", link.op.name())))?;
        let mut used = operands(link.op);
        if can_be_skipped(link.op) {
            used = link.operands.len().saturating_sub(1);
            if link.operands.scalar(used)? == 0.0 {
                (function, used) = (Function::Copy, 1);
                untouched &= matches!(link.operands.get(0)?.0, Operand::Output(i) if link.part.place == Some(i));
            } else {
                untouched = false;
            }
        } else {
            untouched = false;
        }
        let operands: Result<Vec<kernels::Operand<'_>>, Fault> =
            (0..used.min(link.operands.len())).map(|i| operand(&link.operands, i, shape)).collect();
        let BoundPart { rounding, place: output, .. } = *link.part;
        parts.push(kernels::Part { function, operands: operands?, rounding, output });
    }
    let by_channel = |part: &kernels::Part<'_>| part.operands.iter().any(|o| matches!(o, kernels::Operand::Channel(_)));
    let layout = match parts.iter().any(by_channel) {
        true => channels(shape),
        false => [1, 1, shape.iter().product()],
    };
    Ok(Chain { layout, parts, untouched })
}

/// Computes parts together; their counts.
pub(super) fn compute(links: &[Link<'_>], places: &mut [Place<'_>], shape: &[usize]) -> Result<Vec<Counts>, Fault> {
    let mut outputs: Vec<Output<'_>> = Vec::with_capacity(places.len());
    for place in places.iter_mut() {
        outputs.push(place.numbers()?.reborrow());
    }
    let Chain { layout, parts, untouched } = parts(links, shape)?;
    if untouched {
        return Ok(vec![Counts::default(); links.len()]);
    }
    Ok(kernels::chain(layout, &parts, &mut outputs)?)
}

/// How many operands an operator reads; of others it only needs the shape.
fn operands(op: &Op) -> usize {
    if let Op::RunningVariance(_) = op { 2 } else { usize::MAX }
}

fn operand<'t>(operands: &Operands<'t>, i: usize, shape: &[usize]) -> Result<kernels::Operand<'t>, Fault> {
    let (operand, own) = operands.get(i)?;
    Ok(match operand {
        Operand::Part(part) => kernels::Operand::Part(part),
        Operand::Output(output) => kernels::Operand::Output(output),
        // Where results are single numbers too, formulas still take scalars of the step, which are FP32, as such.
        Operand::Numbers(x) if own == shape && (!own.is_empty() || x.numbers().is_none()) => {
            kernels::Operand::Elements(x)
        }
        Operand::Numbers(_) if own.is_empty() => kernels::Operand::Scalar(operands.scalar(i)?),
        Operand::Numbers(x) => kernels::Operand::Channel(x),
        Operand::Indices(_) | Operand::Labels(_) => {
            return Err(Fault::Operands(format!("operand {i} must hold numbers")));
        }
    })
}
