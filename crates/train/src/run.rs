//! The training loop and the evaluation over compiled programs.

use std::collections::BTreeMap;
use std::time::Instant;

use bitbudget_exec::{ExecError, Executor, Inputs, Step, Values};
use bitbudget_program::{Instruction, Program};

use crate::batches::{Batch, EvalBatches, TrainBatches, TrainOptions};
use crate::data::{Dataset, Split};
use crate::learning_rate::LearningRate;
use crate::loss_scale::{LossScaler, LossScaling, SMALLEST_SCALE};
use crate::metrics::{self, EpochRecord, FinalRecord, Promotion, Record, StepRecord};
use crate::promotion::{OverflowCount, promote};
use crate::{Error, ErrorKind, Result};

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many times through the training examples.
    Epochs(u64),
    /// So many steps.
    Steps(u64),
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long.
    pub length: Length,
    /// Batch size, seed, order and augmentation.
    pub batches: TrainOptions,
    /// The learning rate at the start.
    pub learning_rate: f32,
    /// How it falls.
    pub schedule: LearningRate,
    /// The loss scale.
    pub loss_scale: LossScaling,
    /// The overflow ratio from which a tensor is promoted; `None` for no promotion.
    pub promotion: Option<f64>,
    /// The decays of Adam's moments.
    pub betas: [f64; 2],
}

/// The programs of a run: what a promotion replaces.
#[derive(Debug, Clone)]
pub struct Programs {
    /// One training step.
    pub train: Program,
    /// One evaluation step in the same formats.
    pub evaluate: Program,
}

/// A tensor that overflowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overflow {
    /// The tensor as the program counts it.
    pub tensor: u32,
    /// The share of its elements that overflowed in the step.
    pub ratio: f64,
    /// The step, from 0.
    pub step: u64,
}

/// What becomes of tensors that overflowed.
#[derive(Debug, Clone)]
pub struct Promoted {
    /// The programs to go on with.
    pub programs: Programs,
    /// The tensors that could be promoted.
    pub tensors: Vec<Promotion>,
}

/// Steps in a row that may be skipped at the smallest loss scale before the run is given up.
const PATIENCE: u32 = 100;

/// Loss and accuracy over a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of examples that are classified rightly, 0 to 1.
    pub accuracy: f64,
}

impl From<ExecError> for Error {
    fn from(error: ExecError) -> Error {
        Error::new(ErrorKind::Invalid, error.to_string())
    }
}

