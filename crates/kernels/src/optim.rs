//! Optimizer updates, elementwise over one parameter. `inverse_scale` undoes the loss scale of a gradient.

use crate::error::{ShapeError, check};
use crate::parallel::fill;
use crate::simd::{mul_add, multiversion};
use rayon::prelude::*;

multiversion! {
    fn finite_chunk(x: &[f32]) -> bool {
        // The exponent's bits are all ones in infinities and NaNs only; no early exit, so that it runs in vectors.
        x.iter().map(|x| x.to_bits() & 0x7fff_ffff).fold(0, u32::max) < 0x7f80_0000
    }
}

/// Whether no element is infinite or NaN.
pub fn all_finite(x: &[f32]) -> bool {
    if x.len() <= crate::parallel::CHUNK {
        finite_chunk(x)
    } else {
        x.par_chunks(crate::parallel::CHUNK).all(finite_chunk)
    }
}

macro_rules! update {
    (
        $(#[$meta:meta])*
        $name:ident, $chunk:ident, ($($x:ident),+), ($($parameter:ident),*), $fma:ident => $value:expr
    ) => {
        multiversion! {
            fn $chunk($($x: &[f32],)+ $($parameter: f32,)* out: &mut [f32]) {
                let $fma = |a: f32, b: f32, c: f32| mul_add::<FMA>(a, b, c);
                let len = out.len();
                $(let $x = &$x[..len];)+
                for i in 0..len {
                    $(let $x = $x[i];)+
                    out[i] = $value;
                }
            }
        }

        $(#[$meta])*
        pub fn $name($($x: &[f32],)+ $($parameter: f32,)* out: &mut [f32]) -> Result<(), ShapeError> {
            check(stringify!($name), &[$((stringify!($x), $x.len(), out.len())),+])?;
            fill(out, |start, out| {
                let end = start + out.len();
                $chunk($(&$x[start..end],)+ $($parameter,)* out);
            });
            Ok(())
        }
    };
}

update! {
    /// Velocity of stochastic gradient descent with momentum:
    /// `momentum * velocity + grad * inverse_scale + weight_decay * parameter`.
    sgd_velocity, sgd_velocity_chunk, (velocity, parameter, grad), (inverse_scale, momentum, weight_decay),
    fma => fma(momentum, velocity, fma(grad, inverse_scale, weight_decay * parameter))
}

update! {
    /// Parameter of stochastic gradient descent: `parameter - learning_rate * velocity`.
    sgd_parameter, sgd_parameter_chunk, (parameter, velocity), (learning_rate),
    fma => fma(-learning_rate, velocity, parameter)
}

update! {
    /// First moment of Adam: `beta1 * m + (1 - beta1) * grad * inverse_scale`.
    adam_first_moment, adam_first_moment_chunk, (m, grad), (inverse_scale, beta1),
    fma => fma(beta1, m, (1.0 - beta1) * (grad * inverse_scale))
}

update! {
    /// Second moment of Adam: `beta2 * v + (1 - beta2) * (grad * inverse_scale)^2`.
    adam_second_moment, adam_second_moment_chunk, (v, grad), (inverse_scale, beta2),
    fma => fma(beta2, v, (1.0 - beta2) * (grad * inverse_scale) * (grad * inverse_scale))
}

update! {
    /// Parameter of AdamW (as in PyTorch): `parameter * (1 - learning_rate * weight_decay) - learning_rate * (m / bias1)
    /// / (sqrt(v / bias2) + eps)`, where `bias1 = 1 - beta1^step` and `bias2 = 1 - beta2^step`.
    adamw_parameter, adamw_parameter_chunk, (parameter, m, v), (learning_rate, weight_decay, eps, bias1, bias2),
    fma => fma(
        parameter,
        fma(-learning_rate, weight_decay, 1.0),
        -(learning_rate * (m / bias1) / ((v / bias2).sqrt() + eps))
    )
}
