//! Numbers and comparisons that the tests share.
#![allow(dead_code, clippy::unwrap_used)]

use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16, unpack_u8, unpack_u16};
use bitbudget_kernels::{Elements, Output};

/// Reproducible numbers in -1..1.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect()
}

/// Fails where an element is further from the oracle's than `tolerance` times (1 + its magnitude).
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(f) - e).abs();
        assert!(error <= tolerance * (1.0 + e.abs()), "element {i}: {f} where the oracle has {e}");
    }
}

/// A result in FP32 that is not rounded.
pub(crate) fn out(numbers: &mut [f32]) -> Output<'_> {
    numbers.into()
}

/// The bits of a result, to compare two runs.
pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Runs `f` on pools of 1, 2 and 3 threads and fails where the bits differ.
#[track_caller]
pub(crate) fn same_for_any_threads(f: impl Fn() -> Vec<f32> + Send + Sync) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        bits(&pool.install(&f))
    };
    let one = run(1);
    assert!(!one.is_empty());
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

/// A tensor in a format of 8 to 16 bits, with the numbers that it holds beside.
pub(crate) struct Packed {
    format: Format,
    narrow: Vec<u8>,
    wide: Vec<u16>,
    numbers: Vec<f32>,
}

impl Packed {
    /// Reproducible numbers in -1..1, rounded.
    pub(crate) fn new(format: Format, len: usize, seed: u64) -> Self {
        Packed::of(format, &numbers(len, seed))
    }

    pub(crate) fn of(format: Format, numbers: &[f32]) -> Self {
        let mut packed = Packed::empty(format, numbers.len());
        if format.bytes() == 1 {
            pack_u8(format, Overflow::NotFinite, numbers, &mut packed.narrow).unwrap();
            unpack_u8(format, &packed.narrow, &mut packed.numbers).unwrap();
        } else {
            pack_u16(format, Overflow::NotFinite, numbers, &mut packed.wide).unwrap();
            unpack_u16(format, &packed.wide, &mut packed.numbers).unwrap();
        }
        packed
    }

    pub(crate) fn empty(format: Format, len: usize) -> Self {
        let (narrow, wide) = if format.bytes() == 1 { (len, 0) } else { (0, len) };
        Packed { format, narrow: vec![0xa5; narrow], wide: vec![0xa5a5; wide], numbers: vec![f32::NAN; len] }
    }

    /// The codes, or the numbers that they stand for.
    pub(crate) fn elements(&self, packed: bool) -> Elements<'_> {
        match self.format.bytes() {
            _ if !packed => self.numbers[..].into(),
            1 => Elements::u8(self.format, &self.narrow).unwrap(),
            _ => Elements::u16(self.format, &self.wide).unwrap(),
        }
    }

    pub(crate) fn output(&mut self, overflow: Overflow) -> Output<'_> {
        match self.format.bytes() {
            1 => Output::u8(self.format, overflow, &mut self.narrow).unwrap(),
            _ => Output::u16(self.format, overflow, &mut self.wide).unwrap(),
        }
    }

    pub(crate) fn codes(&self) -> (&[u8], &[u16]) {
        (&self.narrow, &self.wide)
    }
}
