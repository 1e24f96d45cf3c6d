//! Tensors as the file stores them: raw bytes, typed fields, external files.

use crate::file::constant::{Constant, Elements, Int};
use crate::file::external::{self, DataFolders};
use half::{bf16, f16};
use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use std::borrow::Cow;

/// A tensor of a file in the two kinds that import knows: whole numbers and FP32.
pub(crate) struct Decoded {
    pub(crate) constant: Constant,
    /// Whether FP64 numbers were rounded to FP32.
    pub(crate) rounded: bool,
}

/// How an element is stored.
#[derive(Clone, Copy)]
enum Stored {
    Float(u32),
    Whole { bits: u32, signed: bool },
    Bool,
}

fn stored(kind: DataType) -> Option<Stored> {
    Some(match kind {
        DataType::FLOAT => Stored::Float(32),
        DataType::DOUBLE => Stored::Float(64),
        DataType::FLOAT16 | DataType::BFLOAT16 => Stored::Float(16),
        DataType::FLOAT8E4M3FN | DataType::FLOAT8E4M3FNUZ | DataType::FLOAT8E5M2 | DataType::FLOAT8E5M2FNUZ => {
            Stored::Float(8)
        }
        DataType::INT64 => Stored::Whole { bits: 64, signed: true },
        DataType::INT32 => Stored::Whole { bits: 32, signed: true },
        DataType::INT16 => Stored::Whole { bits: 16, signed: true },
        DataType::INT8 => Stored::Whole { bits: 8, signed: true },
        DataType::INT4 => Stored::Whole { bits: 4, signed: true },
        DataType::UINT64 => Stored::Whole { bits: 64, signed: false },
        DataType::UINT32 => Stored::Whole { bits: 32, signed: false },
        DataType::UINT16 => Stored::Whole { bits: 16, signed: false },
        DataType::UINT8 => Stored::Whole { bits: 8, signed: false },
        DataType::UINT4 => Stored::Whole { bits: 4, signed: false },
        DataType::BOOL => Stored::Bool,
        DataType::UNDEFINED | DataType::STRING | DataType::COMPLEX64 | DataType::COMPLEX128 => return None,
    })
}

/// The name of an ONNX element type.
pub(crate) fn type_name(code: i32) -> String {
    use protobuf::Enum;
    DataType::from_i32(code).map_or_else(|| format!("element type {code}"), |kind| format!("{kind:?}"))
}

/// Whether an ONNX element type is a floating-point one that is computed in FP32 here.
pub(crate) fn is_float(code: i32) -> bool {
    use protobuf::Enum;
    matches!(DataType::from_i32(code).and_then(stored), Some(Stored::Float(_)))
}

/// Whether an ONNX element type is a whole number or a truth value.
pub(crate) fn is_whole(code: i32) -> bool {
    use protobuf::Enum;
    matches!(DataType::from_i32(code).and_then(stored), Some(Stored::Whole { .. } | Stored::Bool))
}

/// Reads a tensor; `data` says where external data may lie.
pub(crate) fn decode(tensor: &TensorProto, data: Option<&DataFolders>) -> Result<Decoded, String> {
    use protobuf::Enum;
    let kind = DataType::from_i32(tensor.data_type);
    let (Some(kind), Some(stored)) = (kind, kind.and_then(stored)) else {
        return Err(format!("its element type {} is not supported", type_name(tensor.data_type)));
    };
    let mut elements = 1usize;
    let mut shape = Vec::with_capacity(tensor.dims.len());
    for &dim in &tensor.dims {
        let size = usize::try_from(dim).map_err(|_| format!("its dimensions {:?} are negative", tensor.dims))?;
        let product = elements.checked_mul(size).filter(|&n| n <= MOST_ELEMENTS);
        elements = product.ok_or_else(|| format!("its dimensions {:?} are too large", tensor.dims))?;
        shape.push(size);
    }
    let external = tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL);
    let raw: Cow<[u8]> = if external {
        Cow::Owned(external::read(&tensor.external_data, bytes(stored, elements), data)?)
    } else {
        Cow::Borrowed(&tensor.raw_data)
    };
    let typed = typed_length(tensor, kind);
    if !external && raw.is_empty() && (typed > 0 || elements == 0) {
        let needed = if matches!(stored, Stored::Whole { bits: 4, .. }) { elements.div_ceil(2) } else { elements };
        if typed != needed {
            return Err(format!("its shape {shape:?} needs {needed} elements, {typed} are there"));
        }
        return Ok(from_typed(tensor, kind, stored, shape, elements));
    }
    let needed = bytes(stored, elements);
    if raw.len() != needed {
        return Err(format!("its shape {shape:?} of {kind:?} needs {needed} bytes, {} are there", raw.len()));
    }
    Ok(from_raw(&raw, kind, stored, shape, elements))
}

