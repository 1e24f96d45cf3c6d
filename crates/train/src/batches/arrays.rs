//! Batches of named arrays.

use super::batch::{Array, Batch, Numbers};
use super::sequence::Batches;
use super::training::TrainOptions;
use crate::data::{Arrays, Column, Columns, Port};
use crate::examples::Examples;
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};
use bitbudget_report::counted;
use rand::seq::SliceRandom;

/// The examples of named arrays, and how epochs go through them.
#[derive(Debug)]
pub struct ArrayEpochs<'a> {
    arrays: &'a Arrays,
    options: TrainOptions,
    /// As many training examples as a batch.
    first: Columns,
}

impl<'a> ArrayEpochs<'a> {
    /// Epochs over arrays.
    ///
    /// # Errors
    /// `Mismatch` for fewer examples than one batch, `Invalid` for augmentation, which is one of images.
    pub fn new(arrays: &'a Arrays, options: TrainOptions) -> Result<ArrayEpochs<'a>> {
        let examples = arrays.train.examples;
        if options.augment {
            let message =
                format!("{}: arrays by name are not images, so they cannot be cropped and flipped", arrays.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if options.batch == 0 || examples < options.batch {
            let have = counted(examples as u64, "training example", "training examples");
            let message = format!("{}: {have} cannot fill a batch of {}", arrays.name, options.batch);
            return Err(Error::new(ErrorKind::Mismatch, format!("{message}: use a batch of at most {examples}")));
        }
        let first = arrays.first(options.batch);
        Ok(ArrayEpochs { arrays, options, first })
    }

    fn batches<'b>(&'b self, columns: &'b Columns, batch: usize) -> ArrayBatches<'b> {
        let order = (0..columns.examples as u32).collect();
        let judged = self.arrays.judged();
        ArrayBatches { ports: &self.arrays.ports, judged, columns, order, batch, next: 0, is_filled: true }
    }
}

impl Examples for ArrayEpochs<'_> {
    fn steps(&self) -> Result<u64> {
        Ok((self.arrays.train.examples / self.options.batch) as u64)
    }

    fn epoch(&self, epoch: u64) -> Result<Box<dyn Batches + '_>> {
        let mut batches = self.batches(&self.arrays.train, self.options.batch);
        batches.is_filled = false;
        if self.options.shuffle {
            batches.order.shuffle(&mut generator(Purpose::Shuffle, self.options.seed, epoch, 0));
        }
        Ok(Box::new(batches))
    }

    fn test(&self, size: usize) -> Result<Option<Box<dyn Batches + '_>>> {
        Ok(self.arrays.test.as_ref().map(|test| Box::new(self.batches(test, size)) as Box<dyn Batches>))
    }

    fn sample(&self, size: usize) -> Result<Box<dyn Batches + '_>> {
        Ok(Box::new(self.batches(&self.first, size)))
    }
}

/// The test examples in order, to measure with, or the training examples where there are none.
///
/// # Errors
/// `Invalid` for a batch of 0.
pub fn array_batches(arrays: &Arrays, batch: usize) -> Result<impl Batches + '_> {
    if batch == 0 {
        return Err(Error::new(ErrorKind::Invalid, "a batch of 0 examples is not possible"));
    }
    let columns = arrays.test.as_ref().unwrap_or(&arrays.train);
    let order = (0..columns.examples as u32).collect();
    Ok(ArrayBatches { ports: &arrays.ports, judged: arrays.judged(), columns, order, batch, next: 0, is_filled: true })
}

/// Batches of arrays one after the other.
#[derive(Debug)]
struct ArrayBatches<'a> {
    ports: &'a [Port],
    /// The target by which results are judged.
    judged: Option<&'a Port>,
    columns: &'a Columns,
    order: Vec<u32>,
    batch: usize,
    next: usize,
    /// Whether a last batch is filled up with the first examples; otherwise it is left out.
    is_filled: bool,
}

impl Batches for ArrayBatches<'_> {
    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        let left = self.order.len().saturating_sub(self.next);
        if left == 0 || left < self.batch && !self.is_filled {
            return Ok(false);
        }
        let picked: Vec<u32> = (0..self.batch).map(|slot| self.order[(self.next + slot) % self.order.len()]).collect();
        for (port, column) in self.ports.iter().zip(&self.columns.columns) {
            let mut shape = port.shape.clone();
            if let Some(axis) = port.axis {
                shape[axis] *= self.batch;
            }
            let parts = Parts { port, examples: self.columns.examples, picked: &picked };
            let numbers = match (column, batch.arrays.remove(&port.name).map(|array| array.numbers)) {
                (Column::Numbers(all), Some(Numbers::F32(room))) => Numbers::F32(parts.of(all, room)),
                (Column::Numbers(all), _) => Numbers::F32(parts.of(all, Vec::new())),
                (Column::Integers(all), Some(Numbers::Integers(room))) => Numbers::Integers(parts.of(all, room)),
                (Column::Integers(all), _) => Numbers::Integers(parts.of(all, Vec::new())),
            };
            batch.arrays.insert(port.name.clone(), Array { shape, numbers });
        }
        if let Some(target) = self.judged {
            batch.labels.clone_from(&target.name);
            batch.axis = target.axis.unwrap_or(0);
        }
        batch.valid = left.min(self.batch);
        batch.examples = picked;
        self.next += self.batch;
        Ok(true)
    }
}

/// The examples of a batch in an array of all.
struct Parts<'a> {
    port: &'a Port,
    /// All of the array.
    examples: usize,
    picked: &'a [u32],
}

impl Parts<'_> {
    fn of<T: Copy>(&self, all: &[T], mut room: Vec<T>) -> Vec<T> {
        room.clear();
        let (outer, inner) = self.port.parts();
        match self.port.axis {
            None => room.extend_from_slice(all),
            Some(_) => {
                for o in 0..outer {
                    for &example in self.picked {
                        room.extend_from_slice(&all[(o * self.examples + example as usize) * inner..][..inner]);
                    }
                }
            }
        }
        room
    }
}
