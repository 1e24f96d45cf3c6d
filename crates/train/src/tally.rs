//! Sums over examples, from which losses and metrics follow: over all that count, in double precision.

use bitbudget_exec::Step;
use bitbudget_program::Loss;

use crate::batches::{Array, Batch};
use crate::metrics::Metrics;
use crate::{Error, ErrorKind, Result};

/// Whether a label is among this many largest scores, where there are more classes.
const BEST: usize = 5;

/// The sums over the examples of some batches.
#[derive(Debug, Clone)]
pub(crate) struct Tally<'l> {
    loss: &'l Loss,
    /// The losses of all that counts, by its weight, and these weights.
    sum: f64,
    weight: f64,
    /// Labels or numbers that count.
    counted: u64,
    correct: u64,
    among_best: u64,
    /// Minus the logarithms of the labels' probabilities.
    surprise: f64,
    /// For each class, the labels that it is and that it is found for, and those of either.
    overlaps: Vec<[u64; 2]>,
    /// Dimensions of the labels.
    rank: usize,
    absolute: f64,
    squared: f64,
    pub(crate) examples: u64,
    pub(crate) not_finite: u64,
    pub(crate) first_not_finite: Option<u64>,
}

/// Which elements of an array belong to which example.
struct Examples {
    inner: usize,
    size: usize,
}

impl Examples {
    fn of(array: &Array, axis: usize, size: usize) -> Examples {
        let factor = array.shape.get(axis).map_or(1, |dim| dim / size.max(1));
        let behind: usize = array.shape.iter().skip(axis + 1).product();
        Examples { inner: (behind * factor).max(1), size: size.max(1) }
    }

    fn example(&self, element: usize) -> usize {
        element / self.inner % self.size
    }
}

