//! One array of a NumPy file (versions 1 to 3 of the npy format).
//!
//! The header is parsed here because its shape comes from outside: every product is checked, and nothing recurses.

use half::f16;

/// The elements in C order, in the narrowest type that loses nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Text(Vec<String>),
}

impl Values {
    /// An element as people write it.
    pub(super) fn show(&self, index: usize) -> String {
        let shown = match self {
            Values::U8(values) => values.get(index).map(ToString::to_string),
            Values::F32(values) => values.get(index).map(|&value| number(value.into(), value.to_string())),
            Values::F64(values) => values.get(index).map(|&value| number(value, value.to_string())),
            Values::I64(values) => values.get(index).map(ToString::to_string),
            Values::U64(values) => values.get(index).map(ToString::to_string),
            Values::Text(values) => values.get(index).map(|text| format!("'{}'", text.escape_debug())),
        };
        shown.unwrap_or_default()
    }

    /// An element that is a whole number.
    pub(super) fn whole(&self, index: usize) -> Option<i128> {
        // Beyond 2^64 no number is a label.
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() <= u64::MAX as f64).then_some(value as i128);
        match self {
            Values::U8(values) => values.get(index).map(|&value| value.into()),
            Values::F32(values) => values.get(index).and_then(|&value| whole(value.into())),
            Values::F64(values) => values.get(index).and_then(|&value| whole(value)),
            Values::I64(values) => values.get(index).map(|&value| value.into()),
            Values::U64(values) => values.get(index).map(|&value| value.into()),
            Values::Text(_) => None,
        }
    }
}

/// A number as it is, or as a power of ten where that has many zeros.
fn number(value: f64, text: String) -> String {
    if value.is_finite() && text.len() > 24 { format!("{value:e}") } else { text }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
    /// The type as NumPy calls it: `float64`.
    pub(super) elements: String,
}

/// Why an array cannot be had.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Problem {
    Corrupt(String),
    Unsupported(String),
}

struct Header {
    big_endian: bool,
    kind: char,
    /// In bytes, of text in characters; 0 for types that have none, which are not read.
    size: usize,
    /// Kind and size as the file has them.
    type_name: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// The shape of an array whose header the bytes hold.
pub(super) fn shape(bytes: &[u8]) -> Option<Vec<usize>> {
    header(bytes).ok().map(|(header, _)| header.shape)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Array, Problem> {
    let (header, body) = header(bytes)?;
    let elements = header.elements();
    let unsupported = || Err(Problem::Unsupported(format!("elements of NumPy type {elements}")));
    if !matches!(header.kind, 'b' | 'u' | 'i' | 'f' | 'U' | 'S') || header.size == 0 {
        return unsupported();
    }
    let count = header.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let bytes = if header.kind == 'U' { header.size.checked_mul(4) } else { Some(header.size) };
    let expected = count.zip(bytes).and_then(|(count, bytes)| count.checked_mul(bytes));
    if expected != Some(body.len()) {
        return Err(Problem::Corrupt(format!(
            "shape {:?} of {elements} does not go with {} bytes of data: the array is truncated or damaged",
            header.shape,
            body.len()
        )));
    }
    let big = header.big_endian;
    let values = match (header.kind, header.size) {
        ('u', 1) => Values::U8(body.to_vec()),
        ('b', 1) => Values::I64(body.iter().map(|&byte| i64::from(byte != 0)).collect()),
        ('u', 2) => Values::I64(decode(body, big, |b| u16::from_le_bytes(b).into())),
        ('u', 4) => Values::I64(decode(body, big, |b| u32::from_le_bytes(b).into())),
        ('u', 8) => Values::U64(decode(body, big, u64::from_le_bytes)),
        ('i', 1) => Values::I64(decode(body, big, |b| i8::from_le_bytes(b).into())),
        ('i', 2) => Values::I64(decode(body, big, |b| i16::from_le_bytes(b).into())),
        ('i', 4) => Values::I64(decode(body, big, |b| i32::from_le_bytes(b).into())),
        ('i', 8) => Values::I64(decode(body, big, i64::from_le_bytes)),
        ('f', 2) => Values::F32(decode(body, big, |b| f16::from_le_bytes(b).to_f32())),
        ('f', 4) => Values::F32(decode(body, big, f32::from_le_bytes)),
        ('f', 8) => Values::F64(decode(body, big, f64::from_le_bytes)),
        ('U', size) => Values::Text(body.chunks_exact(4 * size).map(|text| characters(text, big)).collect()),
        ('S', size) => Values::Text(body.chunks_exact(size).map(characters_of_bytes).collect()),
        _ => return unsupported(),
    };
    let values = match (header.fortran, values) {
        (false, values) => values,
        (true, Values::U8(values)) => Values::U8(to_c_order(&values, &header.shape)),
        (true, Values::F32(values)) => Values::F32(to_c_order(&values, &header.shape)),
        (true, Values::F64(values)) => Values::F64(to_c_order(&values, &header.shape)),
        (true, Values::I64(values)) => Values::I64(to_c_order(&values, &header.shape)),
        (true, Values::U64(values)) => Values::U64(to_c_order(&values, &header.shape)),
        (true, Values::Text(values)) => {
            let order = to_c_order(&(0..values.len()).collect::<Vec<_>>(), &header.shape);
            Values::Text(order.into_iter().map(|index| values[index].clone()).collect())
        }
    };
    Ok(Array { shape: header.shape, values, elements })
}

/// The header of an array, and what follows it.
fn header(bytes: &[u8]) -> Result<(Header, &[u8]), Problem> {
    let corrupt = |what: &str| Problem::Corrupt(what.into());
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| corrupt("it does not start as an npy array does"))?;
    let (length, rest) = match *rest {
        [1, _, a, b, ref rest @ ..] => (u32::from(u16::from_le_bytes([a, b])), rest),
        [2 | 3, _, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]), rest),
        [version @ 4..=255, ..] => return Err(Problem::Unsupported(format!("npy format version {version}"))),
        _ => return Err(corrupt("its header is truncated")),
    };
    let (text, body) = rest.split_at_checked(length as usize).ok_or_else(|| corrupt("its header is truncated"))?;
    let text = std::str::from_utf8(text).map_err(|_| corrupt("its header is not text"))?;
    Ok((parse_header(text)?, body))
}

