//! Loops over slices, compiled once per instruction set; the best one that the processor has is chosen at run time.

#[cfg(target_arch = "x86_64")]
use crate::avx512;
use crate::counts::{Counts, Overflow};
use crate::element::Constants;
use crate::format::{Encoding, Format};
use crate::loops::{
    Word, canonical_bf16_loop, count_loop, decode_bf16_loop, decode_loop, encode_loop, round_loop, widen_bf16_loop,
};
use crate::path::Path;
#[cfg(target_arch = "x86_64")]
use crate::table::Table;

/// A storage type of packed codes, with the fastest loops over slices of it.
pub(crate) trait Code: Word {
    /// Writes the code of every number of `xs` to `codes`, which is as long.
    fn encode_all(path: Path, format: Format, overflow: Overflow, xs: &[f32], codes: &mut [Self]) -> Counts;

    /// Writes the number of every code to `xs`, which is as long.
    fn decode_all(path: Path, format: Format, codes: &[Self], xs: &mut [f32]);

    /// Writes the BF16 bits of the number of every code to `words`, which is as long.
    fn decode_bf16_all(path: Path, format: Format, codes: &[Self], words: &mut [u16]);
}

impl Code for u8 {
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
