//! Loops over slices, compiled once per instruction set; the best one that the processor has is chosen at run time.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::avx512;
use crate::element::{Constants, INFINITY, MAGNITUDE, NAN, decode, encode, magnitude, round};
use crate::format::Encoding;
#[cfg(target_arch = "x86_64")]
use crate::table::Table;
use crate::{Counts, Format, Overflow};

/// A storage type of packed codes.
pub(crate) trait Code: Copy {
    /// Drops the high bits.
    fn from_bits(bits: u32) -> Self;
    fn to_bits(self) -> u32;

    /// Writes the code of every number of `xs` to `codes`, which is as long.
    fn encode_all(path: Path, format: Format, overflow: Overflow, xs: &[f32], codes: &mut [Self]) -> Counts;

    /// Writes the number of every code to `xs`, which is as long.
    fn decode_all(path: Path, format: Format, codes: &[Self], xs: &mut [f32]);

    /// Writes the BF16 bits of the number of every code to `words`, which is as long.
    fn decode_bf16_all(path: Path, format: Format, codes: &[Self], words: &mut [u16]);
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

    fn encode_all(path: Path, format: Format, overflow: Overflow, xs: &[f32], codes: &mut [u8]) -> Counts {
        #[cfg(target_arch = "x86_64")]
        if path.is_avx512() && path.available() {
            if path == Path::Avx512Vbmi
                && let Some(pack) = avx512::Pack64::new(format, overflow)
            {
                // SAFETY: there is a `Pack64` only where the processor has the instructions.
                return unsafe { avx512::encode_blocks(pack, xs, codes) };
            }
            let c = Constants::new(format, overflow);
            // SAFETY: the processor has AVX-512 F, BW, VL, DQ and POPCNT, as just asked.
            return unsafe {
                match format.encoding {
                    Encoding::Paper => avx512::encode_u8::<false>(&c, xs, codes),
                    _ => avx512::encode_u8::<true>(&c, xs, codes),
                }
            };
        }
        encode_by_loop(path, format, overflow, xs, codes)
    }

    fn decode_all(path: Path, format: Format, codes: &[u8], xs: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if path == Path::Avx512Vbmi && path.available() {
            if let Some(unpack) = avx512::Unpack64::new(format) {
                // SAFETY: there is an `Unpack64` only where the processor has the instructions.
                return unsafe { avx512::decode_blocks(unpack, codes, xs) };
            }
            // SAFETY: the processor has AVX-512 with VBMI, as just asked.
            return unsafe { avx512::decode_bytes(Table::of(format), codes, xs) };
        }
        decode_by_arithmetic(path, format, codes, xs);
    }