impl<'l> Tally<'l> {
    /// Nothing yet.
    pub(crate) fn new(loss: &'l Loss) -> Tally<'l> {
        Tally {
            loss,
            sum: 0.0,
            weight: 0.0,
            counted: 0,
            correct: 0,
            among_best: 0,
            surprise: 0.0,
            overlaps: Vec::new(),
            rank: 1,
            absolute: 0.0,
            squared: 0.0,
            examples: 0,
            not_finite: 0,
            first_not_finite: None,
        }
    }

    /// Adds the results of a step over a batch of `size` examples, of which those count that are valid.
    ///
    /// # Errors
    /// If the batch has no targets of the kind that the loss takes, or the step not as many results.
    pub(crate) fn add(&mut self, step: &Step, batch: &Batch, size: usize) -> Result<()> {
        let valid = batch.valid.min(size);
        let mut wrong = vec![false; size];
        match self.loss {
            Loss::Output { .. } => {
                // The network's own loss is of whole batches: one that is filled up would count some examples twice.
                if valid < size && self.examples > 0 {
                    return Ok(());
                }
                let loss = output(step, "loss")?.first().copied().unwrap_or(f32::NAN);
                wrong.fill(!loss.is_finite());
                self.sum += valid as f64 * f64::from(loss);
                self.weight += valid as f64;
            }
            Loss::CrossEntropy { smoothing, weights, .. } => {
                let (labels, array) = (batch.classes()?, batch.target()?);
                let examples = Examples::of(array, batch.axis, size);
                self.rank = array.shape.len();
                let logits = rows(step, "logits", labels.len())?;
                let log_probabilities = rows(step, "log_probabilities", labels.len())?;
                let rows = logits.zip(log_probabilities).zip(labels).enumerate();
                for (row, ((logits, log_probabilities), &label)) in rows {
                    let example = examples.example(row);
                    let Ok(label) = usize::try_from(label) else { continue };
                    if example < valid {
                        wrong[example] |= !self.label(logits, label);
                        self.likelihood(log_probabilities, label, *smoothing, weights);
                    }
                }
            }
            Loss::BinaryCrossEntropy | Loss::MeanSquared | Loss::MeanAbsolute | Loss::Huber { .. } => {
                let (targets, array) = (batch.target_numbers()?, batch.target()?);
                let examples = Examples::of(array, batch.axis, size);
                let name = if *self.loss == Loss::BinaryCrossEntropy { "logits" } else { "predictions" };
                let results = output(step, name)?;
                if results.len() != targets.len() {
                    let (have, need) = (targets.len(), results.len());
                    let message = format!("the targets hold {have} numbers, the network's output {need}");
                    return Err(Error::new(ErrorKind::Mismatch, message));
                }
                for (at, (&x, &target)) in results.iter().zip(targets).enumerate() {
                    let example = examples.example(at);
                    if example < valid {
                        wrong[example] |= !x.is_finite();
                        self.number(f64::from(x), f64::from(target));
                    }
                }
            }
        }
        let wrong = &wrong[..valid];
        self.not_finite += wrong.iter().filter(|&&wrong| wrong).count() as u64;
        let first = wrong.iter().position(|&wrong| wrong).map(|at| self.examples + at as u64);
        self.first_not_finite = self.first_not_finite.or(first);
        self.examples += valid as u64;
        Ok(())
    }

    /// Counts a row of scores, which is right where the largest (the first of equal ones) is at its label; whether all are finite. One that
    /// is not is wrong.
    fn label(&mut self, scores: &[f32], label: usize) -> bool {
        let larger = |best: usize, i: usize| if scores[i] > scores[best] { i } else { best };
        let is_finite = scores.iter().all(|score| score.is_finite());
        self.counted += 1;
        if self.overlaps.len() < scores.len() {
            self.overlaps.resize(scores.len(), [0; 2]);
        }
        let found = is_finite.then(|| (0..scores.len()).fold(0, larger));
        self.correct += u64::from(found == Some(label));
        if let (true, Some(&score)) = (is_finite, scores.get(label)) {
            let before = scores.iter().enumerate().filter(|&(i, &x)| x > score || x == score && i < label).count();
            self.among_best += u64::from(before < BEST);
        }
        let is_found = found == Some(label);
        for class in found.into_iter().chain((!is_found).then_some(label)) {
            if let Some([both, either]) = self.overlaps.get_mut(class) {
                *both += u64::from(is_found);
                *either += 1;
            }
        }
        is_finite
    }

    /// Adds the loss of a row, from the logarithms of its probabilities.
    fn likelihood(&mut self, row: &[f32], label: usize, smoothing: f64, weights: &[f32]) {
        let weight = |class: usize| weights.get(class).map_or(1.0, |&weight| f64::from(weight));
        let surprise = -f64::from(row.get(label).copied().unwrap_or(f32::NAN));
        let mut loss = weight(label) * surprise;
        if smoothing > 0.0 {
            let spread: f64 = row.iter().enumerate().map(|(class, &x)| -weight(class) * f64::from(x)).sum();
            loss = (1.0 - smoothing) * loss + smoothing / row.len() as f64 * spread;
        }
        self.sum += loss;
        self.weight += weight(label);
        self.surprise += surprise;
    }

    /// Adds the loss of one number.
    fn number(&mut self, x: f64, target: f64) {
        let difference = x - target;
        let size = difference.abs();
        self.sum += match self.loss {
            Loss::BinaryCrossEntropy => x.max(0.0) - x * target + (-x.abs()).exp().ln_1p(),
            Loss::Huber { delta } if size > *delta => delta * (size - delta / 2.0),
            Loss::Huber { .. } => difference * difference / 2.0,
            Loss::MeanAbsolute => size,
            _ => difference * difference,
        };
        self.weight += 1.0;
        self.counted += 1;
        self.correct += u64::from((x > 0.0) == (target > 0.5));
        self.absolute += size;
        self.squared += difference * difference;
    }

    /// The mean loss; 0 where nothing counts.
    pub(crate) fn loss(&self) -> f64 {
        self.sum / if self.weight > 0.0 { self.weight } else { 1.0 }
    }

    /// The metrics that have a meaning for the loss.
    pub(crate) fn metrics(&self) -> Metrics {
        if self.counted == 0 {
            return Metrics::default();
        }
        let counted = self.counted as f64;
        let accuracy = Some(self.correct as f64 / counted);
        match self.loss {
            Loss::Output { .. } => Metrics::default(),
            Loss::BinaryCrossEntropy => Metrics { accuracy, ..Metrics::default() },
            Loss::MeanSquared | Loss::MeanAbsolute | Loss::Huber { .. } => Metrics {
                mae: Some(self.absolute / counted),
                rmse: Some((self.squared / counted).sqrt()),
                ..Metrics::default()
            },
            Loss::CrossEntropy { .. } => {
                let seen: Vec<f64> =
                    self.overlaps.iter().filter(|o| o[1] > 0).map(|o| o[0] as f64 / o[1] as f64).collect();
                Metrics {
                    accuracy,
                    top5_accuracy: (self.overlaps.len() > BEST).then(|| self.among_best as f64 / counted),
                    perplexity: (self.rank == 2).then(|| (self.surprise / counted).exp()),
                    mean_iou: (self.rank > 2).then(|| seen.iter().sum::<f64>() / seen.len().max(1) as f64),
                    ..Metrics::default()
                }
            }
        }
    }
}

/// An output of a step.
fn output<'s>(step: &'s Step, name: &str) -> Result<&'s [f32]> {
    let output = step.outputs.get(name).filter(|output| !output.is_empty());
    let missing = || Error::new(ErrorKind::Mismatch, format!("the program has no output `{name}`"));
    output.map(Vec::as_slice).ok_or_else(missing)
}

