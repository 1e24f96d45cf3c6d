//! Changes of every example.

use super::layout::{first_axis_last, last_axis_first, transpose};
use super::{Dataset, Images};

/// One change of every example.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Another shape for the same values in the same order.
    Reshape(Vec<usize>),
    /// The last axis becomes the first one.
    ChannelsFirst,
    /// Batches get the first axis last.
    ChannelsLast,
    /// Zeros around an image, before normalisation: (above, below), (left, right).
    Pad([(usize, usize); 2]),
    /// Bilinear interpolation to height and width.
    Resize(usize, usize),
    /// A number of copies of the only channel.
    Repeat(usize),
}

/// Makes a change; the note says which.
pub(super) fn apply(dataset: &mut Dataset, change: &Change) -> Option<String> {
    let before = dataset.shape.clone();
    let (shape, note) = match (change, &before[..]) {
        (Change::Pad([(top, bottom), (left, right)]), &[channels, height, width]) => {
            let after = vec![channels, height + top + bottom, width + left + right];
            let sides = format!("{top} above, {bottom} below, {left} left, {right} right");
            let note =
                format!("Images are padded with zeros from {height}x{width} to {}x{} ({sides}).", after[1], after[2]);
            (after, note)
        }
        (&Change::Resize(h, w), &[channels, height, width]) => {
            (vec![channels, h, w], format!("Images are resized from {height}x{width} to {h}x{w} (bilinear)."))
        }
        (&Change::Repeat(count), &[_, height, width]) => {
            dataset.normalization.mean = dataset.normalization.mean.repeat(count);
            dataset.normalization.std = dataset.normalization.std.repeat(count);
            (vec![count, height, width], format!("The single channel of the images is repeated {count} times."))
        }
        (Change::Reshape(after), _) => (after.clone(), format!("Examples of shape {before:?} are read as {after:?}.")),
        (Change::ChannelsFirst, _) => {
            let after = last_axis_first(&before);
            let note =
                format!("Examples of shape {before:?} have their channels last: they are laid out as {after:?}.");
            (after, note)
        }
        (Change::ChannelsLast, _) => {
            dataset.channels_last = true;
            let after = first_axis_last(&before);
            let note = format!("The network takes channels last: examples are laid out as {after:?} for it.");
            (before.clone(), note)
        }
        // `fit` makes the other changes for images only.
        _ => return None,
    };
    for split in std::iter::once(&mut dataset.train).chain(&mut dataset.test) {
        match &mut split.images {
            Images::U8(values) => {
                let round = |value: f32| (value + 0.5) as u8;
                change_values(values, change, &before, f32::from, round);
            }
            Images::F32(values) => change_values(values, change, &before, |value| value, |value| value),
        }
    }
    dataset.shape = shape;
    Some(note)
}

fn change_values<T: Copy + Default>(
    values: &mut Vec<T>,
    change: &Change,
    shape: &[usize],
    to_f32: fn(T) -> f32,
    from_f32: fn(f32) -> T,
) {
    if let (Change::ChannelsFirst, Some(&channels)) = (change, shape.last()) {
        let length = shape.iter().product::<usize>();
        let mut laid_out = values.clone();
        for (example, laid_out) in values.chunks_exact(length).zip(laid_out.chunks_exact_mut(length)) {
            transpose(example, length / channels, laid_out);
        }
        *values = laid_out;
        return;
    }
    let &[_, height, width] = shape else { return };
    let planes = values.chunks_exact(height * width);
    *values = match change {
        Change::Reshape(_) | Change::ChannelsFirst | Change::ChannelsLast => return,
        &Change::Pad([(top, bottom), (left, right)]) => {
            let after = width + left + right;
            let mut padded = Vec::with_capacity(planes.len() * (height + top + bottom) * after);
            for plane in planes {
                padded.resize(padded.len() + top * after, T::default());
                for row in plane.chunks_exact(width) {
                    padded.resize(padded.len() + left, T::default());
                    padded.extend_from_slice(row);
                    padded.resize(padded.len() + right, T::default());
                }
                padded.resize(padded.len() + bottom * after, T::default());
            }
            padded
        }
        &Change::Resize(new_height, new_width) => {
            let rows = interpolation(height, new_height);
            let columns = interpolation(width, new_width);
            let mut resized = Vec::with_capacity(planes.len() * new_height * new_width);
            for plane in planes {
                let row = |y: usize, &(left, right, weight): &(usize, usize, f32)| {
                    let (a, b) = (to_f32(plane[y * width + left]), to_f32(plane[y * width + right]));
                    a * (1.0 - weight) + b * weight
                };
                for &(above, below, weight) in &rows {
                    let pixel = |column| row(above, column) * (1.0 - weight) + row(below, column) * weight;
                    resized.extend(columns.iter().map(|column| from_f32(pixel(column))));
                }
            }
            resized
        }
        &Change::Repeat(count) => planes.flat_map(|plane| plane.repeat(count)).collect(),
    };
}

/// For each new pixel: the two old ones whose centres are around its own, and the weight of the second.
fn interpolation(old: usize, new: usize) -> Vec<(usize, usize, f32)> {
    let position = |index: usize| ((index as f64 + 0.5) * old as f64 / new as f64 - 0.5).clamp(0.0, (old - 1) as f64);
    let neighbours = |position: f64| {
        let first = position as usize;
        (first, (first + 1).min(old - 1), (position - first as f64) as f32)
    };
    (0..new).map(position).map(neighbours).collect()
}
