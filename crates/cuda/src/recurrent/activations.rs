//! The activations of recurrent layers.

use bitbudget_ir::{Activation, ActivationFunction, Expression};

fn number(number: f64) -> Expression {
    Expression::Number(number)
}

fn less(a: Expression, b: Expression, then: Expression, otherwise: Expression) -> Expression {
    Expression::Less(Box::new([a, b, then, otherwise]))
}

fn exp(of: Expression) -> Expression {
    Expression::Exp(Box::new(of))
}

fn tanh(of: Expression) -> Expression {
    Expression::Tanh(Box::new(of))
}

/// An activation of the operand.
pub(super) fn value(of: Activation) -> Expression {
    let (x, zero, one) = (Expression::Operand(0), number(0.0), number(1.0));
    let (alpha, beta) = (number(of.alpha.0), number(of.beta.0));
    let positive = less(zero.clone(), x.clone(), x.clone(), zero.clone());
    let distance = less(x.clone(), zero.clone(), -x.clone(), x.clone());
    match of.function {
        ActivationFunction::Sigmoid => one.clone() / (one + exp(-x)),
        ActivationFunction::Tanh => tanh(x),
        ActivationFunction::Relu => positive,
        ActivationFunction::Affine => alpha * x + beta,
        ActivationFunction::LeakyRelu => less(x.clone(), zero, alpha * x.clone(), x),
        ActivationFunction::ThresholdedRelu => less(x.clone(), alpha, zero, x),
        ActivationFunction::ScaledTanh => alpha * tanh(beta * x),
        ActivationFunction::HardSigmoid => {
            let line = alpha * x + beta;
            less(line.clone(), zero.clone(), zero, less(one.clone(), line.clone(), one, line))
        }
        ActivationFunction::Elu => less(x.clone(), zero, alpha * (exp(x.clone()) - one), x),
        ActivationFunction::Softsign => x / (one + distance),
        ActivationFunction::Softplus => positive + Expression::Log1p(Box::new(exp(-distance))),
    }
}

/// Its derivative at the operand.
pub(super) fn slope(of: Activation) -> Expression {
    let (x, zero, one) = (Expression::Operand(0), number(0.0), number(1.0));
    let (alpha, beta) = (number(of.alpha.0), number(of.beta.0));
    let sigmoid = one.clone() / (one.clone() + exp(-x.clone()));
    let square = |x: Expression| x.clone() * x;
    match of.function {
        ActivationFunction::Sigmoid => sigmoid.clone() * (one - sigmoid),
        ActivationFunction::Tanh => one - square(tanh(x)),
        ActivationFunction::Relu => less(zero.clone(), x, one, zero),
        ActivationFunction::Affine => alpha,
        ActivationFunction::LeakyRelu => less(x, zero, alpha, one),
        ActivationFunction::ThresholdedRelu => less(x, alpha, zero, one),
        ActivationFunction::ScaledTanh => alpha * beta.clone() * (one - square(tanh(beta * x))),
        ActivationFunction::HardSigmoid => {
            let line = alpha.clone() * x + beta;
            less(zero.clone(), line.clone(), less(line, one, alpha, zero.clone()), zero)
        }
        ActivationFunction::Elu => less(x.clone(), zero, alpha * exp(x), one),
        ActivationFunction::Softsign => {
            let distance = less(x.clone(), zero, -x.clone(), x);
            one.clone() / square(one + distance)
        }
        ActivationFunction::Softplus => sigmoid,
    }
}
