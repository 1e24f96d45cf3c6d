//! Fitting data to a network's input.

use super::{Dataset, Images};
use crate::{Error, ErrorKind, Result};

/// One change of every example.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    /// Another shape for the same values in the same order.
    Reshape(Vec<usize>),
    /// Zeros around an image, before normalisation: (above, below), (left, right).
    Pad([(usize, usize); 2]),
    /// Bilinear interpolation to height and width.
    Resize(usize, usize),
    /// So many copies of the only channel.
    Repeat(usize),
}

/// Makes the examples have the shape `input` and checks their classes against the network's `classes` outputs.
///
/// Changes are made in this order, each with a note in [`Dataset::notes`]:
/// - examples with as many values as the input, where one of the two shapes is flat, are reshaped; an image [h, w] without
///   channels is one with a single channel;
/// - an image that is smaller by at most a quarter of its side in each direction is padded with zeros (28x28 to 32x32: 2 on each
///   side; an odd rest goes below and right); every other image is resized by bilinear interpolation between pixel
///   centres (edges repeat, nothing is averaged when shrinking, bytes are rounded to the nearest byte);
/// - a single channel is repeated.
///
/// Fewer classes than outputs are only noted.
///
/// # Errors
/// `Mismatch`, naming every obstacle, where the shapes cannot be reconciled or the data has more classes than outputs.
pub fn fit(mut dataset: Dataset, input: &[usize], classes: usize) -> Result<Dataset> {
    dataset.check()?;
    let mut problems = Vec::new();
    if dataset.classes > classes {
        problems.push(format!(
            "the data has {} classes but the network only {classes} outputs: use a network with at least {} outputs",
            dataset.classes, dataset.classes
        ));
    }
    let changes = plan(&dataset.shape, input).unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(Error::new(ErrorKind::Mismatch, format!("{}: {}", dataset.name, problems.join("; "))));
    }
    if dataset.classes < classes {
        dataset.notes.push(format!(
            "The data has {} classes, the network {classes} outputs: the others will never be right.",
            dataset.classes
        ));
    }
    for change in &changes {
        apply(&mut dataset, change);
    }
    Ok(dataset)
}

/// Values per example; more are taken for a mistake before memory is asked for.
const LARGEST_INPUT: usize = u32::MAX as usize;

fn plan(shape: &[usize], input: &[usize]) -> std::result::Result<Vec<Change>, String> {
    if shape == input {
        return Ok(Vec::new());
    }
    let refuse = |why: &str| Err(format!("examples have shape {shape:?} but the network's input is {input:?}: {why}"));
    let count = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if !count(input).is_some_and(|count| (1..=LARGEST_INPUT).contains(&count)) {
        return refuse("that input is empty or has 2^32 values or more");
    }
    if (shape.len() == 1 || input.len() == 1) && count(shape) == count(input) {
        return Ok(vec![Change::Reshape(input.to_vec())]);
    }
    let &[wanted_channels, wanted_height, wanted_width] = input else {
        return refuse("reshape the examples");
    };
    let mut changes = Vec::new();
    let (channels, height, width) = match *shape {
        [height, width] => {
            changes.push(Change::Reshape(vec![1, height, width]));
            (1, height, width)
        }
        [channels, height, width] => (channels, height, width),
        _ => return refuse("only images [c, h, w] or [h, w] can be adapted"),
    };
    if channels != wanted_channels && channels != 1 {
        let last = shape.len() == 3 && width == wanted_channels;
        return refuse(if last {
            "its channels seem to be last, transpose them to [N, c, h, w]"
        } else {
            "only a single channel can be repeated"
        });
    }
    let padding = |size: usize, wanted: usize| {
        let missing = wanted.checked_sub(size).filter(|missing| missing * 4 <= size)?;
        Some((missing / 2, missing - missing / 2))
    };
    if (height, width) != (wanted_height, wanted_width) {
        changes.push(match (padding(height, wanted_height), padding(width, wanted_width)) {
            (Some(rows), Some(columns)) => Change::Pad([rows, columns]),
            _ => Change::Resize(wanted_height, wanted_width),
        });
    }
    if channels != wanted_channels {
        changes.push(Change::Repeat(wanted_channels));
    }
    Ok(changes)
}

/// The examples after a change, and its note.
fn apply(dataset: &mut Dataset, change: &Change) {
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
        // `plan` makes the other changes for images only.
        _ => return,
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
    dataset.notes.push(note);
}

