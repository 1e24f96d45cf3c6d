//! Codes that become what tensor cores multiply without being unpacked one by one. A code of zeros is zero, so that what is not there is too.

use crate::precision::Precision;
use bitbudget_formats::Format;

/// How eight codes become eight numbers of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// They are such numbers.
    Same,
    /// Codes of 8 bits: exponent and fraction are shifted into their places by so many bits, and the exponent is corrected by a product. Codes
    /// that have a value under a mask stand for no finite number; those of infinity alone do not become NaN.
    Bytes { shift: u32, scale: u32, mask: u32, value: u32, is_nan: bool },
}

impl Words {
    /// That of a format, if there is one.
    pub(crate) fn new(format: Format, precision: Precision) -> Option<Words> {
        if (format, precision) == (Format::BF16, Precision::Bf16)
            || (format, precision) == (Format::FP16, Precision::Fp16)
        {
            return Some(Words::Same);
        }
        if format.bits() != 8 || precision != Precision::Bf16 {
            return None;
        }
        let bias = (1 << (format.exponent_bits() - 1)) - 1 + format.bias_shift();
        let (mask, value) = match format {
            Format::E4M3 => (0x7f, 0x7f),
            Format::E5M2 => (0x7c, 0x7c),
            _ => (0xff, 0x80),
        };
        // The numbers of BF16's exponents, from -126 to 127.
        let scale = (0..=127).contains(&bias).then(|| 127 + 127 - bias as u32)?;
        let is_nan = format != Format::E5M2;
        Some(Words::Bytes { shift: 1 + format.mantissa_bits(), scale: scale << 7, mask, value, is_nan })
    }

    /// Instructions of a thread on its two chunks.
    pub(crate) fn instructions(self) -> f64 {
        match self {
            Words::Same => 8.0,
            Words::Bytes { .. } => 41.0,
        }
    }

    /// C that puts a thread's chunk into shared memory.
    pub(crate) fn c(self, side: &str, at: &str) -> String {
        let word = |word: usize| format!("{side}0[i].word[{word}]");
        match self {
            Words::Same => {
                let words: Vec<String> = (0..4).map(word).collect();
                format!(
                    "            const struct quad q = {{{{{}}}}};\n            shared_put128({at}, q);\n",
                    words.join(", ")
                )
            }
            Words::Bytes { shift, scale, mask, value, is_nan } => {
                let pair = |half: u32| half << 16 | half;
                let four = |byte: u32| byte * 0x0101_0101;
                let numbers =
                    [pair(0x7fff >> shift), pair(scale), four(mask), four(value), pair(if is_nan { 0x40 } else { 0 })];
                let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:#x}")).collect();
                format!(
                    "            struct quad q;
            UNROLL for (u32 h = 0; h < 2; h++) four_bf16(q.word + 2 * h, {side}0[i].word[h], {shift}, {});
            shared_put128({at}, q);\n",
                    numbers.join(", ")
                )
            }
        }
    }
}
