//! The sums over one-byte codes of the paper's formats in AVX-512 registers; the same sums in the same order as those
//! over numbers in memory.

use std::arch::x86_64::*;

use bitbudget_formats::Unpack64;

use super::sums::{LANES, Sums};
use crate::elements::{Elements, Stored};

/// Elements of a block: four vectors of FP32, one of codes.
pub(super) const BLOCK: usize = 64;

#[derive(Clone, Copy)]
struct Codes<'a> {
    codes: &'a [u8],
    unpack: Unpack64,
}

/// Operands whose sums run in registers: x and, where the sums need it, y.
#[derive(Clone, Copy)]
pub(super) struct Fused<'a> {
    x: Codes<'a>,
    y: Codes<'a>,
}

fn codes(x: Elements<'_>) -> Option<Codes<'_>> {
    match x.stored() {
        Stored::U8(format, codes) => Some(Codes { codes, unpack: Unpack64::new(format)? }),
        _ => None,
    }
}

impl<'a> Fused<'a> {
    /// None for other operands.
    pub(super) fn new(x: Elements<'a>, y: Option<Elements<'a>>) -> Option<Self> {
        if !crate::simd::has_avx512() {
            return None;
        }
        let x = codes(x)?;
        Some(Fused { x, y: y.map_or(Some(x), codes)? })
    }

    /// The lanes of both sums of the row from `at` on, of `len` elements: whole blocks inside the operands.
    pub(super) fn row(self, sums: Sums, at: usize, len: usize, mean: f32) -> [[f32; LANES]; 2] {
        assert!(len.is_multiple_of(BLOCK) && at + len <= self.x.codes.len().min(self.y.codes.len()));
        // SAFETY: there is an `Unpack64` only where the processor has the instructions; the lengths were just checked.
        unsafe {
            match sums {
                Sums::Total => self.row_of::<TOTAL>(at, len, mean),
                Sums::Squares => self.row_of::<SQUARES>(at, len, mean),
                Sums::Products => self.row_of::<PRODUCTS>(at, len, mean),
                Sums::ProductsAndTotal => self.row_of::<PRODUCTS_AND_TOTAL>(at, len, mean),
                Sums::Deviations => self.row_of::<DEVIATIONS>(at, len, mean),
            }
        }
    }

    /// Adds blocks of positions of some images to the sums of these positions; `apart` is how many images there are and
    /// how many elements apart they lie.
    pub(super) fn positions(self, sums: Sums, at: usize, apart: [usize; 2], means: &[f32], [a, b]: [&mut [f32]; 2]) {
        let last = at + apart[0].saturating_sub(1) * apart[1] + a.len();
        assert!(last <= self.x.codes.len().min(self.y.codes.len()) && b.len() == a.len() && means.len() == a.len());
        let blocks = a.as_chunks_mut::<BLOCK>().0.iter_mut().zip(b.as_chunks_mut::<BLOCK>().0);
        for (i, ((a, b), means)) in blocks.zip(means.as_chunks::<BLOCK>().0).enumerate() {
            let at = at + i * BLOCK;
            // SAFETY: as above.
            unsafe {
                match sums {
                    Sums::Total => self.positions_of::<TOTAL>(at, apart, means, a, b),
                    Sums::Squares => self.positions_of::<SQUARES>(at, apart, means, a, b),
                    Sums::Products => self.positions_of::<PRODUCTS>(at, apart, means, a, b),
                    Sums::ProductsAndTotal => self.positions_of::<PRODUCTS_AND_TOTAL>(at, apart, means, a, b),
                    Sums::Deviations => self.positions_of::<DEVIATIONS>(at, apart, means, a, b),
                }
            }
        }
    }

    /// # Safety
    /// The processor has the instructions, and the operands the elements.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    unsafe fn row_of<const SUMS: u8>(self, at: usize, len: usize, mean: f32) -> [[f32; LANES]; 2] {
        let mean = _mm512_set1_ps(mean);
        let [mut a0, mut a1, mut b0, mut b1] = [_mm512_setzero_ps(); 4];
        for at in (at..at + len).step_by(BLOCK) {
            // SAFETY: the caller's promise.
            let (x, y) = unsafe { self.numbers::<SUMS>(at) };
            (a0, b0) = add::<SUMS>(a0, b0, x[0], y[0], mean);
            (a1, b1) = add::<SUMS>(a1, b1, x[1], y[1], mean);
            (a0, b0) = add::<SUMS>(a0, b0, x[2], y[2], mean);
            (a1, b1) = add::<SUMS>(a1, b1, x[3], y[3], mean);
        }
        let mut lanes = [[0.0; LANES]; 2];
        store(&mut lanes[0], 0, a0);
        store(&mut lanes[0], 16, a1);
        store(&mut lanes[1], 0, b0);
        store(&mut lanes[1], 16, b1);
        lanes
    }

    /// # Safety
    /// As of [`Fused::row_of`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    unsafe fn positions_of<const SUMS: u8>(
        self,
        at: usize,
        [images, stride]: [usize; 2],
        means: &[f32; BLOCK],
        a: &mut [f32; BLOCK],
        b: &mut [f32; BLOCK],
    ) {
        let [m0, m1, m2, m3] = [load(means, 0), load(means, 16), load(means, 32), load(means, 48)];
        let [mut a0, mut a1, mut a2, mut a3] = [load(a, 0), load(a, 16), load(a, 32), load(a, 48)];
        let [mut b0, mut b1, mut b2, mut b3] = [load(b, 0), load(b, 16), load(b, 32), load(b, 48)];
        for image in 0..images {
            // SAFETY: the caller's promise.
            let (x, y) = unsafe { self.numbers::<SUMS>(at + image * stride) };
            (a0, b0) = add::<SUMS>(a0, b0, x[0], y[0], m0);
            (a1, b1) = add::<SUMS>(a1, b1, x[1], y[1], m1);
            (a2, b2) = add::<SUMS>(a2, b2, x[2], y[2], m2);
            (a3, b3) = add::<SUMS>(a3, b3, x[3], y[3], m3);
        }
        for (i, sums) in [a0, a1, a2, a3].into_iter().enumerate() {
            store(a, 16 * i, sums);
        }
        for (i, sums) in [b0, b1, b2, b3].into_iter().enumerate() {
            store(b, 16 * i, sums);
        }
    }

    /// The numbers of a block of both operands.
    ///
    /// # Safety
    /// As of [`Fused::row_of`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    unsafe fn numbers<const SUMS: u8>(&self, at: usize) -> ([__m512; 4], [__m512; 4]) {
        debug_assert!(at + BLOCK <= self.x.codes.len().min(self.y.codes.len()));
        // SAFETY: the caller's promise.
        let x = self.x.unpack.numbers(unsafe { _mm512_loadu_si512(self.x.codes.as_ptr().add(at).cast()) });
        if SUMS != PRODUCTS && SUMS != PRODUCTS_AND_TOTAL {
            return (x, x);
        }
        // SAFETY: the caller's promise.
        (x, self.y.unpack.numbers(unsafe { _mm512_loadu_si512(self.y.codes.as_ptr().add(at).cast()) }))
    }
}

