//! The training loop and the evaluation over compiled programs.

use std::collections::BTreeMap;
use std::time::Instant;

use bitbudget_exec::{Executor, Inputs, Loaded, Step, Values};
use bitbudget_program::{Instruction, Program, Progress};

use crate::batches::Batch;
use crate::divergence::{Divergence, Ended, NotFinite, Stop};
use crate::evaluation::{Evaluation, Scores, batch_with, evaluate, rows};
use crate::examples::Examples;
use crate::learning_rate::LearningRate;
use crate::loss_scale::{LossScaler, LossScaling, SMALLEST_SCALE};
use crate::metrics::{self, EpochRecord, FinalRecord, Promotion, Record, StepRecord};
use crate::promotion::{OVERFLOW_THRESHOLD, OverflowCount, promote};
use crate::{Error, ErrorKind, Result};

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A number of epochs.
    Epochs(u64),
    /// A number of steps.
    Steps(u64),
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long.
    pub length: Length,
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
    /// The seed of the random numbers of dropout.
    pub seed: u64,
}

impl Default for Settings {
    /// Five epochs with a cosine schedule from 0.1 on, dynamic loss scale, and the paper's promotion.
    fn default() -> Settings {
        Settings {
            length: Length::Epochs(5),
            learning_rate: 0.1,
            schedule: LearningRate::Cosine,
            loss_scale: LossScaling::Dynamic,
            promotion: Some(OVERFLOW_THRESHOLD),
            betas: [0.9, 0.999],
            seed: 0,
        }
    }
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

/// The promotions of tensors that overflowed.
#[derive(Debug, Clone)]
pub struct Promoted {
    /// The programs to go on with.
    pub programs: Programs,
    /// The tensors that could be promoted.
    pub tensors: Vec<Promotion>,
}

/// Steps in a row that may be skipped at a loss scale that falls no further before the run is given up.
const PATIENCE: u32 = 100;

/// A run of which this share of the steps was skipped has trained nothing.
const SKIPPED_SHARE: f64 = 0.9;

/// The trainer, the data, and the settings of a run.
pub struct Training<'a> {
    /// The programs to begin with.
    pub programs: Programs,
    /// The evaluation without rounding, for the final record.
    pub fp32: &'a Program,
    /// The examples: [`Epochs`](crate::examples::Epochs) over a data set, or a program's own.
    pub examples: &'a dyn Examples,
    /// How to train.
    pub settings: &'a Settings,
}

/// Gets the tensors whose overflow ratio reached the threshold, the worst first, and gives the programs to go on with, or
/// nothing if none of them could be promoted.
pub type Promote<'a> = &'a mut dyn FnMut(&[Overflow]) -> Result<Option<Promoted>>;

/// Called after each step and epoch.
pub type Observe<'a> = &'a mut dyn FnMut(&Record) -> Result<()>;