/// More elements than any file can hold.
const MOST_ELEMENTS: usize = 1 << 40;

fn bytes(stored: Stored, elements: usize) -> usize {
    match stored {
        Stored::Float(bits) | Stored::Whole { bits, .. } => (elements * bits as usize).div_ceil(8),
        Stored::Bool => elements,
    }
}

fn typed_length(tensor: &TensorProto, kind: DataType) -> usize {
    match kind {
        DataType::FLOAT => tensor.float_data.len(),
        DataType::DOUBLE => tensor.double_data.len(),
        DataType::INT64 => tensor.int64_data.len(),
        DataType::UINT32 | DataType::UINT64 => tensor.uint64_data.len(),
        _ => tensor.int32_data.len(),
    }
}

fn from_typed(tensor: &TensorProto, kind: DataType, stored: Stored, shape: Vec<usize>, elements: usize) -> Decoded {
    let words = || tensor.int32_data.iter().map(|&w| w as u32 as u64);
    let whole = |bits: Box<dyn Iterator<Item = i64> + '_>| Elements::Ints(bits.map(Int::fixed).collect());
    let (elements, rounded) = match (kind, stored) {
        (DataType::FLOAT, _) => (Elements::Floats(tensor.float_data.clone()), false),
        (DataType::DOUBLE, _) => from_doubles(tensor.double_data.iter().copied()),
        (_, Stored::Float(_)) => (Elements::Floats(words().map(|w| small_float(kind, w as u16)).collect()), false),
        (DataType::INT64, _) => (whole(Box::new(tensor.int64_data.iter().copied())), false),
        (DataType::UINT32 | DataType::UINT64, _) => {
            (whole(Box::new(tensor.uint64_data.iter().map(|&w| i64::try_from(w).unwrap_or(i64::MAX)))), false)
        }
        (_, Stored::Whole { bits: 4, signed }) => {
            let nibbles = words().flat_map(|w| [w & 15, w >> 4 & 15]).take(elements);
            (whole(Box::new(nibbles.map(|w| extend(w, 4, signed)))), false)
        }
        _ => (whole(Box::new(tensor.int32_data.iter().map(|&w| i64::from(w)))), false),
    };
    Decoded { constant: Constant { shape, elements }, rounded }
}

fn from_raw(raw: &[u8], kind: DataType, stored: Stored, shape: Vec<usize>, elements: usize) -> Decoded {
    let width = bytes(stored, 1);
    let words = raw.chunks(width).map(|chunk| chunk.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte)));
    let (elements, rounded) = match stored {
        Stored::Float(32) => (Elements::Floats(words.map(|w| f32::from_bits(w as u32)).collect()), false),
        Stored::Float(64) => from_doubles(words.map(f64::from_bits)),
        Stored::Float(_) => (Elements::Floats(words.map(|w| small_float(kind, w as u16)).collect()), false),
        Stored::Bool => (Elements::Ints(words.map(|w| Int::fixed(i64::from(w != 0))).collect()), false),
        Stored::Whole { bits: 4, signed } => {
            let nibbles = words.flat_map(|w| [w & 15, w >> 4]).take(elements);
            (Elements::Ints(nibbles.map(|w| Int::fixed(extend(w, 4, signed))).collect()), false)
        }
        Stored::Whole { bits, signed } => {
            (Elements::Ints(words.map(|w| Int::fixed(extend(w, bits, signed))).collect()), false)
        }
    };
    Decoded { constant: Constant { shape, elements }, rounded }
}

