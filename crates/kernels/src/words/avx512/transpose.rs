//! Sixteen lines of FP32 numbers, side by side in vectors and back.

use std::arch::x86_64::*;

/// Transposes sixteen lines, sixteen elements at a time; the last ones of `n` under a mask.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn transpose(lines: &[&[f32]], n: usize, out: &mut [f32]) {
    let mut from = [std::ptr::null(); 16];
    from.iter_mut().zip(lines).for_each(|(from, line)| *from = line.as_ptr());
    for p in (0..n).step_by(16) {
        let count = (n - p).min(16);
        let mask = (0xffffu32 >> (16 - count)) as __mmask16;
        let mut x = [_mm512_setzero_ps(); 16];
        for i in 0..16 {
            if i < lines.len() {
                // SAFETY: the caller's promise; the mask ends with the line.
                x[i] = unsafe { _mm512_maskz_loadu_ps(mask, from[i].add(p)) };
            }
        }
        square(&mut x);
        for (i, x) in x.iter().enumerate().take(count) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add((p + i) * 16), *x) };
        }
    }
}

/// The inverse of [`transpose`], for the first `count` lines.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn transpose_back(x: &[f32], n: usize, count: usize, lines: &mut [f32]) {
    for p in (0..n).step_by(16) {
        let len = (n - p).min(16);
        let mask = (0xffffu32 >> (16 - len)) as __mmask16;
        let mut t = [_mm512_setzero_ps(); 16];
        for i in 0..len {
            // SAFETY: the caller's promise.
            t[i] = unsafe { _mm512_loadu_ps(x.as_ptr().add((p + i) * 16)) };
        }
        square(&mut t);
        for i in 0..count {
            // SAFETY: as above; the mask ends with the line.
            unsafe { _mm512_mask_storeu_ps(lines.as_mut_ptr().add(i * n + p), mask, t[i]) };
        }
    }
}

/// Transposes a square of 16 x 16.
#[inline]
#[target_feature(enable = "avx512f")]
fn square(x: &mut [__m512; 16]) {
    let mut t = *x;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
    for i in 0..4 {
        let wide = |i: usize| _mm512_castps_pd(t[i]);
        let low = |a, b| _mm512_castpd_ps(_mm512_unpacklo_pd(wide(a), wide(b)));
        let high = |a, b| _mm512_castpd_ps(_mm512_unpackhi_pd(wide(a), wide(b)));
        x[4 * i] = low(4 * i, 4 * i + 2);
        x[4 * i + 1] = high(4 * i, 4 * i + 2);
        x[4 * i + 2] = low(4 * i + 1, 4 * i + 3);
        x[4 * i + 3] = high(4 * i + 1, 4 * i + 3);
    }
    for i in 0..4 {
        t[i] = _mm512_shuffle_f32x4::<0x88>(x[i], x[4 + i]);
        t[4 + i] = _mm512_shuffle_f32x4::<0xdd>(x[i], x[4 + i]);
        t[8 + i] = _mm512_shuffle_f32x4::<0x88>(x[8 + i], x[12 + i]);
        t[12 + i] = _mm512_shuffle_f32x4::<0xdd>(x[8 + i], x[12 + i]);
    }
    for i in 0..4 {
        x[i] = _mm512_shuffle_f32x4::<0x88>(t[i], t[8 + i]);
        x[8 + i] = _mm512_shuffle_f32x4::<0xdd>(t[i], t[8 + i]);
        x[4 + i] = _mm512_shuffle_f32x4::<0x88>(t[4 + i], t[12 + i]);
        x[12 + i] = _mm512_shuffle_f32x4::<0xdd>(t[4 + i], t[12 + i]);
    }
}
