//! The examples of a run, for training and testing: a data set, or examples of a program's own.

use crate::Result;
use crate::batches::{Batches, EvalBatches, TrainBatches, TrainOptions};
use crate::data::{Dataset, Split};

/// Examples in batches.
///
/// A program that trains on data of its own implements this; any iterator over batches is [`Batches`].
pub trait Examples {
    /// The number of batches of an epoch.
    ///
    /// # Errors
    /// If the examples do not fit.
    fn steps(&self) -> Result<u64>;

    /// The batches of an epoch, counted from 0, of the training program's batch size.
    ///
    /// # Errors
    /// If the examples cannot be had.
    fn epoch(&self, epoch: u64) -> Result<Box<dyn Batches + '_>>;

    /// The test examples in batches of `size`, if there are any.
    ///
    /// # Errors
    /// If the examples cannot be had.
    fn test(&self, size: usize) -> Result<Option<Box<dyn Batches + '_>>>;

    /// Some training examples in batches of `size`, to evaluate the trained network with where there are no test examples.
    ///
    /// # Errors
    /// If the examples cannot be had.
    fn sample(&self, size: usize) -> Result<Box<dyn Batches + '_>>;
}

/// The examples of a data set, and how epochs go through them.
#[derive(Debug)]
pub struct Epochs<'a> {
    dataset: &'a Dataset,
    options: TrainOptions,
    /// As many training examples as a batch.
    first: Split,
}

impl<'a> Epochs<'a> {
    /// Epochs over a data set that is fitted to the network.
    pub fn new(dataset: &'a Dataset, options: TrainOptions) -> Epochs<'a> {
        let first = dataset.first(options.batch);
        Epochs { dataset, options, first }
    }
}

impl Examples for Epochs<'_> {
    fn steps(&self) -> Result<u64> {
        Ok(TrainBatches::new(self.dataset, &self.options, 0)?.len() as u64)
    }

    fn epoch(&self, epoch: u64) -> Result<Box<dyn Batches + '_>> {
        Ok(Box::new(TrainBatches::new(self.dataset, &self.options, epoch)?))
    }

    fn test(&self, size: usize) -> Result<Option<Box<dyn Batches + '_>>> {
        let batches = |split| Ok(Box::new(EvalBatches::new(self.dataset, split, size)?) as Box<dyn Batches>);
        self.dataset.test.as_ref().map(batches).transpose()
    }

    fn sample(&self, size: usize) -> Result<Box<dyn Batches + '_>> {
        Ok(Box::new(EvalBatches::new(self.dataset, &self.first, size)?))
    }
}
