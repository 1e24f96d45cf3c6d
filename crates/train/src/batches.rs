//! Batches of named arrays: those of a data set, with normalised examples. A compiled program has a fixed batch size, so every
//! batch is full.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bitbudget_exec::{self as exec, Inputs};
use bitbudget_report::{counted, grouped};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::data::{Dataset, Images, Network, Normalization, Split, transpose};
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};

/// Zeros around an image before a random crop (paper: "random crop with padding 4").
const CROP_PADDING: usize = 4;

/// The elements of an array, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// FP32 numbers.
    F32(Vec<f32>),
    /// Integers: labels.
    Integers(Vec<u32>),
}

/// An input of a program in one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The dimensions, batch included.
    pub shape: Vec<usize>,
    /// The elements.
    pub numbers: Numbers,
}

/// The inputs of one step by name; a data set's batches reuse their memory from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The arrays. The images of a data set are [batch, c, h, w], or [batch, h, w, c] where the network takes them so.
    pub arrays: BTreeMap<String, Array>,
    /// The array with one class per example, by which scores are judged.
    pub labels: String,
    /// The number of each example in its split, where the batch is of one.
    pub examples: Vec<u32>,
    /// How many examples from the first on count; the rest repeat others to fill the batch.
    pub valid: usize,
}

impl Batch {
    /// A batch whose examples all count.
    ///
    /// # Errors
    /// `Invalid` if `labels` does not name an array of integers.
    pub fn new(arrays: impl IntoIterator<Item = (String, Array)>, labels: &str) -> Result<Batch> {
        let (arrays, labels) = (arrays.into_iter().collect(), labels.into());
        let mut batch = Batch { arrays, labels, examples: Vec::new(), valid: 0 };
        batch.valid = batch.classes()?.len();
        Ok(batch)
    }

    /// The class of each example, those included that do not count.
    ///
    /// # Errors
    /// `Invalid` if there is no such array of integers, or more examples are said to count than there are.
    pub fn classes(&self) -> Result<&[u32]> {
        let invalid = |reason: String| Err(Error::new(ErrorKind::Invalid, format!("a batch {reason}")));
        match self.arrays.get(&self.labels).map(|array| &array.numbers) {
            Some(Numbers::Integers(classes)) if !classes.is_empty() && self.valid <= classes.len() => Ok(classes),
            Some(Numbers::Integers(classes)) => {
                let (have, valid) = (counted(classes.len() as u64, "label", "labels"), self.valid);
                invalid(format!("of {have} says that {valid} count"))
            }
            Some(Numbers::F32(_)) => {
                invalid(format!("has FP32 numbers for its labels `{}`: give integers", self.labels))
            }
            None => invalid(format!("has no labels `{}`", self.labels)),
        }
    }

    /// The arrays as inputs of a step.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs::new(self.arrays.iter().map(|(name, Array { shape, numbers })| {
            let numbers = match numbers {
                Numbers::F32(numbers) => exec::Numbers::F32(numbers),
                Numbers::Integers(numbers) => exec::Numbers::Integers(numbers),
            };
            (name.as_str(), exec::Array { shape, numbers })
        }))
    }

    /// The most extreme of all FP32 numbers by an order, the first of equal ones, with the number of its example in its split.
    pub fn most(&self, by: impl Fn(&f32, &f32) -> Ordering) -> Option<(f32, Option<u32>)> {
        let count = self.classes().map_or(0, <[u32]>::len);
        let example = |at: usize, len: usize| self.examples.get(at.checked_div(len.checked_div(count)?)?).copied();
        let mut most: Option<(f32, Option<u32>)> = None;
        for (_, numbers) in self.numbers() {
            for (at, &x) in numbers.iter().enumerate() {
                if most.is_none_or(|(other, _)| by(&x, &other).is_gt()) {
                    most = Some((x, example(at, numbers.len())));
                }
            }
        }
        most
    }

    /// The FP32 arrays with their names.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.arrays.iter().filter_map(|(name, array)| match &array.numbers {
            Numbers::F32(numbers) => Some((name.as_str(), numbers.as_slice())),
            Numbers::Integers(_) => None,
        })
    }
}

