//! Two sums over numbers in memory: of a row, or position by position.

use crate::tensors::elements::Bounds;
use crate::words::simd::{mul_add, multiversion};

/// Which sums over a channel.
#[derive(Clone, Copy)]
pub(super) enum Sums {
    /// Of x.
    Total,
    /// Of `y * (x - mean)`.
    Products,
    /// Of `y * (x - mean)` and of y.
    ProductsAndTotal,
    /// Of `x - mean` and of `(x - mean)^2`.
    Deviations,
}

/// One more element for two sums.
#[inline(always)]
fn add<const FMA: bool>(sums: Sums, [a, b]: [f32; 2], x: f32, y: f32, mean: f32) -> [f32; 2] {
    match sums {
        Sums::Total => [a + x, b],
        Sums::Products => [mul_add::<FMA>(y, x - mean, a), b],
        Sums::ProductsAndTotal => [mul_add::<FMA>(y, x - mean, a), b + y],
        Sums::Deviations => [a + (x - mean), mul_add::<FMA>(x - mean, x - mean, b)],
    }
}

/// Calls a loop with the function that adds one element, chosen outside of the loop.
macro_rules! with_sums {
    ($sums:expr, $run:ident($($argument:expr),*)) => {
        match $sums {
            Sums::Total => $run($($argument,)* |sums, x, y, m| add::<FMA>(Sums::Total, sums, x, y, m)),
            Sums::Products => $run($($argument,)* |sums, x, y, m| add::<FMA>(Sums::Products, sums, x, y, m)),
            Sums::ProductsAndTotal => {
                $run($($argument,)* |sums, x, y, m| add::<FMA>(Sums::ProductsAndTotal, sums, x, y, m))
            }
            Sums::Deviations => $run($($argument,)* |sums, x, y, m| add::<FMA>(Sums::Deviations, sums, x, y, m)),
        }
    };
}

/// Independent single-precision sums of a row.
pub(super) const LANES: usize = 32;

multiversion! {
    /// The sums of one row, of at most a tile.
    pub(super) fn row_sums(sums: Sums, x: &[f32], y: &[f32], mean: f32) -> [f64; 2] {
        with_sums!(sums, row_loop(x, y, mean))
    }
}

/// The condition that lets elements of y through: `(x - mean) * factor + bias` within bounds.
#[derive(Clone, Copy)]
pub(super) struct Passing {
    pub(super) bounds: Bounds,
    /// Mean, factor and bias.
    pub(super) factors: [f32; 3],
}

multiversion! {
    /// As [`row_sums`], of what passes of y.
    pub(super) fn passing_row_sums(sums: Sums, passing: Passing, x: &[f32], y: &[f32], mean: f32) -> [f64; 2] {
        let Passing { bounds: Bounds { low, high }, factors: [own, factor, bias] } = passing;
        let through = |x: f32, y: f32| {
            let z = mul_add::<FMA>(x - own, factor, bias);
            if z < low || z >= high { 0.0 } else { y }
        };
        match sums {
            Sums::Products => row_loop(x, y, mean, |sums, x, y, m| add::<FMA>(Sums::Products, sums, x, through(x, y), m)),
            _ => row_loop(x, y, mean, |sums, x, y, m| add::<FMA>(Sums::ProductsAndTotal, sums, x, through(x, y), m)),
        }
    }
}

#[inline(always)]
fn row_loop(x: &[f32], y: &[f32], mean: f32, f: impl Fn([f32; 2], f32, f32, f32) -> [f32; 2]) -> [f64; 2] {
    let (mut a, mut b) = ([0.0f32; LANES], [0.0f32; LANES]);
    let ((x_whole, x_rest), (y_whole, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x_whole.iter().zip(y_whole) {
        for i in 0..LANES {
            [a[i], b[i]] = f([a[i], b[i]], x[i], y[i], mean);
        }
    }
    for (i, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        [a[i], b[i]] = f([a[i], b[i]], *x, *y, mean);
    }
    [lane_sum(&a), lane_sum(&b)]
}

/// The sum of the lanes in double precision, by halves.
#[inline(always)]
pub(super) fn lane_sum(lanes: &[f32; LANES]) -> f64 {
    let mut sums: [f64; LANES / 2] = std::array::from_fn(|i| f64::from(lanes[i]) + f64::from(lanes[i + LANES / 2]));
    let mut width = LANES / 4;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

multiversion! {
    /// Adds a run of positions of one image to the sums of these positions, each about a number of its own.
    pub(super) fn add_positions(sums: Sums, x: &[f32], y: &[f32], means: &[f32], a: &mut [f32], b: &mut [f32]) {
        with_sums!(sums, position_loop(x, y, means, a, b));
    }
}

#[inline(always)]
fn position_loop(
    x: &[f32],
    y: &[f32],
    means: &[f32],
    a: &mut [f32],
    b: &mut [f32],
    f: impl Fn([f32; 2], f32, f32, f32) -> [f32; 2],
) {
    for ((((x, y), mean), a), b) in x.iter().zip(y).zip(means).zip(a).zip(b) {
        [*a, *b] = f([*a, *b], *x, *y, *mean);
    }
}
