//! The loops of pooling over windows that lie side by side.

use super::layout::{LANES, Tap};
use crate::words::simd::multiversion;

/// Whether `x` replaces the maximum so far: larger, or with `NAN` the first NaN. The negated comparison is one
/// instruction.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
#[inline(always)]
fn replaces<const NAN: bool>(x: f32, best: f32) -> bool {
    if NAN { !(x <= best) & !best.is_nan() } else { x > best }
}

multiversion! {
    pub(super) fn has_nan(x: &[f32]) -> bool {
        x.iter().fold(false, |any, x| any | x.is_nan())
    }
}

multiversion! {
    pub(super) fn maxima(nan: bool, x: &[f32], taps: &[Tap], y: &mut [[f32; LANES]]) {
        match nan {
            true => maxima_with::<true>(x, taps, y),
            false => maxima_with::<false>(x, taps, y),
        }
    }
}

#[inline(always)]
fn maxima_with<const NAN: bool>(x: &[f32], taps: &[Tap], y: &mut [[f32; LANES]]) {
    for (block, y) in y.iter_mut().enumerate() {
        let mut best = [f32::NEG_INFINITY; LANES];
        for tap in taps {
            let x = tap.lanes(x, block);
            for i in 0..LANES {
                best[i] = if replaces::<NAN>(x[i], best[i]) { x[i] } else { best[i] };
            }
        }
        *y = best;
    }
}

multiversion! {
    /// `positions` hold those of the windows' first elements and become those of the maxima.
    pub(super) fn maxima_and_positions(
        nan: bool, x: &[f32], taps: &[Tap], y: &mut [[f32; LANES]], positions: &mut [[f32; LANES]],
    ) {
        match nan {
            true => maxima_and_positions_with::<true>(x, taps, y, positions),
            false => maxima_and_positions_with::<false>(x, taps, y, positions),
        }
    }
}

#[inline(always)]
fn maxima_and_positions_with<const NAN: bool>(
    x: &[f32],
    taps: &[Tap],
    y: &mut [[f32; LANES]],
    positions: &mut [[f32; LANES]],
) {
    for (block, (y, positions)) in y.iter_mut().zip(positions).enumerate() {
        let (mut best, mut position) = ([f32::NEG_INFINITY.to_bits(); LANES], positions.map(f32::to_bits));
        for tap in taps {
            let x = tap.lanes(x, block);
            // Written with masks, since two selections by one comparison are not vectorised.
            for i in 0..LANES {
                let mask = 0u32.wrapping_sub(u32::from(replaces::<NAN>(x[i], f32::from_bits(best[i]))));
                best[i] ^= (best[i] ^ x[i].to_bits()) & mask;
                position[i] ^= (position[i] ^ tap.position.to_bits()) & mask;
            }
        }
        (*y, *positions) = (best.map(f32::from_bits), position.map(f32::from_bits));
    }
}

multiversion! {
    pub(super) fn averages(x: &[f32], taps: &[Tap], shares: &[[f32; LANES]], y: &mut [[f32; LANES]]) {
        for (block, (y, shares)) in y.iter_mut().zip(shares).enumerate() {
            let mut sum = [0.0; LANES];
            for tap in taps {
                let x = tap.lanes(x, block);
                for i in 0..LANES {
                    sum[i] += x[i];
                }
            }
            for i in 0..LANES {
                y[i] = sum[i] * shares[i];
            }
        }
    }
}

multiversion! {
    /// Sums of what the windows around each input give to it.
    pub(super) fn back_sums(dy: &[f32], taps: &[Tap], dx: &mut [[f32; LANES]]) {
        for (block, dx) in dx.iter_mut().enumerate() {
            let mut sum = [0.0; LANES];
            for tap in taps {
                let dy = tap.lanes(dy, block);
                for i in 0..LANES {
                    sum[i] += dy[i];
                }
            }
            *dx = sum;
        }
    }
}

multiversion! {
    /// [`back_sums`] of the windows whose maximum is at the tap.
    pub(super) fn back_maxima(dy: &[f32], positions: &[f32], taps: &[Tap], dx: &mut [[f32; LANES]]) {
        for (block, dx) in dx.iter_mut().enumerate() {
            let mut sum = [0.0; LANES];
            for tap in taps {
                let (dy, positions) = (tap.lanes(dy, block), tap.lanes(positions, block));
                for i in 0..LANES {
                    sum[i] += if positions[i] == tap.position { dy[i] } else { 0.0 };
                }
            }
            *dx = sum;
        }
    }
}

multiversion! {
    /// Averages of whole planes of `area` elements.
    pub(super) fn plane_averages(x: &[f32], area: usize, share: f32, y: &mut [f32]) {
        const SIDE_BY_SIDE: usize = 8;
        let (groups, rest) = y.as_chunks_mut::<SIDE_BY_SIDE>();
        let (x_groups, x_rest) = x.split_at(groups.len() * SIDE_BY_SIDE * area);
        for (y, x) in groups.iter_mut().zip(x_groups.chunks_exact(SIDE_BY_SIDE * area)) {
            let planes: [&[f32]; SIDE_BY_SIDE] = std::array::from_fn(|i| &x[i * area..][..area]);
            let mut sums = [0.0f32; SIDE_BY_SIDE];
            for at in 0..area {
                for i in 0..SIDE_BY_SIDE {
                    sums[i] += planes[i][at];
                }
            }
            *y = sums.map(|sum| sum * share);
        }
        for (y, x) in rest.iter_mut().zip(x_rest.chunks_exact(area)) {
            *y = x.iter().fold(0.0, |sum, x| sum + x) * share;
        }
    }
}
