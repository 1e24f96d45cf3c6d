//! Loops over slices, compiled once per instruction set; the best one that the processor has is chosen at run time.

use crate::Counts;
use crate::element::{Constants, INFINITY, decode, encode, magnitude, round};

/// A storage type of packed codes.
pub(crate) trait Code: Copy {
    /// Drops the high bits.
    fn from_bits(bits: u32) -> Self;
    fn to_bits(self) -> u32;
}

impl Code for u8 {
    #[inline(always)]
    fn from_bits(bits: u32) -> u8 {
        bits as u8
    }

    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
}

impl Code for u16 {
    #[inline(always)]
    fn from_bits(bits: u32) -> u16 {
        bits as u16
    }

    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
}

/// An instruction set that the loops are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// What every processor of the target has.
    Portable,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Path {
    /// Every path of the target, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const ALL: [Path; 3] = [Path::Avx512, Path::Avx2, Path::Portable];
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const ALL: [Path; 1] = [Path::Portable];

    /// Whether this processor has the instructions.
    pub(crate) fn available(self) -> bool {
        match self {
            Path::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
            }
        }
    }

    /// The fastest path of this processor.
    pub(crate) fn best() -> Path {
        Path::ALL.into_iter().find(|path| path.available()).unwrap_or(Path::Portable)
    }
}

/// Defines a function that runs `$body` compiled for the path given, or for the portable one where the processor lacks
/// it.
macro_rules! per_path {
    ($(#[$doc:meta])* $name:ident = $body:ident[$($generic:tt)*][$($argument:ident)*]
        ($($parameter:ident: $type:ty),*) $(-> $result:ty)?) => {
        $(#[$doc])*
        pub(crate) fn $name<$($generic)*>(path: Path, $($parameter: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<$($generic)*>($($parameter: $type),*) $(-> $result)? {
                    $body::<$($argument),*>($($parameter),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
                fn avx512<$($generic)*>($($parameter: $type),*) $(-> $result)? {
                    $body::<$($argument),*>($($parameter),*)
                }
                match path {
                    // SAFETY: the processor has AVX-512 F, BW, VL and DQ, as just asked.
                    Path::Avx512 if path.available() => return unsafe { avx512::<$($argument),*>($($parameter),*) },
                    // SAFETY: the processor has AVX2, as just asked.
                    Path::Avx2 if path.available() => return unsafe { avx2::<$($argument),*>($($parameter),*) },
                    _ => {}
                }
            }
            let _ = path;
            $body::<$($argument),*>($($parameter),*)
        }
    };
}

per_path! {
    /// Rounds every number in place.
    round_all = round_loop[const IEEE: bool][IEEE](c: &Constants, xs: &mut [f32]) -> Counts
}
per_path! {
    /// Writes the code of every number of `xs` to `codes`, which is as long.
    encode_all = encode_loop[const IEEE: bool, T: Code][IEEE T](c: &Constants, xs: &[f32], codes: &mut [T]) -> Counts
}
per_path! {
    /// Writes the number of every code to `xs`, which is as long.
    decode_all = decode_loop[const IEEE: bool, T: Code][IEEE T](c: &Constants, codes: &[T], xs: &mut [f32])
}
per_path! {
    /// Counts the numbers that are not finite, which is all there is to count in FP32.
    count_all = count_loop[][](xs: &[f32]) -> Counts
}

/// So many numbers are counted in 32 bits, which vectorise better, before the counts are widened.
const BLOCK: usize = 1 << 16;

/// Counts within a block.
#[derive(Default)]
struct BlockCounts {
    overflow: u32,
    underflow: u32,
    not_finite: u32,
}

impl BlockCounts {
    #[inline(always)]
    fn add(&mut self, c: &Constants, x: f32) {
        let a = magnitude(x);
        self.overflow = self.overflow.wrapping_add(u32::from(a >= c.overflow_threshold));
        // Zero wraps around and does not count.
        self.underflow = self.underflow.wrapping_add(u32::from(a.wrapping_sub(1) < c.underflow_threshold - 1));
        self.not_finite = self.not_finite.wrapping_add(u32::from(a >= INFINITY));
    }

    fn widen(self) -> Counts {
        Counts {
            overflow: u64::from(self.overflow),
            underflow: u64::from(self.underflow),
            not_finite: u64::from(self.not_finite),
        }
    }
}

#[inline(always)]
fn round_loop<const IEEE: bool>(c: &Constants, xs: &mut [f32]) -> Counts {
    // A copy lives in registers, where the loop need not fear that writing to the slice changes it.
    let c = *c;
    let mut total = Counts::default();
    for block in xs.chunks_mut(BLOCK) {
        let mut counts = BlockCounts::default();
        for x in block {
            counts.add(&c, *x);
            *x = round::<IEEE>(&c, *x);
        }
        total += counts.widen();
    }
    total
}

#[inline(always)]
fn encode_loop<const IEEE: bool, T: Code>(c: &Constants, xs: &[f32], codes: &mut [T]) -> Counts {
    let c = *c;
    let mut total = Counts::default();
    for (xs, codes) in xs.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
        let mut counts = BlockCounts::default();
        for (&x, code) in xs.iter().zip(codes) {
            counts.add(&c, x);
            *code = T::from_bits(encode::<IEEE>(&c, x));
        }
        total += counts.widen();
    }
    total
}

#[inline(always)]
fn decode_loop<const IEEE: bool, T: Code>(c: &Constants, codes: &[T], xs: &mut [f32]) {
    let c = *c;
    for (x, &code) in xs.iter_mut().zip(codes) {
        *x = decode::<IEEE>(&c, code.to_bits());
    }
}

#[inline(always)]
fn count_loop(xs: &[f32]) -> Counts {
    let mut total = Counts::default();
    for block in xs.chunks(BLOCK) {
        let mut not_finite = 0u32;
        for &x in block {
            not_finite = not_finite.wrapping_add(u32::from(magnitude(x) >= INFINITY));
        }
        let not_finite = u64::from(not_finite);
        total += Counts { overflow: not_finite, underflow: 0, not_finite };
    }
    total
}