/// The rows of an output that has so many.
fn rows<'s>(step: &'s Step, name: &str, count: usize) -> Result<std::slice::ChunksExact<'s, f32>> {
    let output = output(step, name)?;
    Ok(output.chunks_exact((output.len() / count.max(1)).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::Numbers;

    fn batch(shape: &[usize], numbers: Numbers, valid: usize) -> Batch {
        let arrays = [("y".to_string(), Array { shape: shape.to_vec(), numbers })].into();
        Batch { arrays, labels: "y".into(), valid, ..Batch::default() }
    }

    fn step(outputs: &[(&str, &[f32])]) -> Step {
        let outputs = outputs.iter().map(|(name, numbers)| (name.to_string(), numbers.to_vec())).collect();
        Step { outputs, ..Step::default() }
    }

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
        let loss = Loss::default();
        for (row, label, correct) in rows {
            let mut tally = Tally::new(&loss);
            let outputs = step(&[("logits", &row), ("log_probabilities", &row)]);
            tally.add(&outputs, &batch(&[1], Numbers::Integers(vec![label]), 1), 1).unwrap();
            assert_eq!(tally.metrics().accuracy == Some(1.0), correct, "{row:?} {label}");
            assert_eq!(tally.not_finite == 1, row.iter().any(|score| !score.is_finite()), "{row:?}");
        }
    }

    #[test]
    fn metrics_are_of_all_labels_that_count() {
        let loss = Loss::default();
        let mut tally = Tally::new(&loss);
        let half = 0.5f32.ln();
        // Two tokens of two examples each, of which one label is ignored, and an example that fills the batch.
        let (scores, logs) = ([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0], [half; 8]);
        let labels = Numbers::Integers(vec![0, 0, -1, 0]);
        tally.add(&step(&[("logits", &scores), ("log_probabilities", &logs)]), &batch(&[2, 2], labels, 2), 2).unwrap();
        let more = Numbers::Integers(vec![1, 1, 0, 0]);
        tally.add(&step(&[("logits", &scores), ("log_probabilities", &logs)]), &batch(&[2, 2], more, 1), 2).unwrap();
        let found = tally.metrics();
        assert_eq!(found.accuracy, Some(3.0 / 5.0));
        assert!((found.perplexity.unwrap() - 2.0).abs() < 1e-6 && (tally.loss() - 2f64.ln()).abs() < 1e-6);
        assert_eq!((found.top5_accuracy, found.mean_iou, found.mae, tally.examples), (None, None, None, 3));
    }

    #[test]
    fn overlaps_of_pixels_and_the_best_five_of_more_classes() {
        let loss = Loss::default();
        let mut tally = Tally::new(&loss);
        // Four pixels: found 0, 0, 1, 1 for the labels 0, 1, 1, 1.
        let mut scores = vec![0.0; 4 * 6];
        [0, 6, 13, 19].iter().for_each(|&at| scores[at] = 1.0);
        let labels = Numbers::Integers(vec![0, 1, 1, 1]);
        let outputs = step(&[("logits", &scores), ("log_probabilities", &scores)]);
        tally.add(&outputs, &batch(&[1, 2, 2], labels, 1), 1).unwrap();
        let found = tally.metrics();
        assert_eq!(found.mean_iou, Some((1.0 / 2.0 + 2.0 / 3.0) / 2.0));
        assert_eq!((found.accuracy, found.top5_accuracy), (Some(0.75), Some(1.0)));
    }

    #[test]
    fn numbers_have_no_accuracy_and_truth_values_have() {
        let (x, target) = ([1.0, -3.0], Numbers::F32(vec![0.0, 1.0]));
        for (loss, expected) in [
            (Loss::MeanSquared, 8.5),
            (Loss::MeanAbsolute, 2.5),
            (Loss::Huber { delta: 1.0 }, (0.5 + 3.5) / 2.0),
            (Loss::BinaryCrossEntropy, (1.0f64.exp().ln_1p() + 3f64.exp().ln_1p()) / 2.0),
        ] {
            let mut tally = Tally::new(&loss);
            let outputs = step(&[("predictions", &x), ("logits", &x)]);
            tally.add(&outputs, &batch(&[2, 1], target.clone(), 2), 2).unwrap();
            assert!((tally.loss() - expected).abs() < 1e-12, "{loss}: {}", tally.loss());
            let Metrics { accuracy, mae, rmse, .. } = tally.metrics();
            match loss {
                Loss::BinaryCrossEntropy => assert_eq!((accuracy, mae, rmse), (Some(0.0), None, None)),
                _ => assert_eq!((accuracy, mae, rmse), (None, Some(2.5), Some(8.5f64.sqrt()))),
            }
        }
    }

    #[test]
    fn examples_may_lie_along_any_dimension() {
        // Two steps of time for three examples, of which the last fills the batch.
        let loss = Loss::MeanAbsolute;
        let mut tally = Tally::new(&loss);
        let target = Numbers::F32(vec![0.0; 6]);
        let batch = Batch { axis: 1, ..batch(&[2, 3], target, 2) };
        tally.add(&step(&[("predictions", &[1.0, 2.0, 100.0, 3.0, 4.0, 100.0])]), &batch, 3).unwrap();
        assert_eq!(tally.loss(), 2.5);
    }
}
