//! Properties of batches.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_train::ErrorKind;
use bitbudget_train::batches::{Batch, EvalBatches, TrainBatches, TrainOptions};
use bitbudget_train::data::{Dataset, Images, Layout, Network, Normalization, Split};
use proptest::prelude::*;

/// Examples whose first value is their index plus one.
fn numbered(examples: usize, shape: &[usize]) -> Dataset {
    let length: usize = shape.iter().product();
    let values = (0..examples).flat_map(|example| vec![example as f32 + 1.0; length]).collect();
    Dataset {
        name: "numbered".into(),
        train: Split { images: Images::F32(values), labels: (0..examples as u32).collect() },
        test: None,
        classes: examples,
        shape: shape.to_vec(),
        elements: "float32".into(),
        layout: Layout::Auto,
        channels_last: false,
        network: Network { input: "x".into(), shape: shape.to_vec(), labels: "y".into(), classes: examples },
        normalization: Normalization::divide_by(1.0),
        notes: Vec::new(),
    }
}

fn options(batch: usize, seed: u64, shuffle: bool) -> TrainOptions {
    TrainOptions { batch, seed, shuffle, augment: false }
}

fn epoch(data: &Dataset, options: &TrainOptions, epoch: u64) -> Vec<Batch> {
    let mut batches = TrainBatches::new(data, options, epoch).unwrap();
    let count = batches.len();
    let mut all = Vec::new();
    let mut batch = Batch::default();
    while batches.next_into(&mut batch) {
        all.push(batch.clone());
    }
    assert_eq!(all.len(), count);
    assert!(!batches.next_into(&mut batch));
    all
}

fn images(batch: &Batch) -> &[f32] {
    batch.numbers().find(|(name, _)| *name == "x").unwrap().1
}

fn classes(batch: &Batch) -> &[i32] {
    batch.classes().unwrap()
}

fn labels(batches: &[Batch]) -> Vec<i32> {
    batches.iter().flat_map(|batch| classes(batch).to_vec()).collect()
}

proptest! {
    #[test]
    fn an_epoch_is_a_permutation_but_for_the_incomplete_batch(examples in 1usize..70, batch in 1usize..12, seed: u64) {
        prop_assume!(batch <= examples);
        let data = numbered(examples, &[2]);
        let batches = epoch(&data, &options(batch, seed, true), 0);
        prop_assert_eq!(batches.len(), examples / batch);
        for batch in &batches {
            prop_assert_eq!(batch.valid, classes(batch).len());
            for (pair, &label) in images(batch).chunks(2).zip(classes(batch)) {
                prop_assert_eq!(pair, [label as f32 + 1.0; 2]);
            }
        }
        let mut seen = labels(&batches);
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), examples / batch * batch);
    }

    #[test]
    fn evaluation_counts_every_example_once(examples in 1usize..70, batch in 1usize..90) {
        let data = numbered(examples, &[3]);
        let mut batches = EvalBatches::new(&data, &data.train, batch).unwrap();
        prop_assert_eq!(batches.len(), examples.div_ceil(batch));
        let (mut filled, mut counted) = (Batch::default(), Vec::new());
        while batches.next_into(&mut filled) {
            prop_assert_eq!((classes(&filled).len(), images(&filled).len()), (batch, 3 * batch));
            for (values, &label) in images(&filled).chunks(3).zip(classes(&filled)) {
                prop_assert_eq!(values, [label as f32 + 1.0; 3]);
            }
            counted.extend_from_slice(&classes(&filled)[..filled.valid]);
        }
        prop_assert_eq!(counted, (0..examples as i32).collect::<Vec<_>>());
    }
}

