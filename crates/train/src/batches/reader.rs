//! Examples of a split, normalised, in the memory of a batch.

use super::augmentation::Placement;
use super::batch::{Array, Batch, Numbers};
use crate::data::{Dataset, Images, Network, Normalization, Split, transpose};
use crate::{Error, ErrorKind, Result};

/// The memory of a batch while it is filled.
pub(super) struct Slots {
    images: Vec<f32>,
    labels: Vec<i32>,
    /// Of the examples in their split.
    numbers: Vec<u32>,
}

/// Copies examples out of a split, normalising them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
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
    pub(super) fn new(dataset: &'a Dataset, split: &'a Split, batch: usize) -> Result<Self> {
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
    pub(super) fn start(&self, batch: &mut Batch, examples: usize) -> Slots {
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
    pub(super) fn finish(&self, batch: &mut Batch, Slots { images, labels, numbers }: Slots, valid: usize) {
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

    pub(super) fn fill(&mut self, slots: &mut Slots, slot: usize, example: usize, placement: Option<Placement>) {
        slots.labels[slot] = self.split.labels[example] as i32;
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
            let Some(y) = placement.row(y, height) else { continue };
            let row = &values[(channel * height + y) * width..][..width];
            placement.place(row, output, |value| input(value, statistic));
        }
    }
}
