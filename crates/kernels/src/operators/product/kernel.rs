//! Blocks of 8 rows and up to 3 vectors of 16 columns, summed in registers.

use bitbudget_formats::Format;

/// Elements of a vector, and rows of a panel.
pub(crate) const LANES: usize = 16;
/// Vectors of a block at most.
pub(crate) const VECTORS: usize = 3;
/// Rows of a block at most: half a panel.
pub(crate) const ROWS: usize = 8;

/// The type of the operands' elements, and how two are multiplied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arithmetic {
    /// An FP32 number; fused multiply-adds where the processor has them.
    F32,
    /// Two BF16 numbers that meet in one dot product. FP32 sums; denormal numbers count as zero.
    Bf16,
}

impl Arithmetic {
    /// The fastest arithmetic that holds the numbers of both formats exactly.
    pub(crate) fn of(a: Format, b: Format) -> Arithmetic {
        match narrow(a) && narrow(b) && crate::words::simd::has_fast_bf16() {
            true => Arithmetic::Bf16,
            false => Arithmetic::F32,
        }
    }

    /// Every arithmetic that some processor takes for operands of these formats.
    pub(crate) fn any_of(a: Format, b: Format) -> &'static [Arithmetic] {
        if narrow(a) && narrow(b) { &[Arithmetic::F32, Arithmetic::Bf16] } else { &[Arithmetic::F32] }
    }

    /// Numbers in one element.
    pub(crate) fn numbers(self) -> usize {
        match self {
            Arithmetic::F32 => 1,
            Arithmetic::Bf16 => 2,
        }
    }
}

/// Whether BF16 holds every number of the format, apart from denormal ones.
pub(crate) fn narrow(format: Format) -> bool {
    format.mantissa_bits() <= 7
}

/// A block of a product: `c[row][lane of vector j] (+)= sum over steps [i, k] of a[i + row] * b[j][k + lane]`.
pub(crate) struct Block<'a> {
    pub(crate) a: *const f32,
    /// Elements from `a` and from `b[j]` to the operands of every step.
    pub(crate) steps: &'a [[u32; 2]],
    pub(crate) b: [*const f32; VECTORS],
    pub(crate) c: [*mut f32; VECTORS],
    /// Vectors of the block, 1 to [`VECTORS`].
    pub(crate) vectors: usize,
    /// Elements from one row of `c` to the next.
    pub(crate) row: usize,
    /// Rows that are written, 1 to [`ROWS`].
    pub(crate) rows: usize,
    /// The initial values of the rows' sums. Without them, sums begin with zero and are added to the content of `c`,
    /// so that long sums are sums of sums.
    pub(crate) start: Option<&'a [f32; ROWS]>,
}

/// The code that computes blocks on this processor.
#[derive(Clone, Copy)]
pub(crate) struct Kernel([unsafe fn(&Block); VECTORS]);

impl Kernel {
    pub(crate) fn new(arithmetic: Arithmetic) -> Kernel {
        #[cfg(target_arch = "x86_64")]
        {
            if arithmetic == Arithmetic::Bf16 {
                return Kernel([x86::bf16::<1>, x86::bf16::<2>, x86::bf16::<3>]);
            }
            if crate::words::simd::has_avx512() {
                return Kernel([x86::avx512::<1>, x86::avx512::<2>, x86::avx512::<3>]);
            }
            if crate::words::simd::has_avx2() {
                return Kernel([x86::avx2; VECTORS]);
            }
        }
        let _ = arithmetic;
        Kernel([portable::<{ cfg!(target_arch = "aarch64") }>; VECTORS])
    }

    /// Computes one block.
    ///
    /// # Safety
    /// For all steps `[i, k]`, `a[i..][..ROWS]` and `b[j][k..][..LANES]` are readable; `c[j][row * i..][..LANES]`
    /// is writable for the rows that are written, and no other thread touches it.
    #[inline]
    pub(crate) unsafe fn run(self, block: &Block) {
        // SAFETY: the caller's promise; `new` chose code that the processor can run.
        unsafe { self.0[block.vectors - 1](block) }
    }
}

