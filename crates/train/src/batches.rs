//! Batches of normalised examples. A compiled program has a fixed batch size, so every batch is full.

use bitbudget_report::{counted, grouped};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::data::{Dataset, Images, Normalization, Split, transpose};
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};

/// Zeros around an image before a random crop (paper: "random crop with padding 4").
const CROP_PADDING: usize = 4;

/// The network's input for one step; its memory is reused from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Examples x values per example, row-major; images are [batch, c, h, w], or [batch, h, w, c] where the network takes them so.
    pub images: Vec<f32>,
    /// One class per example.
    pub labels: Vec<u32>,
    /// The number of each example in its split.
    pub examples: Vec<u32>,
    /// How many examples from the first on count; the rest repeat others to fill the batch.
    pub valid: usize,
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
        self.reader.start(batch, self.batch, self.batch);
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
            self.reader.fill(batch, slot, index as usize, placement);
        }
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
        self.reader.start(batch, self.batch, self.batch.min(self.examples - self.next));
        for slot in 0..self.batch {
            self.reader.fill(batch, slot, (self.next + slot) % self.examples, None);
        }
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

/// Copies examples out of a split, normalising them.
#[derive(Debug)]
struct Reader<'a> {
    split: &'a Split,
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
        Ok(Reader { split, shape: &dataset.shape, normalization, length, channels_last, channels_first, table })
    }

    fn start(&self, batch: &mut Batch, examples: usize, valid: usize) {
        batch.images.resize(examples * self.length, 0.0);
        batch.labels.resize(examples, 0);
        batch.examples.resize(examples, 0);
        batch.valid = valid;
    }

    fn fill(&mut self, batch: &mut Batch, slot: usize, example: usize, placement: Option<Placement>) {
        batch.labels[slot] = self.split.labels[example];
        // A split has no more examples than a u32 counts.
        batch.examples[slot] = example as u32;
        let output = &mut batch.images[slot * self.length..][..self.length];
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