/// Batches one after the other: those of a data set, or any iterator over batches.
pub trait Batches {
    /// Overwrites `batch` with the next one; false, leaving it alone, after the last.
    ///
    /// # Errors
    /// If there is a next batch but it cannot be had.
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool>;
}

impl<I: Iterator<Item = Result<Batch>>> Batches for I {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        match self.next() {
            Some(next) => {
                *batch = next?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Batches for TrainBatches<'_> {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        Ok(TrainBatches::next_into(self, batch))
    }
}

impl Batches for EvalBatches<'_> {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        Ok(EvalBatches::next_into(self, batch))
    }
}

/// How an epoch of training goes through the data.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Examples per batch.
    pub batch: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Random order, another one in each epoch; otherwise the order of the data.
    pub shuffle: bool,
    /// Random crops of the image padded by 4 zeros (before normalisation) on each side, then random horizontal flips.
    pub augment: bool,
}

/// One epoch of training.
///
/// The examples that are left over after the last full batch are dropped: with shuffling other ones in each epoch, without it
/// always the last ones of the data.
#[derive(Debug)]
pub struct TrainBatches<'a> {
    reader: Reader<'a>,
    order: Vec<u32>,
    batch: usize,
    next: usize,
    shuffled: bool,
    augmentation: Option<(u64, u64)>,
}

impl<'a> TrainBatches<'a> {
    /// The batches of an epoch; the same seed and epoch give the same bits.
    ///
    /// # Errors
    /// `Mismatch` for fewer examples than one batch, for augmentation of data that are not images, and for inconsistent
    /// data; `Invalid` for a batch of 0.
    pub fn new(dataset: &'a Dataset, options: &TrainOptions, epoch: u64) -> Result<Self> {
        let reader = Reader::new(dataset, &dataset.train, options.batch)?;
        let examples = dataset.train.len();
        if examples < options.batch {
            let name = &dataset.name;
            let have = counted(examples as u64, "training example", "training examples");
            let message = format!("{name}: {have} cannot fill a batch of {}", options.batch);
            return Err(Error::new(ErrorKind::Mismatch, format!("{message}: use a batch of at most {examples}")));
        }
        if options.augment && dataset.shape.len() != 3 {
            let message = format!(
                "{}: examples of shape {:?} are not images [c, h, w], so they cannot be cropped and flipped: \
                 turn augmentation off",
                dataset.name, dataset.shape
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let mut order: Vec<u32> = (0..examples as u32).collect();
        if options.shuffle {
            order.shuffle(&mut generator(Purpose::Shuffle, options.seed, epoch, 0));
        }
        let augmentation = options.augment.then_some((options.seed, epoch));
        Ok(TrainBatches { reader, order, batch: options.batch, next: 0, shuffled: options.shuffle, augmentation })
    }

    /// The number of batches of the epoch.
    pub fn len(&self) -> usize {
        self.order.len() / self.batch
    }

    /// Whether the epoch has no batch; `new` refuses that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The examples that the epoch leaves out, as a sentence; nothing where its batches use all.
    pub fn left_out(&self) -> Option<String> {
        let (examples, left_out) = (self.order.len(), self.order.len() % self.batch);
        (left_out > 0).then(|| {
            format!(
                "Each epoch leaves out {left_out} of the {} training examples, too few for a batch of {}{}.",
                grouped(examples as u64),
                self.batch,
                if self.shuffled { "; shuffling leaves out others each time" } else { ": the last ones" }
            )
        })
    }

    /// Overwrites `batch` with the next one; false, leaving it alone, after the last.
    pub fn next_into(&mut self, batch: &mut Batch) -> bool {
        let Some(indices) = self.order.get(self.next..self.next + self.batch) else { return false };
        self.next += self.batch;
        let mut slots = self.reader.start(batch, self.batch);
        for (slot, &index) in indices.iter().enumerate() {
            let placement = self.augmentation.map(|(seed, epoch)| {
                // Of the example, not of its place in the order, so no other draw has an influence.
                let mut random = generator(Purpose::Augment, seed, epoch, index.into());
                let offset = 0..=2 * CROP_PADDING;
                Placement {
                    top: random.random_range(offset.clone()),
                    left: random.random_range(offset),
                    flip: random.random(),
                }
            });
            self.reader.fill(&mut slots, slot, index as usize, placement);
        }
        self.reader.finish(batch, slots, self.batch);
        true
    }
}

/// A split in order, to measure with: every example counts in exactly one batch.
///
/// The last batch is filled up with examples from the start; [`Batch::valid`] tells how many count.
#[derive(Debug)]
pub struct EvalBatches<'a> {
    reader: Reader<'a>,
    examples: usize,
    batch: usize,
    next: usize,
}

impl<'a> EvalBatches<'a> {
    /// The batches of `split`, which belongs to `dataset` (its training or its test examples).
    ///
    /// # Errors
    /// `Mismatch` for inconsistent data, `Invalid` for a batch of 0.
    pub fn new(dataset: &'a Dataset, split: &'a Split, batch: usize) -> Result<Self> {
        Ok(EvalBatches { reader: Reader::new(dataset, split, batch)?, examples: split.len(), batch, next: 0 })
    }

