//! Operators that compute each element by itself, by their expressions.

use super::operands::{along_channels, operand, per_channel};
use crate::error::Fault;
use bitbudget_ir::{Expression, Facts, Read, random};
use candle_core::Tensor;

/// A part of an expression: numbers, or one number.
enum Value {
    Tensor(Tensor),
    Number(f64),
}

/// The result of an operator with these facts, whose first operand read element by element has the result's shape.
pub(super) fn elementwise(
    facts: &Facts,
    expression: &Expression,
    operands: &[&Tensor],
    shape: &[usize],
) -> Result<Tensor, Fault> {
    let device = operand(operands, 0)?.device();
    let terms = Terms { facts, operands, shape };
    match terms.value(expression)? {
        Value::Tensor(tensor) => Ok(tensor.broadcast_as(shape)?),
        Value::Number(number) => Ok(Tensor::full(number as f32, shape, device)?),
    }
}

struct Terms<'t> {
    facts: &'t Facts,
    operands: &'t [&'t Tensor],
    shape: &'t [usize],
}

impl Terms<'_> {
    fn value(&self, expression: &Expression) -> Result<Value, Fault> {
        let value = |e: &Expression| self.value(e);
        Ok(match expression {
            Expression::Operand(position) => Value::Tensor(self.operand(*position)?),
            Expression::Number(number) => Value::Number(*number),
            Expression::PerChannel(position) => Value::Number(per_channel(operand(self.operands, *position)?) as f64),
            Expression::Neg(a) => map(value(a)?, |x| -x, Tensor::neg)?,
            Expression::Sqrt(a) => map(value(a)?, f64::sqrt, Tensor::sqrt)?,
            Expression::Exp(a) => map(value(a)?, f64::exp, Tensor::exp)?,
            Expression::Log(a) => map(value(a)?, f64::ln, Tensor::log)?,
            Expression::Tanh(a) => map(value(a)?, f64::tanh, Tensor::tanh)?,
            Expression::Erf(a) => Value::Tensor(self.tensor(value(a)?)?.erf()?),
            Expression::Sin(a) => map(value(a)?, f64::sin, Tensor::sin)?,
            Expression::Cos(a) => map(value(a)?, f64::cos, Tensor::cos)?,
            Expression::Log1p(a) => map(value(a)?, f64::ln_1p, log_1p)?,
            Expression::Floor(a) => map(value(a)?, f64::floor, Tensor::floor)?,
            Expression::Round(a) => map(value(a)?, f64::round_ties_even, round)?,
            Expression::Pow(ab) => self.power(&ab[0], &ab[1])?,
            Expression::Uniform(key, ab) => Value::Tensor(self.uniform(*key, &ab[0], &ab[1])?),
            Expression::Add(ab) => add(value(&ab[0])?, value(&ab[1])?)?,
            Expression::Sub(ab) => subtract(value(&ab[0])?, value(&ab[1])?)?,
            Expression::Mul(ab) => multiply(value(&ab[0])?, value(&ab[1])?)?,
            Expression::Div(ab) => divide(value(&ab[0])?, value(&ab[1])?)?,
            Expression::Fma(abc) => add(multiply(value(&abc[0])?, value(&abc[1])?)?, value(&abc[2])?)?,
            Expression::Less(abcd) => self.choose(abcd, Tensor::broadcast_lt)?,
            Expression::AtMost(abcd) => self.choose(abcd, Tensor::broadcast_le)?,
        })
    }

    /// An operand, shaped to broadcast against the result.
    fn operand(&self, position: usize) -> Result<Tensor, Fault> {
        let x = operand(self.operands, position)?;
        match self.facts.reads.of(position) {
            Read::Channel => along_channels(x, self.shape),
            Read::Each | Read::Scalar | Read::Broadcast => Ok(x.clone()),
            Read::Shape | Read::Whole => {
                Err(Fault::Operands(format!("operand {position} has no element to compute with")))
            }
        }
    }

    fn tensor(&self, value: Value) -> Result<Tensor, Fault> {
        match value {
            Value::Tensor(tensor) => Ok(tensor),
            Value::Number(number) => Ok(Tensor::full(number as f32, (), operand(self.operands, 0)?.device())?),
        }
    }

    fn power(&self, base: &Expression, exponent: &Expression) -> Result<Value, Fault> {
        Ok(match (self.value(base)?, self.value(exponent)?) {
            (Value::Number(base), Value::Number(exponent)) => Value::Number(base.powf(exponent)),
            (Value::Tensor(base), Value::Number(exponent)) => Value::Tensor(base.powf(exponent)?),
            (base, Value::Tensor(exponent)) => Value::Tensor(power(&self.tensor(base)?, &exponent)?),
        })
    }

    /// Random numbers, made on the CPU.
    fn uniform(&self, key: u64, seed: &Expression, update: &Expression) -> Result<Tensor, Fault> {
        let whole = |number: &Expression| -> Result<u32, Fault> {
            Ok(self.tensor(self.value(number)?)?.to_scalar::<f32>()? as u32)
        };
        let key = random::key_of_update(key, whole(seed)?, whole(update)?);
        let numbers: Vec<f32> =
            (0..self.shape.iter().product()).map(|at: usize| random::uniform(key, at as u64)).collect();
        Ok(Tensor::from_vec(numbers, self.shape, operand(self.operands, 0)?.device())?)
    }

    fn choose(
        &self,
        [a, b, then, otherwise]: &[Expression; 4],
        compare: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Value, Fault> {
        let tensor = |e: &Expression| self.tensor(self.value(e)?);
        let condition = compare(&tensor(a)?, &tensor(b)?)?.broadcast_as(self.shape)?;
        let (then, otherwise) = (tensor(then)?.broadcast_as(self.shape)?, tensor(otherwise)?.broadcast_as(self.shape)?);
        Ok(Value::Tensor(condition.where_cond(&then, &otherwise)?))
    }
}

