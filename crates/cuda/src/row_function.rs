//! What is computed of a row.

use bitbudget_ir::{Expression, Op};

/// A function of rows: numbers of the whole row, one after the other, and results.
///
/// In expressions the first operands are the function's own, at an element. The row's numbers follow, then the place of the element in the
/// row. `PerChannel` is the row's length.
#[derive(Clone, Debug, PartialEq)]
pub struct RowFunction {
    /// How many operands it has.
    pub operands: usize,
    /// Numbers of the row, each of which may use those before it.
    pub numbers: Vec<RowNumber>,
    /// The result at an element.
    pub result: Expression,
    /// Whether the result is one number of the row, which uses no elements, and is stored in FP32.
    pub is_number: bool,
}

/// A number of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowNumber {
    /// The sum over all elements.
    Sum(Expression),
    /// The largest over all elements; what is not a number does not count.
    Largest(Expression),
    /// Of those before it.
    Of(Expression),
}

fn x(operand: usize) -> Expression {
    Expression::Operand(operand)
}

fn number(number: f64) -> Expression {
    Expression::Number(number)
}

fn length() -> Expression {
    Expression::PerChannel(0)
}

fn exp(of: Expression) -> Expression {
    Expression::Exp(Box::new(of))
}

fn reciprocal_root(of: Expression) -> Expression {
    number(1.0) / Expression::Sqrt(Box::new(of))
}

/// `then` where two whole numbers are the same, else `otherwise`.
fn same(a: Expression, b: Expression, then: Expression, otherwise: Expression) -> Expression {
    let back = Expression::AtMost(Box::new([b.clone(), a.clone(), then, otherwise.clone()]));
    Expression::AtMost(Box::new([a, b, back, otherwise]))
}

impl RowFunction {
    /// The function that an operator computes, if it is one of single rows.
    pub fn of(op: &Op) -> Option<RowFunction> {
        match op {
            Op::Softmax(_) => Some(softmax()),
            Op::SoftmaxGrad(_) => Some(softmax_grad()),
            Op::LogSoftmax(_) => Some(log_softmax()),
            Op::LogSoftmaxGrad(_) => Some(log_softmax_grad()),
            Op::LayerNormGradInput(op) => Some(layer_norm_grad_input(op.epsilon.0)),
            _ => None,
        }
    }

    /// Layer normalisation; operands are `x`, the scale, and the bias if there is one.
    pub fn layer_normalization(epsilon: f64, has_bias: bool) -> RowFunction {
        let operands = 2 + usize::from(has_bias);
        let (numbers, mean, reciprocal) = moments(0, operands, epsilon);
        let scaled = (x(0) - mean) * reciprocal * x(1);
        let result = if has_bias { scaled + x(2) } else { scaled };
        RowFunction { operands, numbers, result, is_number: false }
    }

    /// What layer normalisation's gradient of the scale sums over the rows; operands are `dy` and `x`.
    pub fn layer_norm_grad_scale(epsilon: f64) -> RowFunction {
        let (numbers, mean, reciprocal) = moments(1, 2, epsilon);
        RowFunction { operands: 2, numbers, result: x(0) * ((x(1) - mean) * reciprocal), is_number: false }
    }

    /// The largest or smallest element; what is not a number wins.
    pub fn extremum(least: bool) -> RowFunction {
        let numbers = extremum_numbers(1, least);
        let result = if least { -x(3) } else { x(3) };
        RowFunction { operands: 1, numbers, result, is_number: true }
    }

    /// The gradient of the largest or smallest element, which all that are get an equal share of; operands are `x` and `dy`.
    pub fn extremum_grad(least: bool) -> RowFunction {
        let element = if least { -x(0) } else { x(0) };
        let mut numbers = extremum_numbers(2, least);
        numbers.push(RowNumber::Sum(same(element.clone(), x(4), number(1.0), number(0.0))));
        let result = same(element, x(4), x(1) / x(5), number(0.0));
        RowFunction { operands: 2, numbers, result, is_number: false }
    }

    /// A row's share of the negative log-likelihood, before it is divided by the weights of all rows; operands are log-probabilities,
    /// the row's label, and the weights of classes if there are any.
    pub fn nll_loss(smoothing: f64, has_weights: bool) -> RowFunction {
        let operands = 2 + usize::from(has_weights);
        let part = at_target(smoothing, x(0), [x(1), x(operands + 1)], has_weights.then_some(x(2)));
        let numbers = vec![RowNumber::Sum(part)];
        RowFunction { operands, numbers, result: -x(operands), is_number: true }
    }

