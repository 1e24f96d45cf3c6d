//! Lines of numbers, side by side in the lanes of vectors.

#[cfg(target_arch = "x86_64")]
use crate::words::avx512::transpose as avx512;
use crate::words::simd::multiversion;

/// Puts `lines[i][p]` at `out[p * lanes + i]`, for lines of `n` elements; lanes that have no line become zero.
pub(crate) fn interleave(lines: &[&[f32]], lanes: usize, n: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if lanes == 16 && n > 1 && crate::words::simd::has_avx512() {
        assert!(lines.len() <= 16 && lines.iter().all(|line| line.len() >= n) && out.len() >= n * 16);
        // SAFETY: the processor has AVX-512; lines and `out` are long enough.
        unsafe { avx512::transpose(lines, n, out) };
        return;
    }
    interleave_portable(lines, lanes, n, out);
}

multiversion! {
    fn interleave_portable(lines: &[&[f32]], lanes: usize, n: usize, out: &mut [f32]) {
        match (lanes, lines.len()) {
            (2, 2) => interleave_lanes::<2>(lines, n, out),
            (4, 4) => interleave_lanes::<4>(lines, n, out),
            (8, 8) => interleave_lanes::<8>(lines, n, out),
            _ => {
                let out = &mut out[..n * lanes];
                out.fill(0.0);
                for (i, line) in lines.iter().enumerate() {
                    out[i..].iter_mut().step_by(lanes).zip(*line).for_each(|(out, x)| *out = *x);
                }
            }
        }
    }
}

#[inline(always)]
fn interleave_lanes<const I: usize>(lines: &[&[f32]], n: usize, out: &mut [f32]) {
    let lines: [&[f32]; I] = std::array::from_fn(|i| &lines[i][..n]);
    for (p, out) in out[..n * I].as_chunks_mut::<I>().0.iter_mut().enumerate() {
        for i in 0..I {
            out[i] = lines[i][p];
        }
    }
}

/// Puts `x[p * 16 + i]` at `lines[i * n + p]`, for `count` lines of `n` elements.
pub(crate) fn separate(x: &[f32], n: usize, count: usize, lines: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::words::simd::has_avx512() {
        assert!(x.len() >= n * 16 && lines.len() >= n * count && count <= 16);
        // SAFETY: the processor has AVX-512; `x` and `lines` are long enough.
        unsafe { avx512::transpose_back(x, n, count, lines) };
        return;
    }
    for (i, line) in lines.chunks_mut(n).enumerate().take(count) {
        line.iter_mut().zip(x[i..].iter().step_by(16)).for_each(|(y, x)| *y = *x);
    }
}

multiversion! {
    /// Elements of two BF16 numbers each, from FP32 numbers that BF16 holds: `even` in the low halves.
    pub(crate) fn pair(even: &[f32], odd: &[f32], out: &mut [f32]) {
        for ((even, odd), out) in even.iter().zip(odd).zip(out) {
            *out = f32::from_bits(even.to_bits() >> 16 | odd.to_bits() & 0xffff_0000);
        }
    }
}

multiversion! {
    /// Elements of one BF16 number each, beside a zero.
    pub(crate) fn single(numbers: &[f32], out: &mut [f32]) {
        numbers.iter().zip(out).for_each(|(x, out)| *out = f32::from_bits(x.to_bits() >> 16));
    }
}

multiversion! {
    /// Elements of two neighbours each, which BF16 holds; the last one may lack its second number.
    pub(crate) fn pair_up(numbers: &[f32], out: &mut [f32]) {
        let (pairs, last) = numbers.as_chunks::<2>();
        for (pair, out) in pairs.iter().zip(&mut *out) {
            *out = f32::from_bits(pair[0].to_bits() >> 16 | pair[1].to_bits() & 0xffff_0000);
        }
        if let ([last], Some(out)) = (last, out.last_mut()) {
            *out = f32::from_bits(last.to_bits() >> 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaving_and_its_inverse() {
        for n in [1, 2, 5, 15, 16, 17, 40] {
            let numbers: Vec<f32> = (0..16 * n).map(|i| i as f32 + 1.0).collect();
            for (lanes, count) in [(16, 16), (16, 5), (8, 8), (8, 3), (4, 4), (2, 2), (2, 1)] {
                let lines: Vec<&[f32]> = numbers.chunks(n).take(count).collect();
                let line = |lane: usize, p: usize| if lane < count { lines[lane][p] } else { 0.0 };
                let expected: Vec<f32> = (0..n * lanes).map(|i| line(i % lanes, i / lanes)).collect();
                let (mut found, mut portable) = (vec![f32::NAN; n * lanes], vec![f32::NAN; n * lanes]);
                interleave(&lines, lanes, n, &mut found);
                interleave_portable(&lines, lanes, n, &mut portable);
                assert_eq!((&found, &portable), (&expected, &expected), "{n} {lanes} {count}");
                if lanes == 16 {
                    let mut back = vec![f32::NAN; n * count];
                    separate(&found, n, count, &mut back);
                    assert_eq!(back, numbers[..n * count]);
                }
            }
        }
    }
}
