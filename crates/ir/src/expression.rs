//! Expressions that compute an element of a result from elements of operands.

use crate::array::Float;
use crate::random;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An element of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// The operand's element.
    Operand(usize),
    /// A number.
    Number(f64),
    /// How many elements of the operand a channel has: those of all axes but the second.
    PerChannel(usize),
    /// `-a`.
    Neg(Box<Expression>),
    /// `a + b`.
    Add(Box<[Expression; 2]>),
    /// `a - b`.
    Sub(Box<[Expression; 2]>),
    /// `a * b`.
    Mul(Box<[Expression; 2]>),
    /// `a / b`.
    Div(Box<[Expression; 2]>),
    /// `a * b + c`, rounded once where the processor can.
    Fma(Box<[Expression; 3]>),
    /// The square root.
    Sqrt(Box<Expression>),
    /// The exponential.
    Exp(Box<Expression>),
    /// The natural logarithm.
    Log(Box<Expression>),
    /// The hyperbolic tangent.
    Tanh(Box<Expression>),
    /// The error function.
    Erf(Box<Expression>),
    /// The sine.
    Sin(Box<Expression>),
    /// The cosine.
    Cos(Box<Expression>),
    /// `log(1 + a)`, exact near zero.
    Log1p(Box<Expression>),
    /// The largest whole number that is not above.
    Floor(Box<Expression>),
    /// The nearest whole number, the even one of two.
    Round(Box<Expression>),
    /// `a^b`.
    Pow(Box<[Expression; 2]>),
    /// A random number from 0 to below 1: of a key, a seed, the number of an update, and the element's place ([`crate::random`]).
    Uniform(u64, Box<[Expression; 2]>),
    /// `c` where `a < b`, else `d`; a NaN is not less.
    Less(Box<[Expression; 4]>),
    /// `c` where `a <= b`, else `d`; a NaN is not less.
    AtMost(Box<[Expression; 4]>),
}

/// The element of an operand.
pub(crate) fn x(operand: usize) -> Expression {
    Expression::Operand(operand)
}

pub(crate) fn number(number: f64) -> Expression {
    Expression::Number(number)
}

/// A random number, see [`Expression::Uniform`].
pub(crate) fn uniform(key: u64, seed: Expression, update: Expression) -> Expression {
    Expression::Uniform(key, Box::new([seed, update]))
}

impl Expression {
    pub(crate) fn mul_add(self, by: Expression, plus: Expression) -> Expression {
        Expression::Fma(Box::new([self, by, plus]))
    }

    pub(crate) fn sqrt(self) -> Expression {
        Expression::Sqrt(Box::new(self))
    }

    pub(crate) fn exp(self) -> Expression {
        Expression::Exp(Box::new(self))
    }

    pub(crate) fn log(self) -> Expression {
        Expression::Log(Box::new(self))
    }

    pub(crate) fn tanh(self) -> Expression {
        Expression::Tanh(Box::new(self))
    }

    pub(crate) fn erf(self) -> Expression {
        Expression::Erf(Box::new(self))
    }

    pub(crate) fn sin(self) -> Expression {
        Expression::Sin(Box::new(self))
    }

    pub(crate) fn cos(self) -> Expression {
        Expression::Cos(Box::new(self))
    }

    pub(crate) fn log_1p(self) -> Expression {
        Expression::Log1p(Box::new(self))
    }

    pub(crate) fn floor(self) -> Expression {
        Expression::Floor(Box::new(self))
    }

    pub(crate) fn round(self) -> Expression {
        Expression::Round(Box::new(self))
    }

    pub(crate) fn pow(self, exponent: Expression) -> Expression {
        Expression::Pow(Box::new([self, exponent]))
    }

    /// `then` where this is less than `bound`, else `otherwise`.
    pub(crate) fn less(self, bound: Expression, then: Expression, otherwise: Expression) -> Expression {
        Expression::Less(Box::new([self, bound, then, otherwise]))
    }