#[test]
fn what_an_epoch_leaves_out_is_told() {
    let data = numbered(10, &[1]);
    let left_out = |batch, shuffle| TrainBatches::new(&data, &options(batch, 0, shuffle), 0).unwrap().left_out();
    assert_eq!(left_out(5, true), None);
    let told = left_out(4, true).unwrap();
    assert!(told.contains("leaves out 2 of the 10 training examples") && told.contains("others each time"), "{told}");
    let told = left_out(3, false).unwrap();
    assert!(told.contains("leaves out 1 of the 10") && told.contains("the last ones"), "{told}");
}

/// Channels-first images with their channels last.
fn channels_last(images: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let image = |image: &[f32]| -> Vec<f32> {
        (0..plane)
            .flat_map(|pixel| (0..channels).map(move |channel| (pixel, channel)))
            .map(|(p, c)| image[c * plane + p])
            .collect()
    };
    images.chunks(channels * plane).flat_map(image).collect()
}

#[test]
fn images_are_normalised_and_augmented_before_their_channels_go_last() {
    let mut data = numbered(8, &[3, 5, 6]);
    data.train.images = Images::F32(gradient(3, 5, 6).repeat(8));
    data.normalization = Normalization { divisor: 2.0, mean: vec![1.0, 2.0, 3.0], std: vec![1.0, 0.5, 0.25] };
    let mut turned = data.clone();
    turned.channels_last = true;
    for augment in [false, true] {
        let options = TrainOptions { augment, ..options(4, 3, true) };
        for (first, last) in epoch(&data, &options, 1).iter().zip(epoch(&turned, &options, 1)) {
            assert_eq!(channels_last(images(first), 3, 30), images(&last));
        }
    }
    let mut first = EvalBatches::new(&data, &data.train, 3).unwrap();
    let mut last = EvalBatches::new(&turned, &turned.train, 3).unwrap();
    let (mut one, mut other) = (Batch::default(), Batch::default());
    while first.next_into(&mut one) && last.next_into(&mut other) {
        assert_eq!(channels_last(images(&one), 3, 30), images(&other));
    }
}

#[test]
fn order_repeats_and_depends_on_seed_and_epoch() {
    let data = numbered(40, &[1]);
    let order = |seed, number| labels(&epoch(&data, &options(8, seed, true), number));
    assert_eq!(order(1, 0), order(1, 0));
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 0), order(2, 0));
    let in_order = labels(&epoch(&data, &options(7, 1, false), 3));
    assert_eq!(in_order, (0..35).collect::<Vec<i32>>());
}

/// An image whose values are all different and never 0.
fn gradient(channels: usize, height: usize, width: usize) -> Vec<f32> {
    (0..channels * height * width).map(|i| i as f32 + 1.0).collect()
}

/// The crop by its definition: pad by 4 zeros, cut at (top, left), mirror.
fn crop(image: &[f32], shape: [usize; 3], top: usize, left: usize, flip: bool) -> Vec<f32> {
    let [channels, height, width] = shape;
    let padded = |channel: usize, y: usize, x: usize| match (y.checked_sub(4), x.checked_sub(4)) {
        (Some(y), Some(x)) if y < height && x < width => image[(channel * height + y) * width + x],
        _ => 0.0,
    };
    let mut cropped = Vec::new();
    for channel in 0..channels {
        for y in 0..height {
            for x in 0..width {
                let x = if flip { width - 1 - x } else { x };
                cropped.push(padded(channel, y + top, x + left));
            }
        }
    }
    cropped
}

#[test]
fn augmented_images_are_crops_and_flips_and_all_of_them_occur() {
    // Images narrower than the padding can be cropped away entirely.
    for shape in [[2, 9, 7], [1, 2, 3]] {
        let mut data = numbered(512, &shape);
        let image = gradient(shape[0], shape[1], shape[2]);
        data.train.images = Images::F32(image.repeat(512));
        let mut candidates = Vec::new();
        for top in 0..9 {
            for left in 0..9 {
                for flip in [false, true] {
                    candidates.push(((top, left, flip), crop(&image, shape, top, left, flip)));
                }
            }
        }
        let options = TrainOptions { batch: 64, seed: 5, shuffle: true, augment: true };
        let mut seen = vec![false; candidates.len()];
        for number in 0..4 {
            for batch in epoch(&data, &options, number) {
                for output in images(&batch).chunks(image.len()) {
                    let matching: Vec<usize> =
                        (0..candidates.len()).filter(|&index| candidates[index].1 == output).collect();
                    assert!(!matching.is_empty(), "{output:?} is no crop of {image:?}");
                    matching.into_iter().for_each(|index| seen[index] = true);
                }
            }
        }
        let missing: Vec<_> = candidates.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(c, _)| c.0).collect();
        assert!(missing.is_empty(), "never drawn: {missing:?}");
    }
}