/// Trains: changes `values`, calls `observe` after each step and epoch, and returns the final record.
///
/// `promoted` gets the tensors whose overflow ratio reached the threshold, the worst first, and gives the programs to go on
/// with, or nothing if none of them could be promoted. `fp32` is the evaluation without rounding, for the final record.
///
/// # Errors
/// If the data do not fit, the device fails, or the run diverges: the gradients are not finite however small the scale.
pub fn train(
    executor: &mut Executor,
    values: &mut Values,
    programs: Programs,
    fp32: &Program,
    dataset: &Dataset,
    settings: &Settings,
    promoted: &mut dyn FnMut(&[Overflow]) -> Result<Option<Promoted>>,
    observe: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<FinalRecord> {
    let start = Instant::now();
    let per_epoch = TrainBatches::new(dataset, &settings.batches, 0)?.len() as u64;
    let steps = match settings.length {
        Length::Epochs(epochs) => epochs.saturating_mul(per_epoch),
        Length::Steps(steps) => steps,
    };
    let mut run = Run {
        executor,
        values,
        programs,
        settings,
        scaler: LossScaler::new(settings.loss_scale, per_epoch),
        steps,
        step: 0,
        hopeless: 0,
        promotions: Vec::new(),
        worst: BTreeMap::new(),
    };
    let mut last = EpochSums::default();
    let mut epoch = 0;
    let mut test = None;
    while run.step < steps {
        let begin = Instant::now();
        last = run.epoch(dataset, epoch, promoted, observe)?;
        let training = begin.elapsed().as_secs_f64();
        test = evaluate_test(run.executor, run.values, &run.programs.evaluate, dataset)?;
        observe(&Record::Epoch(EpochRecord {
            epoch,
            steps: run.step,
            train_loss: last.loss(),
            train_accuracy: last.accuracy(),
            test_loss: test.map(|t| t.loss),
            test_accuracy: test.map(|t| t.accuracy),
            skipped: last.skipped,
            seconds: begin.elapsed().as_secs_f64(),
            images_per_second: last.examples as f64 / training,
        }))?;
        epoch += 1;
    }
    let exact = evaluate_test(run.executor, run.values, fp32, dataset)?;
    Ok(FinalRecord {
        train_loss: last.loss(),
        train_accuracy: last.accuracy(),
        test_loss: test.map(|t| t.loss),
        test_accuracy: test.map(|t| t.accuracy),
        test_accuracy_fp32: exact.map(|t| t.accuracy),
        seconds: start.elapsed().as_secs_f64(),
        steps: run.step,
        promotions: run.promotions,
        overflows: run.worst.into_values().collect(),
    })
}

/// Loss and accuracy of an evaluation program over a split of a dataset.
///
/// # Errors
/// If the data do not fit or the device fails.
pub fn evaluate(
    executor: &mut Executor,
    values: &mut Values,
    program: &Program,
    dataset: &Dataset,
    split: &Split,
) -> Result<Evaluation> {
    let mut batches = EvalBatches::new(dataset, split, program.batch)?;
    let mut batch = Batch::default();
    let (mut loss, mut correct, mut examples) = (0.0, 0, 0);
    while batches.next_into(&mut batch) {
        let inputs = Inputs { examples: &batch.images, labels: &batch.labels, ..Inputs::default() };
        let step = executor.run(program, values, &inputs)?;
        let labels = &batch.labels[..batch.valid];
        for (row, &label) in rows(&step, "log_probabilities", batch.labels.len())?.zip(labels) {
            loss -= f64::from(row.get(label as usize).copied().unwrap_or(f32::NAN));
        }
        correct += count_correct(rows(&step, "logits", batch.labels.len())?, labels);
        examples += batch.valid;
    }
    Ok(Evaluation { loss: loss / examples as f64, accuracy: correct as f64 / examples as f64 })
}

fn evaluate_test(
    executor: &mut Executor,
    values: &mut Values,
    program: &Program,
    dataset: &Dataset,
) -> Result<Option<Evaluation>> {
    dataset.test.as_ref().map(|split| evaluate(executor, values, program, dataset, split)).transpose()
}

/// The rows of an output with one row per example.
fn rows<'s>(step: &'s Step, name: &str, examples: usize) -> Result<std::slice::ChunksExact<'s, f32>> {
    let output = step.outputs.get(name).filter(|output| !output.is_empty() && examples > 0);
    let output =
        output.ok_or_else(|| Error::new(ErrorKind::Mismatch, format!("the program has no output `{name}`")))?;
    Ok(output.chunks_exact((output.len() / examples).max(1)))
}

/// How many rows have their largest score (the first of equal ones) at the label.
fn count_correct<'r>(rows: impl Iterator<Item = &'r [f32]>, labels: &[u32]) -> u64 {
    let largest = |row: &[f32]| {
        let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
        (0..row.len()).fold(0, better)
    };
    rows.zip(labels).filter(|(row, label)| largest(row) == **label as usize).count() as u64
}

/// Sums over an epoch.
#[derive(Debug, Default)]
struct EpochSums {
    loss: f64,
    steps: u64,
    correct: u64,
    examples: u64,
    skipped: u64,
}

impl EpochSums {
    fn loss(&self) -> f64 {
        self.loss / self.steps as f64
    }

    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

struct Run<'a> {
    executor: &'a mut Executor,
    values: &'a mut Values,
    programs: Programs,
    settings: &'a Settings,
    scaler: LossScaler,
    steps: u64,
    step: u64,
    hopeless: u32,
    promotions: Vec<Promotion>,
    /// The step in which most of each tensor overflowed, by the number that the program counts it by.
    worst: BTreeMap<u32, metrics::Overflow>,
}