/// [`Sums`] as constants, for each of which the loops are compiled.
const TOTAL: u8 = Sums::Total as u8;
const SQUARES: u8 = Sums::Squares as u8;
const PRODUCTS: u8 = Sums::Products as u8;
const PRODUCTS_AND_TOTAL: u8 = Sums::ProductsAndTotal as u8;
const DEVIATIONS: u8 = Sums::Deviations as u8;

/// One more element for each lane of two sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const SUMS: u8>(a: __m512, b: __m512, x: __m512, y: __m512, mean: __m512) -> (__m512, __m512) {
    let deviation = _mm512_sub_ps(x, mean);
    match SUMS {
        TOTAL => (_mm512_add_ps(a, x), b),
        SQUARES => (_mm512_fmadd_ps(deviation, deviation, a), b),
        PRODUCTS => (_mm512_fmadd_ps(y, deviation, a), b),
        DEVIATIONS => (_mm512_add_ps(a, deviation), _mm512_fmadd_ps(deviation, deviation, b)),
        _ => (_mm512_fmadd_ps(y, deviation, a), _mm512_add_ps(b, y)),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32], at: usize) -> __m512 {
    let x = &x[at..at + 16];
    // SAFETY: the slice is as long as the vector, and the load asks for no alignment.
    unsafe { _mm512_loadu_ps(x.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(x: &mut [f32], at: usize, vector: __m512) {
    let x = &mut x[at..at + 16];
    // SAFETY: as above.
    unsafe { _mm512_storeu_ps(x.as_mut_ptr(), vector) };
}