fn change_values<T: Copy + Default>(
    values: &mut Vec<T>,
    change: &Change,
    shape: &[usize],
    to_f32: fn(T) -> f32,
    from_f32: fn(f32) -> T,
) {
    let &[_, height, width] = shape else { return };
    let planes = values.chunks_exact(height * width);
    *values = match change {
        Change::Reshape(_) => return,
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

#[cfg(test)]
mod tests {
    use super::super::{Normalization, Split};
    use super::*;

    fn dataset(shape: &[usize], images: Images) -> Dataset {
        let count = images.len() / shape.iter().product::<usize>();
        Dataset {
            name: "made".into(),
            train: Split { images, labels: vec![1; count] },
            test: None,
            classes: 2,
            shape: shape.to_vec(),
            normalization: Normalization { divisor: 1.0, mean: vec![0.5], std: vec![2.0] },
            notes: Vec::new(),
        }
    }

    #[test]
    fn padding_is_centred() {
        let fitted = fit(dataset(&[1, 4, 4], Images::U8((1..=32).collect())), &[1, 5, 4], 2).unwrap();
        let Images::U8(values) = &fitted.train.images else { panic!("bytes") };
        assert_eq!(values[..20], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 0]);
        assert_eq!(values[20], 17);
        assert_eq!(plan(&[1, 28, 28], &[1, 32, 32]), Ok(vec![Change::Pad([(2, 2), (2, 2)])]));
        let wide = fit(dataset(&[1, 1, 8], Images::F32(vec![1.0; 8])), &[1, 1, 10], 2).unwrap();
        assert_eq!(wide.train.images, Images::F32(vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]));
        assert!(wide.notes[0].contains("padded with zeros from 1x8 to 1x10"), "{:?}", wide.notes);
    }

    #[test]
    fn resizing_interpolates_between_pixel_centres() {
        // New centres lie at a quarter and three quarters of each old pixel; beyond the outer old centres the edge repeats.
        let fitted = fit(dataset(&[1, 1, 2], Images::F32(vec![0.0, 4.0])), &[1, 1, 4], 2).unwrap();
        assert_eq!(fitted.train.images, Images::F32(vec![0.0, 1.0, 3.0, 4.0]));
        let bytes = fit(dataset(&[1, 2, 1], Images::U8(vec![0, 255])), &[1, 4, 1], 2).unwrap();
        assert_eq!(bytes.train.images, Images::U8(vec![0, 64, 191, 255]));
        let smaller = fit(dataset(&[1, 1, 4], Images::F32(vec![0.0, 1.0, 3.0, 4.0])), &[1, 1, 2], 2).unwrap();
        assert_eq!(smaller.train.images, Images::F32(vec![0.5, 3.5]));
        assert!(smaller.notes[0].contains("resized from 1x4 to 1x2"), "{:?}", smaller.notes);
    }

    #[test]
    fn a_plane_stays_a_plane_when_resized() {
        // Interpolation reproduces a x + b y + c wherever it does not run into an edge.
        let plane = |y: f32, x: f32| 2.0 * y - 3.0 * x + 1.0;
        let values = (0..64).map(|i| plane((i / 8) as f32 + 0.5, (i % 8) as f32 + 0.5)).collect();
        let fitted = fit(dataset(&[1, 8, 8], Images::F32(values)), &[1, 24, 32], 2).unwrap();
        let Images::F32(values) = &fitted.train.images else { panic!("numbers") };
        for y in 2..22 {
            for x in 2..30 {
                let expected = plane((y as f32 + 0.5) / 3.0, (x as f32 + 0.5) / 4.0);
                assert!((values[y * 32 + x] - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_channel_and_its_normalisation_repeat() {
        let mut data = dataset(&[1, 1, 2], Images::U8(vec![1, 2, 3, 4]));
        data.test = Some(Split { images: Images::U8(vec![5, 6]), labels: vec![0] });
        let fitted = fit(data, &[3, 1, 2], 2).unwrap();
        fitted.check().unwrap();
        assert_eq!(fitted.train.images, Images::U8(vec![1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]));
        assert_eq!(fitted.test.unwrap().images, Images::U8(vec![5, 6, 5, 6, 5, 6]));
        assert_eq!((fitted.normalization.mean, fitted.normalization.std), (vec![0.5; 3], vec![2.0; 3]));
    }

    #[test]
    fn every_pixel_survives_padding_and_flat_reshapes() {
        let flat = fit(dataset(&[12], Images::U8((0..12).collect())), &[3, 2, 2], 2).unwrap();
        assert_eq!(flat.shape, [3, 2, 2]);
        assert_eq!(flat.train.images, Images::U8((0..12).collect()));
        let image = fit(dataset(&[3, 2, 2], Images::U8((0..12).collect())), &[12], 2).unwrap();
        assert_eq!(image.train.images, Images::U8((0..12).collect()));
        let grey = fit(dataset(&[2, 2], Images::U8(vec![1, 2, 3, 4])), &[2, 2, 2], 2).unwrap();
        assert_eq!(grey.train.images, Images::U8(vec![1, 2, 3, 4, 1, 2, 3, 4]));
        assert_eq!(grey.notes.len(), 2);
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        for (shape, input, classes, expected) in [
            (vec![3, 2, 2], vec![1, 2, 2], 2, "only a single channel"),
            (vec![4, 4, 3], vec![3, 4, 4], 2, "transpose them"),
            (vec![10], vec![11], 2, "reshape the examples"),
            (vec![10], vec![1, 3, 4], 2, "only images"),
            (vec![1, 2, 2], vec![1, 0, 2], 2, "is empty or"),
            (vec![1, 2, 2], vec![1, usize::MAX, 2], 2, "is empty or"),
            (vec![1, 2, 2], vec![1, 1 << 20, 1 << 20], 2, "is empty or"),
            (vec![1, 2, 2], vec![1, 2, 2], 1, "at least 2 outputs"),
        ] {
            let count = shape.iter().product::<usize>();
            let error = fit(dataset(&shape, Images::U8(vec![0; count])), &input, classes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Mismatch);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let mut data = dataset(&[4], Images::U8(vec![0; 4]));
        data.train.labels[0] = 2;
        assert!(fit(data, &[4], 3).unwrap_err().to_string().contains("label 2 (example 0) is not below 2"));
        let fewer = fit(dataset(&[4], Images::U8(vec![0; 4])), &[4], 5).unwrap();
        assert!(fewer.notes[0].contains("2 classes, the network 5 outputs"));
    }
}