    fn decode_bf16_all(path: Path, format: Format, codes: &[u8], words: &mut [u16]) {
        #[cfg(target_arch = "x86_64")]
        if path == Path::Avx512Vbmi && path.available() {
            // SAFETY: the processor has AVX-512 with VBMI, as just asked.
            return unsafe { avx512::decode_bytes_bf16(Table::of(format), codes, words) };
        }
        decode_bf16_by_arithmetic(path, format, codes, words);
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

    fn encode_all(path: Path, format: Format, overflow: Overflow, xs: &[f32], codes: &mut [u16]) -> Counts {
        #[cfg(target_arch = "x86_64")]
        if path.is_avx512() && path.available() {
            let c = Constants::new(format, overflow);
            // SAFETY: the processor has AVX-512 F, BW, VL, DQ and POPCNT, as just asked.
            return unsafe {
                match format {
                    Format::BF16 => avx512::encode_bf16(&c, xs, codes),
                    Format::FP16 => avx512::encode_fp16(&c, xs, codes),
                    _ => avx512::encode_u16(&c, xs, codes),
                }
            };
        }
        encode_by_loop(path, format, overflow, xs, codes)
    }

    fn decode_all(path: Path, format: Format, codes: &[u16], xs: &mut [f32]) {
        if format == Format::BF16 {
            return widen_bf16_on(path, codes, xs);
        }
        #[cfg(target_arch = "x86_64")]
        if path.is_avx512() && path.available() && format.exponent_bits() < 8 {
            let c = Constants::new(format, Overflow::Saturate);
            // SAFETY: the processor has AVX-512 F, BW, VL and DQ, as just asked.
            return unsafe {
                match format {
                    Format::FP16 => avx512::decode_fp16(codes, xs),
                    _ => avx512::decode_words(&c, codes, xs),
                }
            };
        }
        decode_by_arithmetic(path, format, codes, xs);
    }

    fn decode_bf16_all(path: Path, format: Format, codes: &[u16], words: &mut [u16]) {
        if format == Format::BF16 {
            return canonical_bf16_on(path, codes, words);
        }
        decode_bf16_by_arithmetic(path, format, codes, words);
    }
}

fn encode_by_loop<T: Code>(path: Path, format: Format, overflow: Overflow, xs: &[f32], codes: &mut [T]) -> Counts {
    let constants = Constants::new(format, overflow);
    match format.encoding {
        Encoding::Paper => encode_loop_on::<false, T>(path, &constants, xs, codes),
        _ => encode_loop_on::<true, T>(path, &constants, xs, codes),
    }
}

fn decode_by_arithmetic<T: Code>(path: Path, format: Format, codes: &[T], xs: &mut [f32]) {
    // Decoding does not depend on the overflow mode.
    let constants = Constants::new(format, Overflow::Saturate);
    match format.encoding {
        Encoding::Paper => decode_loop_on::<false, T>(path, &constants, codes, xs),
        _ => decode_loop_on::<true, T>(path, &constants, codes, xs),
    }
}

fn decode_bf16_by_arithmetic<T: Code>(path: Path, format: Format, codes: &[T], words: &mut [u16]) {
    let constants = Constants::new(format, Overflow::Saturate);
    match format.encoding {
        Encoding::Paper => decode_bf16_loop_on::<false, T>(path, &constants, codes, words),
        _ => decode_bf16_loop_on::<true, T>(path, &constants, codes, words),
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
    /// AVX-512 F, BW, VL and DQ, and POPCNT.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same and AVX-512 VBMI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vbmi,
}

impl Path {
    /// Every path of the target, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const ALL: [Path; 4] = [Path::Avx512Vbmi, Path::Avx512, Path::Avx2, Path::Portable];
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const ALL: [Path; 1] = [Path::Portable];

    /// Whether this processor has the instructions.
    pub(crate) fn available(self) -> bool {
        // Short slices are many, and asking for the processor's flags one by one takes as long as they do.
        static FOUND: OnceLock<[bool; Path::ALL.len()]> = OnceLock::new();
        let find = || {
            let mut found = [false; Path::ALL.len()];
            Path::ALL.iter().for_each(|&path| found[path as usize] = path.is_there());
            found
        };
        FOUND.get_or_init(find)[self as usize]
    }

    fn is_there(self) -> bool {
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
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Vbmi => Path::Avx512.is_there() && is_x86_feature_detected!("avx512vbmi"),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_avx512(self) -> bool {
        matches!(self, Path::Avx512 | Path::Avx512Vbmi)
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
                    Path::Avx512 | Path::Avx512Vbmi if path.available() => {
                        // SAFETY: the processor has AVX-512 F, BW, VL and DQ, as just asked.
                        return unsafe { avx512::<$($argument),*>($($parameter),*) };
                    }
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

/// Rounds every number in place.
pub(crate) fn round_all<const IEEE: bool>(path: Path, c: &Constants, xs: &mut [f32]) -> Counts {
    #[cfg(target_arch = "x86_64")]
    if path.is_avx512() && path.available() {
        // SAFETY: the processor has AVX-512 F, BW, VL, DQ and POPCNT, as just asked.
        return unsafe { avx512::round::<IEEE>(c, xs) };
    }
    round_loop_on::<IEEE>(path, c, xs)
}

per_path! {
    round_loop_on = round_loop[const IEEE: bool][IEEE](c: &Constants, xs: &mut [f32]) -> Counts
}
per_path! {
    encode_loop_on = encode_loop[const IEEE: bool, T: Code][IEEE T](c: &Constants, xs: &[f32], codes: &mut [T]) -> Counts
}
per_path! {
    decode_loop_on = decode_loop[const IEEE: bool, T: Code][IEEE T](c: &Constants, codes: &[T], xs: &mut [f32])
}
per_path! {
    decode_bf16_loop_on = decode_bf16_loop[const IEEE: bool, T: Code][IEEE T](c: &Constants, codes: &[T], words: &mut [u16])
}
per_path! {
    widen_bf16_on = widen_bf16_loop[][](codes: &[u16], xs: &mut [f32])
}
per_path! {
    canonical_bf16_on = canonical_bf16_loop[][](codes: &[u16], words: &mut [u16])
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
pub(crate) fn round_loop<const IEEE: bool>(c: &Constants, xs: &mut [f32]) -> Counts {
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
pub(crate) fn encode_loop<const IEEE: bool, T: Code>(c: &Constants, xs: &[f32], codes: &mut [T]) -> Counts {
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
pub(crate) fn decode_loop<const IEEE: bool, T: Code>(c: &Constants, codes: &[T], xs: &mut [f32]) {
    let c = *c;
    for (x, &code) in xs.iter_mut().zip(codes) {
        *x = decode::<IEEE>(&c, code.to_bits());
    }
}

#[inline(always)]
fn decode_bf16_loop<const IEEE: bool, T: Code>(c: &Constants, codes: &[T], words: &mut [u16]) {
    let c = *c;
    for (word, &code) in words.iter_mut().zip(codes) {
        *word = (decode::<IEEE>(&c, code.to_bits()).to_bits() >> 16) as u16;
    }
}

#[inline(always)]
fn widen_bf16_loop(codes: &[u16], xs: &mut [f32]) {
    for (x, &code) in xs.iter_mut().zip(codes) {
        let wide = u32::from(code) << 16;
        *x = f32::from_bits(if wide & MAGNITUDE > INFINITY { NAN } else { wide });
    }
}

/// Copies BF16 numbers, with one NaN for all.
#[inline(always)]
fn canonical_bf16_loop(codes: &[u16], words: &mut [u16]) {
    const UPPER: u32 = 16;
    for (word, &code) in words.iter_mut().zip(codes) {
        let nan = code & (MAGNITUDE >> UPPER) as u16 > (INFINITY >> UPPER) as u16;
        *word = if nan { (NAN >> UPPER) as u16 } else { code };
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
