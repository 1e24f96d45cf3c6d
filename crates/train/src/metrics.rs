//! The records of a run, as JSON lines.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, ErrorKind, Result};

pub use bitbudget_report::{Overflow, Promotion};

/// One line of a metrics file; its field `record` tells which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// After a step.
    Step(StepRecord),
    /// After an epoch.
    Epoch(Box<EpochRecord>),
    /// After the run.
    Final(Box<FinalRecord>),
}

/// A training step. A loss that is not finite is `null` in JSON and NaN when read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps before this one.
    pub step: u64,
    /// Epochs before the current one.
    pub epoch: u64,
    /// Mean loss of the batch, unscaled.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f32,
    /// The factor of the loss.
    pub loss_scale: f32,
    /// Whether the update was skipped because a gradient was not finite.
    pub skipped: bool,
    /// The tensors that overflowed after the step and could be promoted.
    pub promoted: Vec<Promotion>,
    /// Duration of the step.
    pub seconds: f64,
    /// Training images per second in the step.
    pub images_per_second: f64,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs before this one.
    pub epoch: u64,
    /// Steps so far.
    pub steps: u64,
    /// Mean of the training losses of the epoch's steps.
    #[serde(deserialize_with = "null_is_nan")]
    pub train_loss: f64,
    /// Part of the epoch's training examples (or their tokens, or pixels) that were classified correctly, 0 to 1, where they are classified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// The epoch's other metrics on training examples.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub train_metrics: Metrics,
    /// Mean loss over the test examples, where there are any.
    pub test_loss: Option<f64>,
    /// Part of the test examples that are classified correctly, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Other metrics on the test examples.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test_metrics: Metrics,
    /// Steps of the epoch whose update was skipped.
    pub skipped: u64,
    /// Duration of the epoch, evaluation included.
    pub seconds: f64,
    /// Training images per second, evaluation not included.
    pub images_per_second: f64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinalRecord {
    /// The fingerprint of the network, if the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Mean loss of the last epoch.
    #[serde(deserialize_with = "null_is_nan")]
    pub train_loss: f64,
    /// Accuracy of the last epoch on training examples, 0 to 1, where they are classified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Other metrics of the last epoch on training examples.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub train_metrics: Metrics,
    /// Mean loss over the test examples, where there are any and the run came to its end.
    pub test_loss: Option<f64>,
    /// Accuracy on the test examples, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Other metrics on the test examples.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test_metrics: Metrics,
    /// Accuracy on the test examples when nothing is rounded to a low format.
    pub test_accuracy_fp32: Option<f64>,
    /// Other metrics on the test examples when nothing is rounded to a low format.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test_metrics_fp32: Metrics,
    /// Duration of the run.
    pub seconds: f64,
    /// Steps of the run.
    pub steps: u64,
    /// Steps whose update was skipped because a gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
    /// Their share of all steps, 0 to 1.
    #[serde(default)]
    pub skipped_share: f64,
    /// Promotions in the order in which they happened.
    pub promotions: Vec<Promotion>,
    /// The parameters and outputs that overflowed at all, in the order of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overflows: Vec<Overflow>,
    /// Whether the run diverged, so that no network was saved.
    #[serde(default)]
    pub diverged: bool,
    /// Where it diverged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Diverged>,
}

/// What tells how good a network is, beside its loss: over all labels that count, and only what has a meaning for the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Part of the labels, or truth values, that are found, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Part of the labels that are among the five largest scores, 0 to 1, where there are more classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5_accuracy: Option<f64>,
    /// The exponential of the mean cross-entropy of tokens, without weights and smoothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Intersection over union of labelled and found pixels, 0 to 1: the mean over the classes that occur.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
    /// The mean absolute difference of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// The root of the mean squared difference of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
}

impl Metrics {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Metrics::default()
    }

    /// The metrics beside accuracy, which records hold apart.
    pub fn others(self) -> Metrics {
        Metrics { accuracy: None, ..self }
    }

    /// Those that there are, by name, in a fixed order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let Metrics { accuracy, top5_accuracy, perplexity, mean_iou, mae, rmse } = *self;
        let all = [
            ("accuracy", accuracy),
            ("top5_accuracy", top5_accuracy),
            ("perplexity", perplexity),
            ("mean_iou", mean_iou),
            ("mae", mae),
            ("rmse", rmse),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// A run of which this share of the steps or more was skipped has hardly trained.
const MANY_SKIPPED: f64 = 0.5;

/// Whether half of the steps or more were skipped, so that a run has hardly trained.
pub fn has_hardly_trained(skipped: u64, steps: u64) -> bool {
    skipped > 0 && skipped as f64 >= MANY_SKIPPED * steps as f64
}

/// Where a run diverged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diverged {
    /// The step, counted from 0.
    pub step: u64,
    /// The first tensor that was not finite, or the one that overflowed its format and so made others not finite; nothing
    /// where none can be told.
    pub tensor: Option<String>,
    /// The event and the advice, in words.
    pub message: String,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Record {
    /// The record as a line of JSON, line end included.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written as JSON.
    pub fn line(&self) -> Result<String> {
        let line = serde_json::to_string(self);
        line.map(|line| line + "\n").map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promotion() -> Promotion {
        let (from, to) = ("1-4-3".into(), "1-6-9".into());
        Promotion { step: 3, tensor: "conv1.weight".into(), overflow: 0.25, from, to, peak: 4096, low_ratio: 0.5 }
    }

    fn step(loss: f64) -> Record {
        Record::Step(StepRecord {
            step: 3,
            epoch: 1,
            loss,
            learning_rate: 0.1,
            loss_scale: 65536.0,
            skipped: false,
            promoted: vec![promotion()],
            seconds: 0.25,
            images_per_second: 512.0,
        })
    }

    #[test]
    fn each_record_is_a_line_that_reads_back() {
        let end = Record::Final(Box::new(FinalRecord {
            train_loss: 0.5,
            train_accuracy: Some(0.75),
            train_metrics: Metrics { perplexity: Some(3.5), ..Metrics::default() },
            test_loss: None,
            test_accuracy: Some(0.5),
            test_metrics: Metrics::default(),
            test_accuracy_fp32: None,
            test_metrics_fp32: Metrics::default(),
            seconds: 1.0,
            steps: 4,
            skipped: 1,
            skipped_share: 0.25,
            promotions: vec![promotion()],
            overflows: vec![Overflow { tensor: "conv1.weight".into(), ratio: 0.25, step: 3 }],
            diverged: true,
            divergence: Some(Diverged { step: 3, tensor: Some("conv1".into()), message: "no".into() }),
            network: Some("0123456789abcdef".into()),
        }));
        for record in [step(0.5), end] {
            let line = record.line().unwrap();
            assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        let line = serde_json::to_string(&step(f64::INFINITY)).unwrap();
        assert!(line.starts_with(r#"{"record":"step","step":3,"epoch":1,"loss":null,"#), "{line}");
        let Record::Step(read) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert!(read.loss.is_nan());
    }
}
