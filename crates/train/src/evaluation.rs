//! Loss and metrics over examples.

use bitbudget_exec::{Executor, Loaded, Values};
use bitbudget_program::Loss;

use crate::batches::{Batch, Batches};
use crate::metrics::Metrics;
use crate::tally::Tally;
use crate::{Error, ErrorKind, Result};

/// Loss and metrics over examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// What else has a meaning for the loss, such as accuracy.
    pub metrics: Metrics,
    /// Examples whose scores are not finite; they count as wrong.
    pub not_finite: u64,
    /// The number of the first of them.
    pub first_not_finite: Option<u64>,
    /// All examples.
    pub examples: u64,
}

/// Loss and metrics of an evaluation program over batches of its size, such as [`EvalBatches`](crate::batches::EvalBatches) or
/// any iterator over batches. The program need not read their labels. A loss that the network computes itself is that of whole batches: a last one
/// that is filled up does not count, if there is another.
///
/// # Errors
/// If the batches do not fit, there is none, or the device fails.
pub fn evaluate(
    executor: &mut Executor,
    values: &mut Values,
    loaded: &Loaded,
    batches: &mut dyn Batches,
    loss: &Loss,
) -> Result<Evaluation> {
    let mut batch = Batch::default();
    let mut tally = Tally::new(loss);
    while batches.next_into(&mut batch)? {
        let mut inputs = batch.inputs();
        if loaded.program().input(&batch.labels).is_none() {
            inputs.arrays.remove(batch.labels.as_str());
        }
        let step = loaded.step(executor, values, &inputs)?;
        tally.add(&step, &batch, loaded.program().batch)?;
    }
    if tally.examples == 0 {
        return Err(Error::new(ErrorKind::Mismatch, "there are no examples to evaluate"));
    }
    Ok(Evaluation {
        loss: tally.loss(),
        metrics: tally.metrics(),
        not_finite: tally.not_finite,
        first_not_finite: tally.first_not_finite,
        examples: tally.examples,
    })
}

/// The batch of an evaluation in which an example is, by its number.
///
/// # Errors
/// If there are fewer examples.
pub fn batch_with(batches: &mut dyn Batches, example: u64) -> Result<Batch> {
    let (mut batch, mut before) = (Batch::default(), 0);
    while batches.next_into(&mut batch)? {
        before += batch.valid as u64;
        if example < before {
            return Ok(batch);
        }
    }
    Err(Error::new(ErrorKind::Mismatch, format!("there is no example {example}: there are {before}")))
}