impl Header {
    /// The type of the elements as NumPy calls it.
    fn elements(&self) -> String {
        let (kind, size) = (self.kind, self.size);
        match kind {
            'b' => "bool".into(),
            'u' => format!("uint{}", 8 * size),
            'i' => format!("int{}", 8 * size),
            'f' => format!("float{}", 8 * size),
            'c' => format!("complex{}", 8 * size),
            'U' | 'S' => format!("text ({kind}{size})"),
            'M' | 'm' => format!("datetime ({})", self.type_name),
            _ => format!("`{}`", self.type_name),
        }
    }
}

/// Text of four bytes a character; zeros after its end do not count.
fn characters(bytes: &[u8], big_endian: bool) -> String {
    let codes: Vec<u32> = decode(bytes, big_endian, u32::from_le_bytes);
    let text: String =
        codes.into_iter().map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_end_matches('\0').to_string()
}

fn characters_of_bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string()
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(text: &str) -> Result<Header, Problem> {
    let malformed = |what: &str| Problem::Corrupt(format!("its header has no usable {what}: {}", text.trim_end()));
    let value = |key: &str| -> Option<&str> {
        let at = text.find(&format!("'{key}'"))?;
        Some(text[at + key.len() + 2..].trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr").ok_or_else(|| malformed("descr"))?;
    if descr.starts_with('[') {
        return Err(Problem::Unsupported("records".into()));
    }
    let descr = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let (descr, _) = descr.ok_or_else(|| malformed("descr"))?;
    let mut characters = descr.chars();
    let big_endian = match characters.next() {
        Some('>') => true,
        Some('<' | '|' | '=') => false,
        _ => return Err(malformed("descr")),
    };
    let kind = characters.next().ok_or_else(|| malformed("descr"))?;
    let type_name = format!("{kind}{}", characters.as_str());
    let size = match kind {
        'O' => return Err(Problem::Unsupported("Python objects".into())),
        // Dates have a unit after their size.
        'M' | 'm' => 0,
        _ => characters.as_str().parse().map_err(|_| malformed("descr"))?,
    };
    let order = value("fortran_order").ok_or_else(|| malformed("fortran_order"))?;
    let fortran = match () {
        () if order.starts_with("True") => true,
        () if order.starts_with("False") => false,
        () => return Err(malformed("fortran_order")),
    };
    let shape = value("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or_else(|| malformed("shape"))?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
    Ok(Header { big_endian, kind, size, type_name, fortran, shape: shape.map_err(|_| malformed("shape"))? })
}

fn decode<const N: usize, T>(bytes: &[u8], big_endian: bool, from_little: fn([u8; N]) -> T) -> Vec<T> {
    let element = |chunk: &[u8; N]| {
        let mut element = *chunk;
        if big_endian {
            element.reverse();
        }
        from_little(element)
    };
    bytes.as_chunks().0.iter().map(element).collect()
}

/// Reorders elements whose first index runs fastest so that the last one does.
fn to_c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &size in shape {
        strides.push(stride);
        stride *= size;
    }
    let mut position = vec![0; shape.len()];
    let mut offset = 0;
    let mut reordered = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        reordered.push(values[offset]);
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            offset += strides[axis];
            if position[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            position[axis] = 0;
        }
    }
    reordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn npy(descr: &str, fortran: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn number_types_and_orders() {
        for (descr, body, expected) in [
            ("'|u1'", vec![1, 255], Values::U8(vec![1, 255])),
            ("'|i1'", vec![1, 255], Values::I64(vec![1, -1])),
            ("'|b1'", vec![0, 1], Values::I64(vec![0, 1])),
            ("'<i2'", vec![0xfe, 0xff, 1, 2], Values::I64(vec![-2, 513])),
            ("'>i2'", vec![0xff, 0xfe, 2, 1], Values::I64(vec![-2, 513])),
            ("'<u4'", vec![255, 255, 255, 255, 1, 0, 0, 0], Values::I64(vec![4_294_967_295, 1])),
            ("'>u8'", [u64::MAX.to_be_bytes(), 3u64.to_be_bytes()].concat(), Values::U64(vec![u64::MAX, 3])),
            ("'<f2'", vec![0x00, 0x3c, 0x00, 0xc0], Values::F32(vec![1.0, -2.0])),
            ("'>f4'", [1.5f32.to_be_bytes(), (-0.1f32).to_be_bytes()].concat(), Values::F32(vec![1.5, -0.1])),
            ("'<f8'", [1e300f64.to_le_bytes(), 0.1f64.to_le_bytes()].concat(), Values::F64(vec![1e300, 0.1])),
            ("'|S3'", b"catno\0".to_vec(), Values::Text(vec!["cat".into(), "no".into()])),
            (
                "'<U2'",
                [97, 233, 98, 0].map(u32::to_le_bytes).concat(),
                Values::Text(vec!["a\u{e9}".into(), "b".into()]),
            ),
            ("'>U1'", [97, 98].map(u32::to_be_bytes).concat(), Values::Text(vec!["a".into(), "b".into()])),
        ] {
            let array = parse(&npy(descr, "False", "(2,)", &body)).unwrap();
            assert_eq!((array.shape, array.values), (vec![2], expected), "{descr}");
        }
        // A[i][j] = 10 i + j for a 2x3 array, columns first.
        let array = parse(&npy("'|u1'", "True", "(2, 3)", &[0, 10, 1, 11, 2, 12])).unwrap();
        assert_eq!(array.values, Values::U8(vec![0, 1, 2, 10, 11, 12]));
        let array = parse(&npy("'|S1'", "True", "(2, 2)", b"acbd")).unwrap();
        assert_eq!(array.values, Values::Text(["a", "b", "c", "d"].map(String::from).to_vec()));
    }

    #[test]
    fn problems_are_told() {
        let far = "(4294967296, 4294967296, 4294967296)";
        for (bytes, expected) in [
            (npy("'<f4'", "False", "(3,)", &[0; 11]), "shape [3] of float32"),
            (npy("'<f4'", "False", "(3,)", &[0; 13]), "shape [3] of float32"),
            (npy("'<f4'", "False", far, &[0; 4]), "truncated or damaged"),
            (npy("'<f4'", "False", "(-1,)", &[]), "no usable shape"),
            (npy("'<f4'", "Maybe", "(1,)", &[0; 4]), "no usable fortran_order"),
            (npy("'x'", "False", "(1,)", &[0; 4]), "no usable descr"),
            (npy("'|O'", "False", "(1,)", &[0; 4]), "Python objects"),
            (npy("'<c8'", "False", "(1,)", &[0; 8]), "complex64"),
            (npy("'<U5'", "False", "(1,)", &[0; 19]), "shape [1] of text (U5)"),
            (npy("'<U0'", "False", "(9,)", &[]), "text (U0)"),
            (npy("'<M8[D]'", "False", "(1,)", &[0; 8]), "datetime (M8[D])"),
            (npy("'|V4'", "False", "(1,)", &[0; 4]), "`V4`"),
            (npy("'<f16'", "False", "(1,)", &[0; 16]), "float128"),
            (npy("[('a', '<f4')]", "False", "(1,)", &[0; 4]), "records"),
            (b"PK\x03\x04".to_vec(), "does not start"),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "truncated"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(), "truncated"),
            (b"\x93NUMPY\x07\x00\x00\x00".to_vec(), "version 7"),
            (b"\x93NUMPY".to_vec(), "truncated"),
        ] {
            let (Problem::Corrupt(told) | Problem::Unsupported(told)) = parse(&bytes).unwrap_err();
            assert!(told.contains(expected), "{told} lacks {expected}");
        }
    }

    proptest! {
        #[test]
        fn fortran_order_is_the_reversed_transposition(shape in prop::collection::vec(1usize..5, 0..5)) {
            let count: usize = shape.iter().product();
            let reordered = to_c_order(&(0..count).collect::<Vec<_>>(), &shape);
            for (c_index, &fortran_index) in reordered.iter().enumerate() {
                // The same element has the same index along each axis, split off from the right and from the left.
                let (mut c, mut from_right) = (c_index, vec![0; shape.len()]);
                for axis in (0..shape.len()).rev() {
                    from_right[axis] = c % shape[axis];
                    c /= shape[axis];
                }
                let (mut f, mut from_left) = (fortran_index, vec![0; shape.len()]);
                for axis in 0..shape.len() {
                    from_left[axis] = f % shape[axis];
                    f /= shape[axis];
                }
                prop_assert_eq!(from_left, from_right);
            }
        }

        #[test]
        fn damaged_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..80) {
            let mut whole = npy("'<f4'", "True", "(2, 2)", &[0; 16]);
            let end = (at + bytes.len()).min(whole.len());
            if at < end {
                whole[at..end].copy_from_slice(&bytes[..end - at]);
            }
            let _ = parse(&whole);
        }
    }
}
