//! Training examples in random order, changed at random.

use super::augmentation::Placement;
use super::batch::Batch;
use super::reader::Reader;
use super::sequence::Batches;
use crate::data::Dataset;
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};
use bitbudget_report::{counted, grouped};
use rand::seq::SliceRandom;

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
                Placement::drawn(&mut generator(Purpose::Augment, seed, epoch, index.into()))
            });
            self.reader.fill(&mut slots, slot, index as usize, placement);
        }
        self.reader.finish(batch, slots, self.batch);
        true
    }
}

impl Batches for TrainBatches<'_> {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        Ok(TrainBatches::next_into(self, batch))
    }
}