#[test]
fn augmentation_belongs_to_the_example_and_the_epoch() {
    let mut data = numbered(32, &[1, 8, 8]);
    data.train.images = Images::F32(gradient(1, 8, 8).repeat(32));
    let augmented = |batch, shuffle, number| {
        let options = TrainOptions { batch, seed: 9, shuffle, augment: true };
        let mut pairs: Vec<(i32, Vec<u32>)> = Vec::new();
        for batch in epoch(&data, &options, number) {
            let images = images(&batch).chunks(64).map(|image| image.iter().map(|value| value.to_bits()).collect());
            pairs.extend(classes(&batch).iter().copied().zip(images));
        }
        pairs.sort();
        pairs
    };
    let images = augmented(4, true, 1);
    assert_eq!(images, augmented(4, true, 1));
    assert_eq!(images, augmented(16, false, 1), "neither batch size nor order has an influence");
    assert_ne!(images, augmented(4, true, 2));
}

#[test]
fn bytes_are_normalised_per_channel_and_padded_before() {
    let mut data = numbered(1, &[2, 1, 2]);
    data.train.images = Images::U8(vec![0, 51, 102, 255]);
    data.normalization = Normalization { divisor: 255.0, mean: vec![0.1, 0.4], std: vec![0.5, 0.25] };
    let expected = [(0.0 - 0.1) / 0.5, (0.2 - 0.1) / 0.5, (0.4 - 0.4) / 0.25, (1.0 - 0.4) / 0.25];
    let plain = &epoch(&data, &options(1, 0, false), 0)[0];
    for (value, expected) in images(plain).iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6, "{:?}", images(plain));
    }
    // Black, not the mean, surrounds an image: -0.2 in the first channel and -1.6 in the second.
    let augmented = TrainOptions { augment: true, ..options(1, 0, false) };
    let away = (0..20).map(|number| images(&epoch(&data, &augmented, number)[0]).to_vec());
    let away =
        away.filter(|image| image.iter().zip(&[-0.2, -0.2, -1.6, -1.6]).all(|(a, b): (_, &f32)| (a - b).abs() < 1e-6));
    assert!(away.count() > 0);
}

#[test]
fn impossible_batches_are_refused() {
    let data = numbered(5, &[4]);
    for (options, kind, part) in [
        (options(6, 0, true), ErrorKind::Mismatch, "at most 5"),
        (options(0, 0, true), ErrorKind::Invalid, "batch of 0"),
        (TrainOptions { augment: true, ..options(2, 0, true) }, ErrorKind::Mismatch, "turn augmentation off"),
    ] {
        let error = TrainBatches::new(&data, &options, 0).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(part), "{error}");
    }
    let mut broken = data.clone();
    broken.train.labels.pop();
    broken.normalization.std[0] = 0.0;
    let error = TrainBatches::new(&broken, &options(1, 0, true), 0).unwrap_err().to_string();
    assert!(
        error.contains("20 training values cannot be 4 examples") && error.contains("(1 mean, 1 deviation,"),
        "{error}"
    );
    let other = Split { images: Images::F32(vec![0.0; 3]), labels: vec![0] };
    assert_eq!(EvalBatches::new(&data, &other, 1).unwrap_err().kind(), ErrorKind::Mismatch);
}