/// Blocks for processors without 512-bit vectors: four rows of one vector at a time.
#[inline(always)]
unsafe fn portable<const FMA: bool>(block: &Block) {
    const HALF: usize = ROWS / 2;
    for j in 0..block.vectors {
        for first in (0..block.rows).step_by(HALF) {
            let mut sums = [[0.0f32; LANES]; HALF];
            let rows = HALF.min(block.rows - first);
            // SAFETY: the caller's promise.
            unsafe {
                if let Some(start) = block.start {
                    (0..rows).for_each(|r| sums[r] = [start[first + r]; LANES]);
                }
                for &[i, k] in block.steps {
                    let b: [f32; LANES] = *block.b[j].add(k as usize).cast();
                    let a: [f32; HALF] = *block.a.add(i as usize + first).cast();
                    for r in 0..HALF {
                        for i in 0..LANES {
                            sums[r][i] = crate::words::simd::mul_add::<FMA>(a[r], b[i], sums[r][i]);
                        }
                    }
                }
                for r in 0..rows {
                    let c: &mut [f32; LANES] = &mut *block.c[j].add((first + r) * block.row).cast();
                    for i in 0..LANES {
                        c[i] = if block.start.is_some() { sums[r][i] } else { c[i] + sums[r][i] };
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Block, ROWS};
    use crate::words::avx512::bf16::dot;
    use crate::words::avx512::{add, load, multiply_add, splat, store, zero};

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(block: &Block) {
        // SAFETY: the caller's promise.
        unsafe { super::portable::<true>(block) }
    }

    macro_rules! block {
        ($name:ident, $features:literal, $multiply:ident) => {
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<const V: usize>(block: &Block) {
                let mut sums = [[zero(); V]; ROWS];
                // SAFETY: the caller's promise.
                unsafe {
                    for r in 0..ROWS {
                        for j in 0..V {
                            if let Some(start) = block.start {
                                sums[r][j] = splat(start[r]);
                            }
                        }
                    }
                    for &[i, k] in block.steps {
                        let a = block.a.add(i as usize);
                        let mut b = [zero(); V];
                        for j in 0..V {
                            b[j] = load(block.b[j].add(k as usize));
                        }
                        for r in 0..ROWS {
                            let a = splat(*a.add(r));
                            for j in 0..V {
                                sums[r][j] = $multiply(a, b[j], sums[r][j]);
                            }
                        }
                    }
                    for r in 0..ROWS {
                        if r < block.rows {
                            for j in 0..V {
                                let c = block.c[j].add(r * block.row);
                                let before = match block.start {
                                    None => load(c),
                                    Some(_) => splat(-0.0),
                                };
                                store(c, add(before, sums[r][j]));
                            }
                        }
                    }
                }
            }
        };
    }

    block!(avx512, "avx512f", multiply_add);
    block!(bf16, "avx512f,avx512bf16", dot);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code path that this processor can run.
    fn kernels() -> Vec<Kernel> {
        let mut kernels = vec![Kernel([portable::<false>; VECTORS])];
        #[cfg(target_arch = "x86_64")]
        {
            if crate::words::simd::has_avx2() {
                kernels.push(Kernel([x86::avx2; VECTORS]));
            }
            if crate::words::simd::has_avx512() {
                kernels.push(Kernel([x86::avx512::<1>, x86::avx512::<2>, x86::avx512::<3>]));
            }
        }
        kernels
    }

    #[test]
    fn every_path_computes_every_block() {
        const DEPTH: usize = 7;
        // Whole numbers, so that every order of the sums gives the same.
        let a: Vec<f32> = (0..DEPTH * LANES).map(|i| (i % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..200).map(|i| (i % 7) as f32 - 3.0).collect();
        let steps: Vec<[u32; 2]> = (0..DEPTH as u32).map(|k| [(DEPTH as u32 - 1 - k) * LANES as u32, 5 * k]).collect();
        let start = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        for (vectors, rows) in (1..=VECTORS).flat_map(|v| (1..=ROWS).map(move |r| (v, r))) {
            for begins in [true, false] {
                let row = VECTORS * LANES;
                let before: Vec<f32> = (0..ROWS * row).map(|i| i as f32).collect();
                let mut expected = before.clone();
                for (r, j, i) in
                    (0..rows).flat_map(|r| (0..vectors).flat_map(move |j| (0..LANES).map(move |i| (r, j, i))))
                {
                    let products = steps.iter().map(|&[p, q]| a[p as usize + r] * b[j * 20 + q as usize + i]);
                    let c = &mut expected[r * row + j * LANES + i];
                    *c = if begins { start[r] } else { *c } + products.sum::<f32>();
                }
                for kernel in kernels() {
                    let mut c = before.clone();
                    let block = Block {
                        a: a.as_ptr(),
                        steps: &steps,
                        b: std::array::from_fn(|j| b[j * 20..].as_ptr()),
                        c: std::array::from_fn(|j| c[j * LANES..].as_mut_ptr()),
                        vectors,
                        row,
                        rows,
                        start: begins.then_some(&start),
                    };
                    // SAFETY: the slices are long enough for all steps, rows and vectors.
                    unsafe { kernel.run(&block) };
                    assert_eq!(c, expected, "{vectors} vectors, {rows} rows");
                }
            }
        }
    }
}