impl Run<'_> {
    fn epoch(
        &mut self,
        dataset: &Dataset,
        epoch: u64,
        promoted: &mut dyn FnMut(&[Overflow]) -> Result<Option<Promoted>>,
        observe: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<EpochSums> {
        let mut batches = TrainBatches::new(dataset, &self.settings.batches, epoch)?;
        let mut batch = Batch::default();
        let mut sums = EpochSums::default();
        while self.step < self.steps && batches.next_into(&mut batch) {
            let begin = Instant::now();
            let (step, mut record) = self.one(&batch, epoch)?;
            sums.steps += 1;
            sums.loss += record.loss;
            sums.examples += batch.labels.len() as u64;
            sums.correct += count_correct(rows(&step, "logits", batch.labels.len())?, &batch.labels);
            sums.skipped += u64::from(record.skipped);
            record.promoted = self.promote(&step, promoted)?;
            record.seconds = begin.elapsed().as_secs_f64();
            record.images_per_second = batch.labels.len() as f64 / record.seconds;
            observe(&Record::Step(record))?;
            self.step += 1;
        }
        Ok(sums)
    }

    /// One step, with its record but for what follows from it.
    fn one(&mut self, batch: &Batch, epoch: u64) -> Result<(Step, StepRecord)> {
        let (loss_scale, settings) = (self.scaler.scale(), self.settings);
        let learning_rate = settings.schedule.at(settings.learning_rate, self.step, self.steps);
        let step = self.executor.run(
            &self.programs.train,
            self.values,
            &Inputs {
                examples: &batch.images,
                labels: &batch.labels,
                loss_scale,
                learning_rate,
                betas: settings.betas,
            },
        )?;
        let output = |name: &str| step.outputs.get(name).and_then(|o| o.first()).copied().unwrap_or(f32::NAN);
        // A program that never skips a step does not say whether its gradients are finite.
        let applied = self.scaler.update(step.outputs.get("finite").is_none_or(|finite| finite == &[1.0]));
        if !step.outputs.contains_key("finite") && !output("loss").is_finite() {
            let message = format!(
                "the run diverged: at step {} the loss is not finite; use a lower learning rate, a higher precision or \
                 a loss scale",
                self.step
            );
            return Err(Error::new(ErrorKind::Diverged, message));
        }
        self.values.updates = self.values.updates.saturating_add(u32::from(applied));
        let smallest = settings.loss_scale == LossScaling::Dynamic && loss_scale <= SMALLEST_SCALE;
        self.hopeless = if !applied && smallest { self.hopeless + 1 } else { 0 };
        if self.hopeless == PATIENCE {
            let message = format!(
                "the run diverged: at step {} the gradients are not finite at the smallest loss scale; use a lower \
                 learning rate or a higher precision",
                self.step
            );
            return Err(Error::new(ErrorKind::Diverged, message));
        }
        let record = StepRecord {
            step: self.step,
            epoch,
            loss: f64::from(output("loss")),
            learning_rate,
            loss_scale,
            skipped: !applied,
            promoted: Vec::new(),
            seconds: 0.0,
            images_per_second: 0.0,
        };
        Ok((step, record))
    }

    /// Remembers what overflowed in a step, where it was more than in any before.
    fn remember(&mut self, step: &Step) {
        for count in step.overflows.iter().filter(|count| count.counts.overflow > 0) {
            let ratio = count.counts.overflow as f64 / count.elements.max(1) as f64;
            if self.worst.get(&count.tensor).is_none_or(|worst| worst.ratio < ratio) {
                let tensor = name(&self.programs.train, count.tensor);
                self.worst.insert(count.tensor, metrics::Overflow { tensor, ratio, step: self.step });
            }
        }
    }

    /// Promotes what overflowed in a step; returns what became of it.
    fn promote(
        &mut self,
        step: &Step,
        promoted: &mut dyn FnMut(&[Overflow]) -> Result<Option<Promoted>>,
    ) -> Result<Vec<Promotion>> {
        self.remember(step);
        let Some(threshold) = self.settings.promotion else { return Ok(Vec::new()) };
        let count = |o: &bitbudget_exec::OverflowCount| OverflowCount {
            tensor: o.tensor,
            overflowed: o.counts.overflow,
            elements: o.elements,
            low: true,
        };
        let counts: Vec<OverflowCount> = step.overflows.iter().map(count).collect();
        let over = promote(&counts, threshold);
        let ratio = |c: &OverflowCount| c.overflowed as f64 / c.elements as f64;
        let over = counts.iter().filter(|c| over.contains(&c.tensor));
        let mut over: Vec<Overflow> =
            over.map(|c| Overflow { tensor: c.tensor, ratio: ratio(c), step: self.step }).collect();
        over.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
        if over.is_empty() {
            return Ok(Vec::new());
        }
        let Some(Promoted { programs, tensors }) = promoted(&over)? else { return Ok(Vec::new()) };
        self.programs = programs;
        self.promotions.extend(tensors.iter().cloned());
        Ok(tensors)
    }
}

/// The name of a tensor that a program counts by a number, or that number.
fn name(program: &Program, tensor: u32) -> String {
    let parts = program.instructions.iter().filter_map(|instruction| match instruction {
        Instruction::Compute { parts, .. } => Some(parts),
        _ => None,
    });
    let counts = |part: &&bitbudget_program::Part| part.rounding.is_some_and(|r| r.counted == Some(tensor));
    let named = parts.flatten().find(counts).map(|part| program.buffer(part.output).name.clone());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("%{tensor}"))
}
