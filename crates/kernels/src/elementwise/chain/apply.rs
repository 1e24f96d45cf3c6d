//! Functions of chains over one tile.

use super::evaluate::evaluate;
use super::operands::Operands;
use crate::elementwise::function::Function;
use crate::elementwise::math::{add_to, clamp, exp, map, map2, map3, sigmoid, tanh};
use crate::elementwise::normalize::{gradient_rows, normalize_rows, rows_then};
use crate::words::simd::{mul_add, multiversion};

multiversion! {
    /// Computes one tile of a part.
    pub(super) fn apply(function: &Function, operands: &Operands<'_>, y: &mut [f32]) {
        let x = |i: usize| operands.each(i);
        let scalar = |i: usize| operands.scalar(i);
        let rows = |i: usize| operands.rows(i);
        let row_len = operands.tile.row_len;
        let fma = |a: f32, b: f32, c: f32| mul_add::<FMA>(a, b, c);
        match *function {
            Function::Copy => y.copy_from_slice(x(0)),
            Function::Relu => map(x(0), y, |x| if x <= 0.0 { 0.0 } else { x }),
            Function::LeakyRelu { alpha } => map(x(0), y, |x| if x < 0.0 { alpha * x } else { x }),
            Function::Clip { min, max } => map(x(0), y, |x| clamp(x, min, max)),
            Function::Sigmoid => map(x(0), y, sigmoid::<FMA>),
            Function::Tanh => map(x(0), y, tanh::<FMA>),
            Function::Exp => map(x(0), y, exp::<FMA>),
            Function::Log => map(x(0), y, f32::ln),
            Function::Sqrt => map(x(0), y, f32::sqrt),
            Function::Scale { by } => map(x(0), y, |x| by * x),
            Function::Add => map2(x(0), x(1), y, |a, b| a + b),
            Function::Sub => map2(x(0), x(1), y, |a, b| a - b),
            Function::Mul => map2(x(0), x(1), y, |a, b| a * b),
            Function::Div => map2(x(0), x(1), y, |a, b| a / b),
            Function::Sum => match operands.count() {
                0 => y.fill(0.0),
                1 => y.copy_from_slice(x(0)),
                2 => map2(x(0), x(1), y, |a, b| a + b),
                count => {
                    map3(x(0), x(1), x(2), y, |a, b, c| a + b + c);
                    (3..count).for_each(|i| add_to(x(i), y));
                }
            },
            Function::ReluGrad => map2(x(0), x(1), y, |dy, y| if y <= 0.0 { 0.0 } else { dy }),
            Function::ClipGrad { min, max } => {
                map2(x(0), x(1), y, |dy, x| if x <= min || x >= max { 0.0 } else { dy });
            }
            Function::LeakyReluGrad { alpha } => {
                map2(x(0), x(1), y, |dy, x| if x <= 0.0 { alpha * dy } else { dy });
            }
            Function::Normalize { .. } => normalize_rows::<FMA>(row_len, x(0), [rows(0), rows(1), rows(2)], y),
            Function::NormalizeMask { low, high, .. } => {
                let of_rows = [rows(0), rows(1), rows(2)];
                rows_then::<FMA>(row_len, x(1), x(0), of_rows, y, |x, dy| if x < low || x >= high { 0.0 } else { dy });
            }
            Function::NormalizeGradInput { .. } => {
                gradient_rows::<FMA>(row_len, x(0), x(1), [rows(0), rows(1), rows(2), rows(3)], y);
            }
            Function::RunningAverage { momentum, correction } => {
                map2(x(0), x(1), y, |running, x| (1.0 - momentum) * running + momentum * correction * x);
            }
            Function::SgdVelocity { momentum, weight_decay } => {
                let scale = scalar(0);
                map3(x(0), x(1), x(2), y, |velocity, parameter, gradient| {
                    fma(momentum, velocity, fma(gradient, scale, weight_decay * parameter))
                });
            }
            Function::SgdParameter => {
                let rate = scalar(0);
                map2(x(0), x(1), y, |parameter, velocity| fma(-rate, velocity, parameter));
            }
            Function::AdamFirstMoment { beta } => {
                let scale = scalar(0);
                map2(x(0), x(1), y, |m, gradient| fma(beta, m, (1.0 - beta) * (gradient * scale)));
            }
            Function::AdamSecondMoment { beta } => {
                let scale = scalar(0);
                map2(x(0), x(1), y, |v, gradient| {
                    fma(beta, v, (1.0 - beta) * (gradient * scale) * (gradient * scale))
                });
            }
            Function::AdamwParameter { weight_decay, epsilon } => {
                let (rate, bias1, bias2) = (scalar(0), scalar(1), scalar(2));
                map3(x(0), x(1), x(2), y, |parameter, m, v| {
                    let step = rate * (m / bias1) / ((v / bias2).sqrt() + epsilon);
                    fma(parameter, fma(-rate, weight_decay, 1.0), -step)
                });
            }
            Function::Formula(ref formula) => evaluate(formula, operands, y),
        }
    }
}