fn from_doubles(values: impl Iterator<Item = f64>) -> (Elements, bool) {
    let mut exact = true;
    let round = |x: f64| {
        exact &= f64::from(x as f32) == x || x.is_nan();
        x as f32
    };
    let floats: Vec<f32> = values.map(round).collect();
    (Elements::Floats(floats), !exact)
}

/// The number of the low `bits` bits; what exceeds i64 saturates.
fn extend(word: u64, bits: u32, signed: bool) -> i64 {
    let unused = 64 - bits;
    if signed { (word << unused) as i64 >> unused } else { i64::try_from(word).unwrap_or(i64::MAX) }
}

fn small_float(kind: DataType, word: u16) -> f32 {
    match kind {
        DataType::BFLOAT16 => bf16::from_bits(word).to_f32(),
        DataType::FLOAT8E4M3FN => float8(word as u8, 3, 7, |rest| if rest == 0x7f { Some(f32::NAN) } else { None }),
        DataType::FLOAT8E5M2 => float8(word as u8, 2, 15, |rest| match rest {
            0x7c => Some(f32::INFINITY),
            0x7d.. => Some(f32::NAN),
            _ => None,
        }),
        DataType::FLOAT8E4M3FNUZ if word as u8 == 0x80 => f32::NAN,
        DataType::FLOAT8E5M2FNUZ if word as u8 == 0x80 => f32::NAN,
        DataType::FLOAT8E4M3FNUZ => float8(word as u8, 3, 8, |_| None),
        DataType::FLOAT8E5M2FNUZ => float8(word as u8, 2, 16, |_| None),
        _ => f16::from_bits(word).to_f32(),
    }
}

/// A number of 8 bits with the given bits of mantissa and exponent bias; `special` knows those without a value.
fn float8(byte: u8, mantissa: u32, bias: i32, special: impl Fn(u8) -> Option<f32>) -> f32 {
    let rest = byte & 0x7f;
    let (exponent, fraction) = (i32::from(rest >> mantissa), f32::from(rest & ((1 << mantissa) - 1)));
    let unit = (-(mantissa as f32)).exp2();
    let magnitude = special(rest).unwrap_or_else(|| match exponent {
        0 => fraction * unit * ((1 - bias) as f32).exp2(),
        _ => (1.0 + fraction * unit) * ((exponent - bias) as f32).exp2(),
    });
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_have_the_values_of_the_onnx_specification() {
        let of = |kind, byte: u8| small_float(kind, u16::from(byte));
        assert_eq!(of(DataType::FLOAT8E4M3FN, 0x7e), 448.0);
        assert_eq!(of(DataType::FLOAT8E4M3FN, 0x01), 2f32.powi(-9));
        assert!(of(DataType::FLOAT8E4M3FN, 0xff).is_nan());
        assert_eq!(of(DataType::FLOAT8E4M3FNUZ, 0x7f), 240.0);
        assert_eq!(of(DataType::FLOAT8E4M3FNUZ, 0x81), -2f32.powi(-10));
        assert_eq!(of(DataType::FLOAT8E5M2, 0x7b), 57344.0);
        assert_eq!(of(DataType::FLOAT8E5M2, 0xfc), f32::NEG_INFINITY);
        assert_eq!(of(DataType::FLOAT8E5M2FNUZ, 0x7f), 57344.0);
        assert!(of(DataType::FLOAT8E5M2FNUZ, 0x80).is_nan());
    }
}
