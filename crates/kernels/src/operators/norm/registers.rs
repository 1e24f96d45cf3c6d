//! The sums over one-byte codes of the paper's formats in registers; the same sums in the same order as those
//! over numbers in memory.

use super::row::{LANES, Sums};
use crate::tensors::blocks::{Codes, Gate};
use crate::tensors::elements::{Elements, Mask, Stored};
pub(super) use crate::words::avx512::BLOCK;
use crate::words::avx512::{self, Block, Vector, masked, multiply_add, normalized, splat, sub, within, zero};

/// Operands whose sums run in registers: x and, where the sums need it, y, of which a gate may let through some only.
#[derive(Clone, Copy)]
pub(super) struct Fused<'a> {
    x: Codes<'a>,
    y: Codes<'a>,
    gate: Option<(Codes<'a>, Gate<'a>)>,
}

/// The means, factors and biases by which a gate normalises positions.
pub(super) type Factors<'t> = [&'t [f32]; 3];

impl<'a> Fused<'a> {
    /// None for other operands.
    pub(super) fn new(x: Elements<'a>, y: Option<Elements<'a>>) -> Option<Self> {
        if !crate::words::simd::has_avx512() {
            return None;
        }
        let (_, x) = Codes::of(x)?;
        let Some(y) = y else { return Some(Fused { x, y: x, gate: None }) };
        let Stored::Derived(derived) = y.stored() else { return Some(Fused { x, y: Codes::of(y)?.1, gate: None }) };
        let Mask { dy, x: of_mask, bounds, tables } = derived.mask()?;
        Some(Fused { x, y: Codes::of(dy)?.1, gate: Some((Codes::of(of_mask)?.1, Gate { bounds, tables })) })
    }