    /// The number of batches.
    pub fn len(&self) -> usize {
        self.examples.div_ceil(self.batch)
    }

    /// Whether there is no batch; `new` refuses that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Overwrites `batch` with the next one; false, leaving it alone, after the last.
    pub fn next_into(&mut self, batch: &mut Batch) -> bool {
        if self.next >= self.examples {
            return false;
        }
        let mut slots = self.reader.start(batch, self.batch);
        for slot in 0..self.batch {
            self.reader.fill(&mut slots, slot, (self.next + slot) % self.examples, None);
        }
        self.reader.finish(batch, slots, self.batch.min(self.examples - self.next));
        self.next += self.batch;
        true
    }
}

/// Where a crop starts in the padded image, and whether it is mirrored.
#[derive(Debug, Clone, Copy)]
struct Placement {
    top: usize,
    left: usize,
    flip: bool,
}

/// The memory of a batch while it is filled.
struct Slots {
    images: Vec<f32>,
    labels: Vec<u32>,
    /// Of the examples in their split.
    numbers: Vec<u32>,
}

/// Copies examples out of a split, normalising them.
#[derive(Debug)]
struct Reader<'a> {
    split: &'a Split,
    network: &'a Network,
    shape: &'a [usize],
    normalization: &'a Normalization,
    length: usize,
    /// Whether the network takes an example's first axis last; an example is written here before it is laid out so.
    channels_last: bool,
    channels_first: Vec<f32>,
    /// Per channel the input for each byte; empty for numbers.
    table: Vec<[f32; 256]>,
}

