//! Batches one after the other.

use super::batch::Batch;
use crate::Result;

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