    /// The numbers by channel that the gate normalises by, if there is one.
    pub(super) fn factors(&self) -> Option<Factors<'a>> {
        self.gate.map(|(_, gate)| gate.tables)
    }

    /// Whether the operands have so many elements.
    fn has(&self, elements: usize) -> bool {
        let of_gate = self.gate.map_or(elements, |(x, _)| x.codes.len());
        elements <= self.x.codes.len().min(self.y.codes.len()).min(of_gate)
    }

    /// The lanes of both sums of the row from `at` on, of `len` elements: whole blocks inside the operands, all of a channel.
    pub(super) fn row(self, sums: Sums, at: usize, len: usize, mean: f32, channel: usize) -> [[f32; LANES]; 2] {
        assert!(len.is_multiple_of(BLOCK) && self.has(at + len));
        let factors = self.factors().map_or([0.0; 3], |tables| tables.map(|table| table[channel]));
        // SAFETY: there is an `Unpack64` only where the processor has the instructions; the lengths were just checked.
        unsafe {
            match (sums, self.gate) {
                (Sums::Total, _) => self.row_of::<TOTAL, false>(at, len, mean, factors),
                (Sums::Deviations, _) => self.row_of::<DEVIATIONS, false>(at, len, mean, factors),
                (Sums::Products, None) => self.row_of::<PRODUCTS, false>(at, len, mean, factors),
                (Sums::Products, Some(_)) => self.row_of::<PRODUCTS, true>(at, len, mean, factors),
                (Sums::ProductsAndTotal, None) => self.row_of::<PRODUCTS_AND_TOTAL, false>(at, len, mean, factors),
                (Sums::ProductsAndTotal, Some(_)) => self.row_of::<PRODUCTS_AND_TOTAL, true>(at, len, mean, factors),
            }
        }
    }

    /// Adds blocks of positions of some images to the sums of these positions; `apart` is how many images there are and
    /// how many elements apart they lie. Means, and the factors of a gate, are those of the positions.
    pub(super) fn positions(
        self,
        sums: Sums,
        at: usize,
        apart: [usize; 2],
        means: &[f32],
        factors: Factors<'_>,
        [a, b]: [&mut [f32]; 2],
    ) {
        let last = at + apart[0].saturating_sub(1) * apart[1] + a.len();
        let lengths = b.len() == a.len() && means.len() == a.len();
        assert!(self.has(last) && lengths && (self.gate.is_none() || factors.iter().all(|x| x.len() >= a.len())));
        let blocks = a.as_chunks_mut::<BLOCK>().0.iter_mut().zip(b.as_chunks_mut::<BLOCK>().0);
        for (i, ((a, b), means)) in blocks.zip(means.as_chunks::<BLOCK>().0).enumerate() {
            let (first, at) = (i * BLOCK, at + i * BLOCK);
            let block = Positions { at, apart, first, factors };
            // SAFETY: as above.
            unsafe {
                match (sums, self.gate) {
                    (Sums::Total, _) => self.positions_of::<TOTAL, false>(block, means, a, b),
                    (Sums::Deviations, _) => self.positions_of::<DEVIATIONS, false>(block, means, a, b),
                    (Sums::Products, None) => self.positions_of::<PRODUCTS, false>(block, means, a, b),
                    (Sums::Products, Some(_)) => self.positions_of::<PRODUCTS, true>(block, means, a, b),
                    (Sums::ProductsAndTotal, None) => {
                        self.positions_of::<PRODUCTS_AND_TOTAL, false>(block, means, a, b);
                    }
                    (Sums::ProductsAndTotal, Some(_)) => {
                        self.positions_of::<PRODUCTS_AND_TOTAL, true>(block, means, a, b);
                    }
                }
            }
        }
    }

    /// # Safety
    /// The processor has the instructions, and the operands the elements.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    unsafe fn row_of<const SUMS: u8, const GATED: bool>(
        self,
        at: usize,
        len: usize,
        mean: f32,
        [m, f, b]: [f32; 3],
    ) -> [[f32; LANES]; 2] {
        let mean = splat(mean);
        let factors = [[splat(m); 4], [splat(f); 4], [splat(b); 4]];
        let [mut a0, mut a1, mut b0, mut b1] = [zero(); 4];
        for at in (at..at + len).step_by(BLOCK) {
            // SAFETY: the caller's promise.
            let (x, y) = unsafe { self.numbers::<SUMS, GATED>(at, factors) };
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
    unsafe fn positions_of<const SUMS: u8, const GATED: bool>(
        self,
        Positions { at, apart: [images, stride], first, factors }: Positions<'_>,
        means: &[f32; BLOCK],
        a: &mut [f32; BLOCK],
        b: &mut [f32; BLOCK],
    ) {
        let [m0, m1, m2, m3] = [load(means, 0), load(means, 16), load(means, 32), load(means, 48)];
        let [mut a0, mut a1, mut a2, mut a3] = [load(a, 0), load(a, 16), load(a, 32), load(a, 48)];
        let [mut b0, mut b1, mut b2, mut b3] = [load(b, 0), load(b, 16), load(b, 32), load(b, 48)];
        let of_block = |x: &[f32]| [load(x, first), load(x, first + 16), load(x, first + 32), load(x, first + 48)];
        let factors = match GATED {
            true => [of_block(factors[0]), of_block(factors[1]), of_block(factors[2])],
            false => [[zero(); 4]; 3],
        };
        for image in 0..images {
            // SAFETY: the caller's promise.
            let (x, y) = unsafe { self.numbers::<SUMS, GATED>(at + image * stride, factors) };
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

    /// The numbers of a block of both operands, of y those that the gate lets through.
    ///
    /// # Safety
    /// As of [`Fused::row_of`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
    unsafe fn numbers<const SUMS: u8, const GATED: bool>(&self, at: usize, factors: [Block; 3]) -> (Block, Block) {
        debug_assert!(self.has(at + BLOCK));
        // SAFETY: the caller's promise.
        let of = |x: Codes<'_>| x.unpack.numbers(unsafe { x.codes.load(at, u64::MAX) });
        let x = of(self.x);
        if SUMS != PRODUCTS && SUMS != PRODUCTS_AND_TOTAL {
            return (x, x);
        }
        let y = of(self.y);
        match self.gate {
            Some((own, gate)) if GATED => {
                let own = if own.codes.is(&self.x.codes) { x } else { of(own) };
                (x, masked(within([gate.bounds.low, gate.bounds.high], normalized(own, factors)), y))
            }
            _ => (x, y),
        }
    }
}

/// A block of positions of some images: of the first image, how many images there are and how far they lie apart, and
/// the first position with the numbers of all positions that a gate normalises by.
#[derive(Clone, Copy)]
struct Positions<'t> {
    at: usize,
    apart: [usize; 2],
    first: usize,
    factors: Factors<'t>,
}

/// [`Sums`] as constants, for each of which the loops are compiled.
const TOTAL: u8 = Sums::Total as u8;
const PRODUCTS: u8 = Sums::Products as u8;
const PRODUCTS_AND_TOTAL: u8 = Sums::ProductsAndTotal as u8;
const DEVIATIONS: u8 = Sums::Deviations as u8;

/// One more element for each lane of two sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const SUMS: u8>(a: Vector, b: Vector, x: Vector, y: Vector, mean: Vector) -> (Vector, Vector) {
    let deviation = sub(x, mean);
    match SUMS {
        TOTAL => (avx512::add(a, x), b),
        PRODUCTS => (multiply_add(y, deviation, a), b),
        DEVIATIONS => (avx512::add(a, deviation), multiply_add(deviation, deviation, b)),
        _ => (multiply_add(y, deviation, a), avx512::add(b, y)),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32], at: usize) -> Vector {
    let x = &x[at..at + 16];
    // SAFETY: the slice is as long as the vector, and the load asks for no alignment.
    unsafe { avx512::load(x.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(x: &mut [f32], at: usize, vector: Vector) {
    let x = &mut x[at..at + 16];
    // SAFETY: as above.
    unsafe { avx512::store(x.as_mut_ptr(), vector) };
}
