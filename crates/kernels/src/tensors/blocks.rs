//! Blocks of 64 one-byte codes and their numbers in AVX-512 registers.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use bitbudget_formats::{Format, Unpack64};

use crate::tensors::elements::{Bounds, Elements, Stored};

/// Elements of a block: four vectors of FP32, one of codes.
pub(crate) const BLOCK: usize = 64;

/// The codes of an operand, which may be those that a result replaces.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    first: *const u8,
    len: usize,
    lent: PhantomData<&'a [u8]>,
}

// SAFETY: who reads codes promises that no other task writes them.
unsafe impl Sync for Bytes<'_> {}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(codes: &'a [u8]) -> Self {
        Bytes { first: codes.as_ptr(), len: codes.len(), lent: PhantomData }
    }
}

impl Bytes<'_> {
    /// The codes of a result, before they are replaced.
    pub(crate) fn replaced(first: *mut u8, len: usize) -> Self {
        Bytes { first, len, lent: PhantomData }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether both are the codes of one operand.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.first == other.first
    }
}

/// The codes of an operand, and what makes numbers of them.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub(crate) codes: Bytes<'a>,
    pub(crate) unpack: Unpack64,
}

impl<'a> Codes<'a> {
    /// The codes of an operand with their format; none if it has others, or the processor lacks the instructions.
    pub(crate) fn of(x: Elements<'a>) -> Option<(Format, Self)> {
        match x.stored() {
            Stored::U8(format, codes) => Some((format, Codes { codes: codes.into(), unpack: Unpack64::new(format)? })),
            _ => None,
        }
    }
}

/// Elements go through where x, normalised by means, factors and biases, is within bounds.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) bounds: Bounds,
    pub(crate) tables: [&'a [f32]; 3],
}

/// The first `len` of 64 elements.
pub(crate) fn first(len: usize) -> u64 {
    if len < BLOCK { (1 << len) - 1 } else { u64::MAX }
}

/// 64 codes at an offset, zero where the mask says so.
///
/// # Safety
/// The codes that the mask names exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn load(codes: Bytes<'_>, at: usize, mask: u64) -> __m512i {
    debug_assert!(at + (64 - mask.leading_zeros() as usize) <= codes.len);
    // SAFETY: the caller's promise.
    unsafe { _mm512_maskz_loadu_epi8(mask, codes.first.add(at).cast()) }
}

/// The elements of four vectors that a mask names, zero for the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn masked(mask: u64, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    [
        _mm512_maskz_mov_ps(mask as u16, a),
        _mm512_maskz_mov_ps((mask >> 16) as u16, b),
        _mm512_maskz_mov_ps((mask >> 32) as u16, c),
        _mm512_maskz_mov_ps((mask >> 48) as u16, d),
    ]
}

/// The masks of four vectors in one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn joined([a, b, c, d]: [__mmask16; 4]) -> u64 {
    let (low, high) = (_mm512_kunpackw(u32::from(b), u32::from(a)), _mm512_kunpackw(u32::from(d), u32::from(c)));
    _mm512_kunpackd(u64::from(high), u64::from(low))
}

/// `(x - mean) * factor + bias`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn normalized(x: [__m512; 4], [mean, factor, bias]: [[__m512; 4]; 3]) -> [__m512; 4] {
    let affine = |i: usize| _mm512_fmadd_ps(_mm512_sub_ps(x[i], mean[i]), factor[i], bias[i]);
    [affine(0), affine(1), affine(2), affine(3)]
}

/// Which normalised numbers are within bounds, or NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn within(bounds: Bounds, z: [__m512; 4]) -> u64 {
    let (low, high) = (_mm512_set1_ps(bounds.low), _mm512_set1_ps(bounds.high));
    let within = |z: __m512| {
        let above = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(z, low);
        _mm512_mask_cmp_ps_mask::<_CMP_NGE_UQ>(above, z, high)
    };
    joined([within(z[0]), within(z[1]), within(z[2]), within(z[3])])
}
