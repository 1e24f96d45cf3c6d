//! Numbers as they lie in a device's memory.

use crate::error::Fault;
use bitbudget_formats::{unpack_u8, unpack_u16};
use bitbudget_ir::{DType, Layout};
use bitbudget_program::{Buffer, Source};

/// The bytes of numbers that a step is given or that stay: FP32 numbers in the buffer's order.
pub(super) fn encoded(buffer: &Buffer, numbers: &[f32]) -> Vec<u8> {
    let [outer, last, inner] = sizes(&buffer.shape, buffer.layout);
    match last > 1 && inner > 1 {
        true => bytemuck::cast_slice(&turned(numbers, [outer, last, inner])).to_vec(),
        false => bytemuck::cast_slice(numbers).to_vec(),
    }
}

/// The numbers of a buffer's bytes, in the order of their indices; indices and truth values as such.
pub(super) fn decoded(buffer: &Buffer, source: Source, bytes: &[u8]) -> Result<Vec<f32>, Fault> {
    let words = || bytes.chunks_exact(4).map(|word| <[u8; 4]>::try_from(word).unwrap_or_default());
    let floats = || words().map(f32::from_ne_bytes).collect();
    let numbers: Vec<f32> = match (source, buffer.dtype, buffer.width()) {
        (Source::None, DType::F32, 1) => {
            let mut numbers = vec![0.0; bytes.len()];
            unpack_u8(buffer.format, bytes, &mut numbers).map_err(unpacking)?;
            numbers
        }
        (Source::None, DType::F32, 2) => {
            let codes = bytes.chunks_exact(2).map(|code| <[u8; 2]>::try_from(code).unwrap_or_default());
            let codes: Vec<u16> = codes.map(u16::from_ne_bytes).collect();
            let mut numbers = vec![0.0; codes.len()];
            unpack_u16(buffer.format, &codes, &mut numbers).map_err(unpacking)?;
            numbers
        }
        (Source::None, DType::I32, _) => words().map(|word| i32::from_ne_bytes(word) as f32).collect(),
        (Source::None, DType::Bool | DType::Index8, _) => bytes.iter().map(|&byte| f32::from(byte)).collect(),
        _ => floats(),
    };
    let [outer, last, inner] = sizes(&buffer.shape, buffer.layout);
    Ok(match last > 1 && inner > 1 {
        true => turned(&numbers, [outer, inner, last]),
        false => numbers,
    })
}

fn unpacking(error: impl std::fmt::Display) -> Fault {
    Fault::Operands(error.to_string())
}

/// The elements of the first axis, of the axes that lie last, and of those between.
fn sizes(shape: &[usize], layout: Layout) -> [usize; 3] {
    let last = usize::from(layout.last);
    match last > 0 && last + 1 < shape.len() {
        true => [shape[0], shape[1..=last].iter().product(), shape[last + 1..].iter().product()],
        false => [1, 1, shape.iter().product()],
    }
}

/// Matrices one behind the other, each transposed.
fn turned(numbers: &[f32], [count, rows, columns]: [usize; 3]) -> Vec<f32> {
    let mut turned = Vec::with_capacity(numbers.len());
    for matrix in 0..count {
        let matrix = &numbers[matrix * rows * columns..(matrix + 1) * rows * columns];
        for column in 0..columns {
            turned.extend((0..rows).map(|row| matrix[row * columns + column]));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::{decoded, encoded};
    use bitbudget_formats::Format;
    use bitbudget_ir::{DType, Layout};
    use bitbudget_program::{Buffer, Source};

    fn buffer(shape: &[usize], layout: Layout) -> Buffer {
        Buffer {
            name: "x".into(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            format: Format::FP32,
            packed: true,
            layout,
            source: Source::Kept,
            offset: None,
        }
    }

    #[test]
    fn channels_last_lie_behind_pixels() {
        let numbers: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let buffer = buffer(&[2, 3, 1, 2], Layout::CHANNELS_LAST);
        let bytes = encoded(&buffer, &numbers);
        let lie: Vec<f32> = bytes.chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect();
        assert_eq!(lie, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0]);
        assert_eq!(decoded(&buffer, Source::Kept, &bytes).unwrap(), numbers);
    }

    #[test]
    fn packed_numbers_are_unpacked() {
        let packed = |format| Buffer { format, source: Source::None, ..buffer(&[2], Layout::ROWS) };
        let codes = |format: Format, x: [f32; 2]| {
            let mut codes = [0; 2];
            bitbudget_formats::pack_u8(format, bitbudget_formats::Overflow::Saturate, &x, &mut codes).unwrap();
            codes
        };
        let format = Format::PAPER_LOW_FORWARD;
        let found = decoded(&packed(format), Source::None, &codes(format, [0.5, -2.0]));
        assert_eq!(found.unwrap(), [0.5, -2.0]);
    }
}