/// `a^b`: candle's own takes positive bases only.
fn power(base: &Tensor, exponent: &Tensor) -> candle_core::Result<Tensor> {
    let size = base.abs()?.broadcast_pow(exponent)?;
    let (base, exponent) = (base.broadcast_as(size.shape())?, exponent.broadcast_as(size.shape())?);
    let one = size.ones_like()?;
    // -1 for odd exponents, 1 for even ones, not a number for others.
    let half = (&exponent * 0.5)?;
    let is_odd = half.floor()?.ne(&half)?;
    let sign = is_odd.where_cond(&one.neg()?, &one)?;
    let sign = exponent.floor()?.eq(&exponent)?.where_cond(&sign, &(&one * f64::NAN)?)?;
    let signed = base.lt(0.0f32)?.where_cond(&(&size * sign)?, &size)?;
    exponent.eq(0.0f32)?.where_cond(&one, &signed)
}

/// `log(1 + x)`, exact near zero: `x` where `1 + x` is 1, else `log(1 + x) * x / ((1 + x) - 1)` (Kahan).
fn log_1p(x: &Tensor) -> candle_core::Result<Tensor> {
    let sum = (x + 1.0)?;
    let rounded = (&sum - 1.0)?;
    let exact = ((sum.log()? * x)? / &rounded)?;
    rounded.eq(0.0f32)?.where_cond(x, &exact)
}

/// The nearest whole number, the even one of two.
fn round(x: &Tensor) -> candle_core::Result<Tensor> {
    let down = x.floor()?;
    let rest = (x - &down)?;
    let is_odd = (&down * 0.5)?.floor()?.ne(&(&down * 0.5)?)?;
    let half = (rest.eq(0.5f32)? * is_odd)?;
    let is_up = (rest.gt(0.5f32)? + half)?.to_dtype(x.dtype())?;
    down + is_up
}

fn map(
    value: Value,
    number: impl Fn(f64) -> f64,
    tensor: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<Value, Fault> {
    Ok(match value {
        Value::Number(x) => Value::Number(number(x)),
        Value::Tensor(x) => Value::Tensor(tensor(&x)?),
    })
}

fn add(a: Value, b: Value) -> Result<Value, Fault> {
    Ok(match (a, b) {
        (Value::Number(a), Value::Number(b)) => Value::Number(a + b),
        (Value::Tensor(x), Value::Number(number)) | (Value::Number(number), Value::Tensor(x)) => {
            Value::Tensor((x + number)?)
        }
        (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(a.broadcast_add(&b)?),
    })
}

fn subtract(a: Value, b: Value) -> Result<Value, Fault> {
    Ok(match (a, b) {
        (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(a.broadcast_sub(&b)?),
        (a, Value::Number(b)) => add(a, Value::Number(-b))?,
        (Value::Number(a), Value::Tensor(b)) => Value::Tensor(b.affine(-1.0, a)?),
    })
}

fn multiply(a: Value, b: Value) -> Result<Value, Fault> {
    Ok(match (a, b) {
        (Value::Number(a), Value::Number(b)) => Value::Number(a * b),
        (Value::Tensor(x), Value::Number(number)) | (Value::Number(number), Value::Tensor(x)) => {
            Value::Tensor((x * number)?)
        }
        (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(a.broadcast_mul(&b)?),
    })
}

fn divide(a: Value, b: Value) -> Result<Value, Fault> {
    Ok(match (a, b) {
        (Value::Number(a), Value::Number(b)) => Value::Number(a / b),
        (Value::Tensor(x), Value::Number(number)) => Value::Tensor((x / number)?),
        (Value::Number(number), Value::Tensor(x)) => Value::Tensor((x.recip()? * number)?),
        (Value::Tensor(a), Value::Tensor(b)) => Value::Tensor(a.broadcast_div(&b)?),
    })
}