impl<'a> Reader<'a> {
    fn new(dataset: &'a Dataset, split: &'a Split, batch: usize) -> Result<Self> {
        dataset.check()?;
        let length = dataset.example_len();
        if batch == 0 || batch.checked_mul(length).is_none() {
            return Err(Error::new(ErrorKind::Invalid, format!("a batch of {batch} examples is not possible")));
        }
        if split.is_empty()
            || split.images.len() != split.len().saturating_mul(length)
            || u32::try_from(split.len()).is_err()
        {
            let message = format!("{}: the split does not hold examples of {:?}", dataset.name, dataset.shape);
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let network = &dataset.network;
        if network.shape.iter().product::<usize>() != length {
            let message = format!("{}: the data are for no network: fit them to one first", dataset.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let normalization = &dataset.normalization;
        let table = match split.images {
            Images::U8(_) => (0..normalization.mean.len())
                .map(|channel| std::array::from_fn(|byte| normalization.apply(byte as f32, channel)))
                .collect(),
            Images::F32(_) => Vec::new(),
        };
        // One channel is the same in both layouts.
        let channels_last = dataset.channels_last && dataset.shape.first().is_some_and(|&channels| channels > 1);
        let channels_first = Vec::new();
        Ok(Reader {
            split,
            network,
            shape: &dataset.shape,
            normalization,
            length,
            channels_last,
            channels_first,
            table,
        })
    }

    /// Takes a batch's memory.
    fn start(&self, batch: &mut Batch, examples: usize) -> Slots {
        let mut arrays = std::mem::take(&mut batch.arrays);
        let mut take = |name: &str| arrays.remove(name).map(|array| array.numbers);
        let mut images = match take(&self.network.input) {
            Some(Numbers::F32(images)) => images,
            _ => Vec::new(),
        };
        let mut labels = match take(&self.network.labels) {
            Some(Numbers::Integers(labels)) => labels,
            _ => Vec::new(),
        };
        images.resize(examples * self.length, 0.0);
        labels.resize(examples, 0);
        let mut numbers = std::mem::take(&mut batch.examples);
        numbers.resize(examples, 0);
        Slots { images, labels, numbers }
    }

    /// Gives it back, filled, under the names of the network's inputs.
    fn finish(&self, batch: &mut Batch, Slots { images, labels, numbers }: Slots, valid: usize) {
        let Network { input, shape, labels: name, .. } = self.network;
        let examples = labels.len();
        let shape = std::iter::once(examples).chain(shape.iter().copied()).collect();
        let images = Array { shape, numbers: Numbers::F32(images) };
        let labels = Array { shape: vec![examples], numbers: Numbers::Integers(labels) };
        batch.arrays = [(input.clone(), images), (name.clone(), labels)].into();
        batch.labels.clone_from(name);
        batch.examples = numbers;
        batch.valid = valid;
    }

    fn fill(&mut self, slots: &mut Slots, slot: usize, example: usize, placement: Option<Placement>) {
        slots.labels[slot] = self.split.labels[example];
        // A split has no more examples than a u32 counts.
        slots.numbers[slot] = example as u32;
        let output = &mut slots.images[slot * self.length..][..self.length];
        if self.channels_last {
            let mut channels_first = std::mem::take(&mut self.channels_first);
            channels_first.resize(self.length, 0.0);
            self.write(&mut channels_first, example, placement);
            transpose(&channels_first, self.shape[0], output);
            self.channels_first = channels_first;
        } else {
            self.write(output, example, placement);
        }
    }

    fn write(&self, output: &mut [f32], example: usize, placement: Option<Placement>) {
        let at = example * self.length;
        match &self.split.images {
            Images::U8(values) => self.copy(&values[at..][..self.length], output, placement, |byte, channel| {
                self.table[channel][usize::from(byte)]
            }),
            Images::F32(values) => self.copy(&values[at..][..self.length], output, placement, |value, channel| {
                self.normalization.apply(value, channel)
            }),
        }
    }

    fn copy<T: Copy + Default>(
        &self,
        values: &[T],
        output: &mut [f32],
        placement: Option<Placement>,
        input: impl Fn(T, usize) -> f32,
    ) {
        let statistics = self.normalization.mean.len();
        let (Some(placement), &[_, height, width]) = (placement, self.shape) else {
            let part = self.length / statistics;
            for (channel, (values, output)) in values.chunks(part).zip(output.chunks_mut(part)).enumerate() {
                for (output, &value) in output.iter_mut().zip(values) {
                    *output = input(value, channel);
                }
            }
            return;
        };
        let rows = output.chunks_exact_mut(width).enumerate();
        for (index, output) in rows {
            let (channel, y) = (index / height, index % height);
            let statistic = index * width / (self.length / statistics);
            output.fill(input(T::default(), statistic));
            let Some(y) = (y + placement.top).checked_sub(CROP_PADDING).filter(|&y| y < height) else { continue };
            let row = &values[(channel * height + y) * width..][..width];
            // Output columns first..last of the crop lie inside the image and start at column `from` of it.
            let first = CROP_PADDING.saturating_sub(placement.left).min(width);
            let from = placement.left.saturating_sub(CROP_PADDING).min(width);
            let inside = &row[from..][..width - first.max(from)];
            let cropped = &mut output[first..][..inside.len()];
            for (output, &value) in cropped.iter_mut().zip(inside) {
                *output = input(value, statistic);
            }
            if placement.flip {
                output.reverse();
            }
        }
    }
}