/// Trains: changes `values`, calls `observe` after each step and epoch, and returns how the run ended.
///
/// The run diverges, and ends, at the first step whose loss is not finite or which leaves a parameter or a state that is
/// not; when gradients are not finite in so many steps that nothing is trained; and when scores of test examples, or without
/// any those of a batch of training examples, are not finite at its end.
///
/// # Errors
/// If the data do not fit, the device fails, or the network is not finite before the first step.
pub fn train(
    executor: &mut Executor,
    values: &mut Values,
    training: Training<'_>,
    promoted: Promote<'_>,
    observe: Observe<'_>,
) -> Result<Ended> {
    let Training { programs, fp32, examples, settings } = training;
    if let Some(name) = executor.first_not_finite(&programs.train, values)? {
        let message =
            format!("`{name}` of the network holds numbers that are not finite; take one that did not diverge");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let per_epoch = examples.steps()?;
    if per_epoch == 0 {
        return Err(Error::new(ErrorKind::Mismatch, "an epoch of the examples has no batch"));
    }
    let steps = match settings.length {
        Length::Epochs(epochs) => epochs.saturating_mul(per_epoch),
        Length::Steps(steps) => steps,
    };
    let scaler = LossScaler::new(settings.loss_scale, per_epoch).resumed(values.progress.loss_scale);
    let (train, evaluate) = (executor.load(&programs.train)?, executor.load(&programs.evaluate)?);
    let mut run = Run {
        executor,
        values,
        train,
        evaluate,
        examples,
        settings,
        scaler,
        start: Instant::now(),
        steps,
        step: 0,
        hopeless: 0,
        skipped: 0,
        last_skipped: None,
        last: EpochSums::default(),
        test: None,
        exact: None,
        promotions: Vec::new(),
        worst: BTreeMap::new(),
    };
    match run.epochs(promoted, observe).and_then(|()| run.check_end(fp32)) {
        Ok(()) => Ok(Ended::Finished(Box::new(run.record()))),
        Err(Stop::Diverged(divergence)) => Ok(Ended::Diverged(divergence)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Sums over an epoch.
#[derive(Debug, Default)]
struct EpochSums {
    loss: f64,
    steps: u64,
    scores: Scores,
    examples: u64,
    skipped: u64,
}

impl EpochSums {
    fn loss(&self) -> f64 {
        self.loss / self.steps as f64
    }

    fn accuracy(&self) -> f64 {
        self.scores.correct as f64 / self.examples as f64
    }
}

struct Run<'a> {
    executor: &'a mut Executor,
    values: &'a mut Values,
    train: Loaded,
    evaluate: Loaded,
    examples: &'a dyn Examples,
    settings: &'a Settings,
    scaler: LossScaler,
    start: Instant,
    steps: u64,
    step: u64,
    /// Steps in a row that were skipped at a loss scale that falls no further.
    hopeless: u32,
    skipped: u64,
    /// The step that was skipped last, with its batch.
    last_skipped: Option<(StepRecord, Batch)>,
    /// The last epoch, as far as it came.
    last: EpochSums,
    /// The evaluation of test examples after the last epoch.
    test: Option<Evaluation>,
    /// The same without rounding.
    exact: Option<Evaluation>,
    promotions: Vec<Promotion>,
    /// The step in which most of each tensor overflowed, by the number that the program counts it by.
    worst: BTreeMap<u32, metrics::Overflow>,
}

impl Run<'_> {
    fn epochs(&mut self, promoted: Promote<'_>, observe: Observe<'_>) -> std::result::Result<(), Stop> {
        let mut epoch = 0;
        while self.step < self.steps {
            let begin = Instant::now();
            (self.last, self.test) = (EpochSums::default(), None);
            self.epoch(epoch, &mut *promoted, &mut *observe)?;
            let training = begin.elapsed().as_secs_f64();
            if let Some(mut test) = self.examples.test(self.evaluate.program().batch)? {
                self.test = Some(evaluate(self.executor, self.values, &self.evaluate, &mut *test)?);
            }
            observe(&Record::Epoch(EpochRecord {
                epoch,
                steps: self.step,
                train_loss: self.last.loss(),
                train_accuracy: self.last.accuracy(),
                test_loss: self.test.map(|t| t.loss),
                test_accuracy: self.test.map(|t| t.accuracy),
                skipped: self.last.skipped,
                seconds: begin.elapsed().as_secs_f64(),
                images_per_second: self.last.examples as f64 / training,
            }))?;
            epoch += 1;
        }
        Ok(())
    }

    fn epoch(&mut self, epoch: u64, promoted: Promote<'_>, observe: Observe<'_>) -> std::result::Result<(), Stop> {
        let mut batches = self.examples.epoch(epoch)?;
        let (mut batch, before) = (Batch::default(), self.step);
        while self.step < self.steps && batches.next_into(&mut batch)? {
            let begin = Instant::now();
            let (step, mut record) = self.one(&batch, epoch)?;
            let classes = batch.classes()?;
            self.last.steps += 1;
            self.last.loss += record.loss;
            self.last.examples += batch.valid as u64;
            self.last.skipped += u64::from(record.skipped);
            let found = self.not_finite(&record)?;
            if found != Some(NotFinite::Loss) {
                self.last.scores.add(rows(&step, "logits", classes.len())?, classes);
                record.promoted = self.promote(&step, &mut *promoted)?;
            }
            record.seconds = begin.elapsed().as_secs_f64();
            record.images_per_second = batch.valid as f64 / record.seconds;
            observe(&Record::Step(record.clone()))?;
            self.step += 1;
            if let Some(found) = found {
                return Err(self.diverged(found, &record, batch));
            }
            if record.skipped {
                self.last_skipped = Some((record, batch.clone()));
            }
        }
        match self.step == before {
            true => Err(Error::new(ErrorKind::Mismatch, format!("epoch {epoch} of the examples has no batch")).into()),
            false => Ok(()),
        }
    }

    /// The result of the run so far.
    fn record(&self) -> FinalRecord {
        FinalRecord {
            network: None,
            train_loss: self.last.loss(),
            train_accuracy: self.last.accuracy(),
            test_loss: self.test.map(|t| t.loss),
            test_accuracy: self.test.map(|t| t.accuracy),
            test_accuracy_fp32: self.exact.map(|t| t.accuracy),
            seconds: self.start.elapsed().as_secs_f64(),
            steps: self.step,
            skipped: self.skipped,
            skipped_share: self.skipped as f64 / self.step.max(1) as f64,
            promotions: self.promotions.clone(),
            overflows: self.worst.values().cloned().collect(),
            diverged: false,
            divergence: None,
        }
    }

    /// One step, with its record but for what follows from it.
    fn one(&mut self, batch: &Batch, epoch: u64) -> Result<(Step, StepRecord)> {
        let (loss_scale, settings) = (self.scaler.scale(), self.settings);
        let learning_rate = settings.schedule.at(settings.learning_rate, self.step, self.steps);
        let inputs = Inputs { loss_scale, learning_rate, betas: settings.betas, seed: settings.seed, ..batch.inputs() };
        let step = self.train.step_while_finite(self.executor, self.values, &inputs, "loss")?;
        let (loss, finite) = loss_of(&step);
        let applied = self.scaler.update(finite);
        let updates = self.values.progress.updates.saturating_add(u32::from(applied));
        self.values.progress = Progress { updates, loss_scale: self.scaler.dynamic() };
        self.skipped += u64::from(!applied);
        let falls = settings.loss_scale == LossScaling::Dynamic && loss_scale > SMALLEST_SCALE;
        self.hopeless = if applied || falls { 0 } else { self.hopeless + 1 };
        let record = StepRecord {
            step: self.step,
            epoch,
            loss: f64::from(loss),
            learning_rate,
            loss_scale,
            skipped: !applied,
            promoted: Vec::new(),
            seconds: 0.0,
            images_per_second: 0.0,
        };
        Ok((step, record))
    }

    /// The reason why a step is the last one, if there is one.
    fn not_finite(&self, record: &StepRecord) -> Result<Option<NotFinite>> {
        if !record.loss.is_finite() {
            return Ok(Some(NotFinite::Loss));
        }
        if self.hopeless == PATIENCE {
            return Ok(Some(NotFinite::Gradients));
        }
        let kept = self.executor.first_not_finite(self.train.program(), self.values)?;
        Ok(kept.map(|name| NotFinite::Kept(name.to_string())))
    }

    fn diverged(&self, found: NotFinite, record: &StepRecord, batch: Batch) -> Stop {
        let &StepRecord { step, loss_scale, learning_rate, .. } = record;
        let record = FinalRecord { diverged: true, ..self.record() };
        Stop::Diverged(Box::new(Divergence { found, step, batch, loss_scale, learning_rate, record }))
    }

    /// Stops the run if nearly all its steps were skipped, or the network that it came to has scores that are not finite:
    /// for test examples or, without any, for a batch of training examples; with or without rounding.
    fn check_end(&mut self, fp32: &Program) -> std::result::Result<(), Stop> {
        let nearly_all = self.skipped as f64 >= SKIPPED_SHARE * self.step as f64;
        if let Some((record, batch)) = self.last_skipped.take().filter(|_| nearly_all) {
            return Err(self.diverged(NotFinite::Gradients, &record, batch));
        }
        let examples = self.examples;
        let batches = |size| match examples.test(size)? {
            Some(batches) => Ok::<_, Error>((batches, true)),
            None => Ok((examples.sample(size)?, false)),
        };
        let rounded = match self.test {
            Some(evaluation) => evaluation,
            None => {
                let mut batches = batches(self.evaluate.program().batch)?.0;
                evaluate(self.executor, self.values, &self.evaluate, &mut *batches)?
            }
        };
        let (mut of_fp32, test) = batches(fp32.batch)?;
        let loaded = self.executor.load(fp32)?;
        let exact = evaluate(self.executor, self.values, &loaded, &mut *of_fp32)?;
        self.exact = Some(exact).filter(|_| test);
        for (fp32, size, evaluation) in [(false, self.evaluate.program().batch, rounded), (true, fp32.batch, exact)] {
            let Some(example) = evaluation.first_not_finite else { continue };
            let batch = batch_with(&mut *batches(size)?.0, example)?;
            let step = self.step.saturating_sub(1);
            let record = FinalRecord { diverged: true, ..self.record() };
            let learning_rate = self.settings.schedule.at(self.settings.learning_rate, step, self.steps);
            let (found, loss_scale) = (NotFinite::Scores { fp32, test, evaluation }, self.scaler.scale());
            let divergence = Divergence { found, step, batch, loss_scale, learning_rate, record };
            return Err(Stop::Diverged(Box::new(divergence)));
        }
        Ok(())
    }

    /// Remembers what overflowed in a step, where it was more than in any before.
    fn remember(&mut self, step: &Step) {
        for count in step.overflows.iter().filter(|count| count.counts.overflow > 0) {
            let ratio = count.counts.overflow as f64 / count.elements.max(1) as f64;
            if self.worst.get(&count.tensor).is_none_or(|worst| worst.ratio < ratio) {
                let tensor = name(self.train.program(), count.tensor);
                self.worst.insert(count.tensor, metrics::Overflow { tensor, ratio, step: self.step });
            }
        }
    }

    /// Promotes what overflowed in a step; returns what became of it.
    fn promote(&mut self, step: &Step, promoted: Promote<'_>) -> Result<Vec<Promotion>> {
        self.remember(step);
        let Some(threshold) = self.settings.promotion else { return Ok(Vec::new()) };
        let over = overflowed(step, threshold, self.step);
        if over.is_empty() {
            return Ok(Vec::new());
        }
        let Some(Promoted { programs, tensors }) = promoted(&over)? else { return Ok(Vec::new()) };
        (self.train, self.evaluate) = (self.executor.load(&programs.train)?, self.executor.load(&programs.evaluate)?);
        self.promotions.extend(tensors.iter().cloned());
        Ok(tensors)
    }
}

/// The loss of a training step, and whether it was finite, and the gradients with it, so that parameters were updated.
pub fn loss_of(step: &Step) -> (f32, bool) {
    let loss = step.outputs.get("loss").and_then(|loss| loss.first()).copied().unwrap_or(f32::NAN);
    // A program that never skips a step does not say whether its gradients are finite.
    let finite = loss.is_finite() && step.outputs.get("finite").is_none_or(|finite| finite == &[1.0]);
    (loss, finite)
}

/// The tensors of a step whose overflow ratio is at least `threshold`, the worst first.
pub fn overflowed(step: &Step, threshold: f64, number: u64) -> Vec<Overflow> {
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
    let mut over: Vec<Overflow> = over.map(|c| Overflow { tensor: c.tensor, ratio: ratio(c), step: number }).collect();
    over.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    over
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