    /// `then` where this is `bound` or less, else `otherwise`.
    pub(crate) fn at_most(self, bound: Expression, then: Expression, otherwise: Expression) -> Expression {
        Expression::AtMost(Box::new([self, bound, then, otherwise]))
    }

    /// The expression where `finite`, the last operand of an optimizer's operators, is not 0; else the first operand.
    pub(crate) fn if_finite(self, finite: usize) -> Expression {
        x(finite).at_most(number(0.0), x(0), self)
    }

    /// The number of the element at a place in the result; `operand` gives operands' elements, `per_channel` how many elements of an
    /// operand a channel has.
    pub fn evaluate<F: Float>(
        &self,
        at: usize,
        operand: &impl Fn(usize) -> F,
        per_channel: &impl Fn(usize) -> usize,
    ) -> F {
        let of = |e: &Expression| e.evaluate(at, operand, per_channel);
        match self {
            Expression::Operand(position) => operand(*position),
            Expression::Number(number) => F::of(*number),
            Expression::PerChannel(position) => F::of(per_channel(*position) as f64),
            Expression::Neg(a) => -of(a),
            Expression::Add(ab) => of(&ab[0]) + of(&ab[1]),
            Expression::Sub(ab) => of(&ab[0]) - of(&ab[1]),
            Expression::Mul(ab) => of(&ab[0]) * of(&ab[1]),
            Expression::Div(ab) => of(&ab[0]) / of(&ab[1]),
            Expression::Fma(abc) => of(&abc[0]).mul_add(of(&abc[1]), of(&abc[2])),
            Expression::Sqrt(a) => of(a).sqrt(),
            Expression::Exp(a) => of(a).exp(),
            Expression::Log(a) => of(a).ln(),
            Expression::Tanh(a) => of(a).tanh(),
            Expression::Erf(a) => of(a).erf(),
            Expression::Sin(a) => of(a).sin(),
            Expression::Cos(a) => of(a).cos(),
            Expression::Log1p(a) => of(a).ln_1p(),
            Expression::Floor(a) => of(a).floor(),
            Expression::Round(a) => {
                let (x, two) = (of(a), F::of(2.0));
                let down = x.floor();
                let is_up = x - down > F::of(0.5) || x - down == F::of(0.5) && (down / two).floor() * two != down;
                (if is_up { down + F::one() } else { down }).copysign(x)
            }
            Expression::Pow(ab) => of(&ab[0]).powf(of(&ab[1])),
            Expression::Uniform(key, ab) => {
                let [seed, update] = [&ab[0], &ab[1]].map(|number| of(number).f64() as u32);
                F::of(random::uniform(random::key_of_update(*key, seed, update), at as u64).into())
            }
            Expression::Less(abcd) if of(&abcd[0]) < of(&abcd[1]) => of(&abcd[2]),
            Expression::AtMost(abcd) if of(&abcd[0]) <= of(&abcd[1]) => of(&abcd[2]),
            Expression::Less(abcd) | Expression::AtMost(abcd) => of(&abcd[3]),
        }
    }
}

impl Add for Expression {
    type Output = Expression;
    fn add(self, other: Expression) -> Expression {
        Expression::Add(Box::new([self, other]))
    }
}

impl Sub for Expression {
    type Output = Expression;
    fn sub(self, other: Expression) -> Expression {
        Expression::Sub(Box::new([self, other]))
    }
}

impl Mul for Expression {
    type Output = Expression;
    fn mul(self, other: Expression) -> Expression {
        Expression::Mul(Box::new([self, other]))
    }
}

impl Div for Expression {
    type Output = Expression;
    fn div(self, other: Expression) -> Expression {
        Expression::Div(Box::new([self, other]))
    }
}

impl Neg for Expression {
    type Output = Expression;
    fn neg(self) -> Expression {
        Expression::Neg(Box::new(self))
    }
}
