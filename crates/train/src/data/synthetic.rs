//! Generated data that a network can learn: a template per class plus noise.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Images, Layout, Network, Normalization, Split};
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};

/// `examples` to train with and a quarter as many to test with.
///
/// A template has +1 or -1 in each cell: in images a cell is one sixteenth of a channel (a 4x4 grid), otherwise one value.
/// The noise is uniform with unit variance. Labels go round: 0, 1, ..., 0, 1, ...
pub(super) fn generate(examples: usize, shape: &[usize], classes: usize, seed: u64) -> Result<Dataset> {
    let length = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let (Some(length @ 1..), 1..=0xffff_ffff) = (length, classes) else {
        let message = format!("synthetic data of shape {shape:?} in {classes} classes: both have to be above 0");
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    if bytes(examples, shape, classes) > isize::MAX as usize {
        let message = format!("{examples} synthetic examples of shape {shape:?} are more than any memory holds");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let templates: Vec<Vec<f32>> = (0..classes).map(|class| template(shape, length, seed, class as u64)).collect();
    let split = |purpose, count: usize| {
        let labels: Vec<u32> = (0..count).map(|index| (index % classes) as u32).collect();
        let mut values = Vec::with_capacity(count * length);
        for (index, &label) in labels.iter().enumerate() {
            let mut random = generator(purpose, seed, 0, index as u64);
            values.extend(templates[label as usize].iter().map(|&mean| mean + noise(&mut random)));
        }
        Split { images: Images::F32(values), labels }
    };
    Ok(Dataset {
        name: "synthetic".into(),
        train: split(Purpose::SyntheticTrain, examples),
        test: Some(split(Purpose::SyntheticTest, (examples / 4).max(1))),
        classes,
        shape: shape.to_vec(),
        elements: "float32".into(),
        layout: Layout::Auto,
        channels_last: false,
        network: Network::default(),
        normalization: Normalization::divide_by(1.0),
        notes: vec!["The data is generated: its accuracy says nothing about real data.".into()],
    })
}

/// Bytes that the examples take, with those to test with and the templates.
pub(super) fn bytes(examples: usize, shape: &[usize], classes: usize) -> usize {
    let length = shape.iter().fold(1usize, |product, &size| product.saturating_mul(size));
    let numbers = examples.saturating_add((examples / 4).max(1)).saturating_mul(length.saturating_add(1));
    numbers.saturating_add(classes.saturating_mul(length)).saturating_mul(size_of::<f32>())
}

fn template(shape: &[usize], length: usize, seed: u64, class: u64) -> Vec<f32> {
    let mut random = generator(Purpose::SyntheticTemplate, seed, 0, class);
    let mut sign = || if random.next_u32() & 1 == 0 { 1.0 } else { -1.0 };
    let &[channels, height, width] = shape else {
        return (0..length).map(|_| sign()).collect();
    };
    const GRID: usize = 4;
    let cells: Vec<f32> = (0..channels * GRID * GRID).map(|_| sign()).collect();
    let mut values = Vec::with_capacity(length);
    for channel in 0..channels {
        for y in 0..height {
            for x in 0..width {
                values.push(cells[(channel * GRID + y * GRID / height) * GRID + x * GRID / width]);
            }
        }
    }
    values
}

fn noise(random: &mut ChaCha8Rng) -> f32 {
    // A uniform number from -1 to 1 has variance 1/3.
    (random.random::<f32>() * 2.0 - 1.0) * 3f32.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest class mean of the training data classifies the test data.
    fn nearest_mean_accuracy(data: &Dataset) -> f64 {
        let length = data.example_len();
        let Images::F32(train) = &data.train.images else { panic!("numbers") };
        let mut means = vec![vec![0.0; length]; data.classes];
        let mut counts = vec![0.0; data.classes];
        for (example, &label) in train.chunks(length).zip(&data.train.labels) {
            counts[label as usize] += 1.0;
            for (sum, value) in means[label as usize].iter_mut().zip(example) {
                *sum += value;
            }
        }
        for (mean, count) in means.iter_mut().zip(&counts) {
            mean.iter_mut().for_each(|sum| *sum /= count);
        }
        let test = data.test.as_ref().unwrap();
        let Images::F32(values) = &test.images else { panic!("numbers") };
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let right = values.chunks(length).zip(&test.labels).filter(|(example, label)| {
            let best = (0..data.classes)
                .min_by(|&a, &b| distance(&means[a], example).total_cmp(&distance(&means[b], example)));
            best == Some(**label as usize)
        });
        right.count() as f64 / test.len() as f64
    }

    #[test]
    fn synthetic_data_can_be_learnt_and_repeats() {
        for (shape, classes) in [(vec![3, 16, 16], 10), (vec![24], 3), (vec![1, 5, 7], 2), (vec![4, 8], 4)] {
            let data = generate(200, &shape, classes, 3).unwrap();
            data.check().unwrap();
            assert_eq!((data.train.len(), data.test.as_ref().unwrap().len()), (200, 50));
            assert!(nearest_mean_accuracy(&data) > 0.9, "{shape:?}");
            assert_eq!(data, generate(200, &shape, classes, 3).unwrap());
            assert_ne!(data.train.images, generate(200, &shape, classes, 4).unwrap().train.images);
        }
    }

    #[test]
    fn impossible_synthetic_data_is_refused() {
        for (shape, classes) in [(&[3, 0, 4][..], 10), (&[4], 0), (&[usize::MAX, 2], 3)] {
            assert_eq!(generate(8, shape, classes, 0).unwrap_err().kind(), ErrorKind::Invalid);
        }
        for examples in [usize::MAX, usize::MAX / 2, usize::MAX / 8] {
            let error = generate(examples, &[4], 2, 0).unwrap_err().to_string();
            assert!(error.contains("more than any memory holds"), "{error}");
        }
    }

    #[test]
    fn bytes_are_those_of_all_numbers_and_labels() {
        // 10 + 2 examples of 6 numbers and a label, and 3 templates.
        assert_eq!(bytes(10, &[2, 3], 3), 4 * (12 * 7 + 3 * 6));
        assert_eq!(bytes(usize::MAX, &[2, 3], 3), usize::MAX);
    }
}
