//! Loss and accuracy, and which examples are classified correctly.

use bitbudget_exec::{Executor, Inputs, Loaded, Step, Values};
use bitbudget_program::Program;

use crate::batches::{Batch, Batches};
use crate::{Error, ErrorKind, Result};

/// Loss and accuracy over examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of examples that are classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Examples whose scores are not finite; they count as wrong.
    pub not_finite: u64,
    /// The number of the first of them.
    pub first_not_finite: Option<u64>,
    /// All examples.
    pub examples: u64,
}

/// Loss and accuracy of an evaluation program over batches of its size, such as [`EvalBatches`](crate::batches::EvalBatches) or
/// any iterator over batches. The program need not read their labels.
///
/// # Errors
/// If the batches do not fit, there is none, or the device fails.
pub fn evaluate(
    executor: &mut Executor,
    values: &mut Values,
    loaded: &Loaded,
    batches: &mut dyn Batches,
) -> Result<Evaluation> {
    let mut batch = Batch::default();
    let (mut loss, mut scores, mut examples) = (0.0, Scores::default(), 0);
    while batches.next_into(&mut batch)? {
        let step = loaded.step(executor, values, &batch_inputs(&batch, loaded.program()))?;
        let classes = batch.classes()?;
        // An example may have several rows of scores, such as one for each token.
        let each = classes.len() / loaded.program().batch.clamp(1, classes.len().max(1));
        let labels = &classes[..(batch.valid * each).min(classes.len())];
        for (row, &label) in rows(&step, "log_probabilities", classes.len())?.zip(labels) {
            if let Ok(label) = usize::try_from(label) {
                loss -= f64::from(row.get(label).copied().unwrap_or(f32::NAN));
            }
        }
        scores.add(rows(&step, "logits", classes.len())?, labels);
        examples += batch.valid;
    }
    if examples == 0 {
        return Err(Error::new(ErrorKind::Mismatch, "there are no examples to evaluate"));
    }
    let counted = scores.examples.max(1) as f64;
    Ok(Evaluation {
        loss: loss / counted,
        accuracy: scores.correct as f64 / counted,
        not_finite: scores.not_finite,
        first_not_finite: scores.first_not_finite,
        examples: examples as u64,
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

/// The part of a batch that an evaluation reads: the labels only if it has an input for them.
fn batch_inputs<'b>(batch: &'b Batch, program: &Program) -> Inputs<'b> {
    let mut inputs = batch.inputs();
    if program.input(&batch.labels).is_none() {
        inputs.arrays.remove(batch.labels.as_str());
    }
    inputs
}

/// The rows of an output with one row per example.
pub(crate) fn rows<'s>(step: &'s Step, name: &str, examples: usize) -> Result<std::slice::ChunksExact<'s, f32>> {
    let output = step.outputs.get(name).filter(|output| !output.is_empty() && examples > 0);
    let output =
        output.ok_or_else(|| Error::new(ErrorKind::Mismatch, format!("the program has no output `{name}`")))?;
    Ok(output.chunks_exact((output.len() / examples).max(1)))
}

/// The outcomes of examples, by their scores.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    pub(crate) correct: u64,
    pub(crate) examples: u64,
    not_finite: u64,
    first_not_finite: Option<u64>,
}

impl Scores {
    /// Counts rows that have their largest score (the first of equal ones) at the label. One with a score that is not finite
    /// is wrong; one with a negative label is left out.
    pub(crate) fn add<'r>(&mut self, rows: impl Iterator<Item = &'r [f32]>, labels: &[i32]) {
        for (row, &label) in rows.zip(labels).filter(|(_, label)| **label >= 0) {
            let larger = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
            match row.iter().all(|score| score.is_finite()) {
                true => self.correct += u64::from((0..row.len()).fold(0, larger) == label as usize),
                false => {
                    self.not_finite += 1;
                    self.first_not_finite.get_or_insert(self.examples);
                }
            }
            self.examples += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_not_finite_are_never_correct() {
        const NAN: f32 = f32::NAN;
        let rows: [([f32; 3], i32, bool); 9] = [
            ([2.0, 1.0, 0.0], 0, true),
            ([0.0, 1.0, 2.0], 2, true),
            ([1.0, 1.0, 0.0], 0, true),
            ([1.0, 1.0, 0.0], 1, false),
            ([NAN, NAN, NAN], 0, false),
            ([NAN, 1.0, 2.0], 0, false),
            ([0.0, 9.0, NAN], 1, false),
            ([f32::INFINITY, 0.0, 0.0], 0, false),
            ([5.0, f32::NEG_INFINITY, 0.0], 0, false),
        ];
        for (row, label, correct) in rows {
            let mut scores = Scores::default();
            scores.add(std::iter::once(row.as_slice()), &[label]);
            assert_eq!(scores.correct == 1, correct, "{row:?} {label}");
            assert_eq!(scores.not_finite == 1, row.iter().any(|score| !score.is_finite()), "{row:?}");
        }
    }
}
