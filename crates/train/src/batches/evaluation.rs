//! A split in order, to measure with.

use super::batch::Batch;
use super::reader::Reader;
use super::sequence::Batches;
use crate::Result;
use crate::data::{Dataset, Split};

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

impl Batches for EvalBatches<'_> {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        Ok(EvalBatches::next_into(self, batch))
    }
}
