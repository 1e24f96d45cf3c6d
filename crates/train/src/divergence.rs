//! How a run ends: with a final record, or because numbers were not finite.

use crate::Error;
use crate::batches::Batch;
use crate::evaluation::Evaluation;
use crate::metrics::{FinalRecord, Record};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// After all its steps.
    Finished(Box<FinalRecord>),
    /// Before, or with a network that is not finite.
    Diverged(Box<Divergence>),
}

/// Where a run diverged, with what is needed to look at the step again.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergence {
    /// The numbers that were not finite.
    pub found: NotFinite,
    /// The step, counted from 0. After a step whose loss was not finite parameters are as they were before it.
    pub step: u64,
    /// The batch of the step; for scores that are not finite, the first evaluated batch with such scores.
    pub batch: Batch,
    /// The loss scale of the step.
    pub loss_scale: f32,
    /// The learning rate of the step.
    pub learning_rate: f32,
    /// The record of the run up to there.
    pub record: FinalRecord,
}

/// The numbers that were not finite.
#[derive(Debug, Clone, PartialEq)]
pub enum NotFinite {
    /// The loss of the step.
    Loss,
    /// Gradients, again and again, while the loss was finite.
    Gradients,
    /// A parameter or a state, by its name, after the step.
    Kept(String),
    /// Scores of examples that were evaluated after the last step.
    Scores {
        /// Whether the evaluation was the one without rounding.
        fp32: bool,
        /// Whether they are test examples; without any, a batch of training examples is evaluated.
        test: bool,
        /// The evaluation.
        evaluation: Evaluation,
    },
}

/// A loss that is so many times the first one, or 1 where that is smaller, has grown far.
const FAR: f64 = 10.0;

/// The first and the last finite loss of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses(Option<Growth>);

/// How the loss of a run that came to its end grew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// The loss of the first step.
    pub first: f64,
    /// The loss of the last step.
    pub last: f64,
}

impl Losses {
    /// Takes note of a step.
    pub fn see(&mut self, record: &Record) {
        let Record::Step(step) = record else { return };
        if step.loss.is_finite() {
            let first = self.0.map_or(step.loss, |losses| losses.first);
            self.0 = Some(Growth { first, last: step.loss });
        }
    }

    /// From which loss to which the run went, if the last is far above the first, as where weights grow without bound.
    pub fn growth(&self) -> Option<Growth> {
        self.0.filter(|losses| losses.last > FAR * losses.first.max(1.0))
    }
}

/// Why a run stops before its end.
pub(crate) enum Stop {
    Failed(Error),
    Diverged(Box<Divergence>),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}