    /// The weight of a row; operands are its label and the weights of classes.
    pub fn row_weight(has_weights: bool) -> RowFunction {
        let operands = 1 + usize::from(has_weights);
        let weight = if has_weights { x(1) } else { number(1.0) };
        let weight = same(x(0), x(operands + 1), weight, number(0.0));
        RowFunction { operands, numbers: vec![RowNumber::Sum(weight)], result: x(operands), is_number: true }
    }

    /// The gradient of the negative log-likelihood; operands are the loss's gradient, the weight of all rows, the row's label, and the
    /// weights of classes if there are any.
    pub fn nll_loss_grad(smoothing: f64, has_weights: bool) -> RowFunction {
        let operands = 3 + usize::from(has_weights);
        let value = Expression::Less(Box::new([number(0.0), x(1), -(x(0) / x(1)), number(0.0)]));
        let result = at_target(smoothing, value, [x(2), x(operands)], has_weights.then_some(x(3)));
        RowFunction { operands, numbers: Vec::new(), result, is_number: false }
    }
}

/// The numbers of a row that lead to its mean and the reciprocal of its deviation, and the operands that these are; `first` is the operand
/// of the first number.
fn moments(operand: usize, first: usize, epsilon: f64) -> (Vec<RowNumber>, Expression, Expression) {
    let apart = x(operand) - x(first + 1);
    let numbers = vec![
        RowNumber::Sum(x(operand)),
        RowNumber::Of(x(first) / length()),
        RowNumber::Sum(apart.clone() * apart),
        RowNumber::Of(reciprocal_root(x(first + 2) / length() + number(epsilon))),
    ];
    (numbers, x(first + 1), x(first + 3))
}

/// The numbers of a row whose third is its largest element, or minus its smallest one; `first` is the operand of the first.
fn extremum_numbers(first: usize, least: bool) -> Vec<RowNumber> {
    let element = if least { -x(0) } else { x(0) };
    let not_a_number = Expression::AtMost(Box::new([x(0), x(0), number(0.0), x(0)]));
    vec![RowNumber::Largest(element), RowNumber::Sum(not_a_number), RowNumber::Of(x(first) + x(first + 1))]
}

fn softmax() -> RowFunction {
    let (max, sum) = (x(1), x(2));
    let power = exp(x(0) - max);
    let numbers = vec![RowNumber::Largest(x(0)), RowNumber::Sum(power.clone())];
    RowFunction { operands: 1, numbers, result: power / sum, is_number: false }
}

fn softmax_grad() -> RowFunction {
    let (dy, y, sum) = (x(0), x(1), x(2));
    let numbers = vec![RowNumber::Sum(dy.clone() * y.clone())];
    RowFunction { operands: 2, numbers, result: y * (dy - sum), is_number: false }
}

fn log_softmax() -> RowFunction {
    let (max, sum, log_sum) = (x(1), x(2), x(3));
    let log = Expression::Log(Box::new(sum)) + max.clone();
    let numbers = vec![RowNumber::Largest(x(0)), RowNumber::Sum(exp(x(0) - max)), RowNumber::Of(log)];
    RowFunction { operands: 1, numbers, result: x(0) - log_sum, is_number: false }
}

fn log_softmax_grad() -> RowFunction {
    let (dy, y, sum) = (x(0), x(1), x(2));
    RowFunction { operands: 2, numbers: vec![RowNumber::Sum(dy.clone())], result: dy - exp(y) * sum, is_number: false }
}

fn layer_norm_grad_input(epsilon: f64) -> RowFunction {
    let (mut numbers, mean, reciprocal) = moments(1, 3, epsilon);
    let [mean_of_g, product] = [7, 8].map(|sum| x(sum) / length());
    let g = x(0) * x(2);
    let z = (x(1) - mean) * reciprocal.clone();
    numbers.extend([RowNumber::Sum(g.clone()), RowNumber::Sum(g.clone() * z.clone())]);
    RowFunction { operands: 3, numbers, result: (g - mean_of_g - z * product) * reciprocal, is_number: false }
}

/// A number times the target at an element: the class's share of `smoothing`, and the rest at the label, by the class's weight; nothing
/// where the label is negative.
fn at_target(
    smoothing: f64,
    of: Expression,
    [label, column]: [Expression; 2],
    weight: Option<Expression>,
) -> Expression {
    let of = weight.map_or(of.clone(), |weight| of * weight);
    let (here, elsewhere) = match smoothing {
        0.0 => (of, number(0.0)),
        _ => {
            let share = number(smoothing) / length();
            (of.clone() * (number(1.0 - smoothing) + share.clone()), of * share)
        }
    };
    let at = same(label.clone(), column, here, elsewhere);
    Expression::Less(Box::new([label, number(0.0), number(0.0), at]))
}
