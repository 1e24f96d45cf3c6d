//! The page of a comparison, and what it says as plain data.

use crate::shell;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const STYLE: &str = include_str!("../assets/comparison.css");
const BODY: &str = include_str!("../assets/comparison.html");
const SCRIPT: &str = include_str!("../assets/comparison.js");

/// The question: everything that decides the results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    /// The version of this program.
    pub version: String,
    /// The network's name.
    pub network: String,
    /// The hash of the network with its values.
    pub network_hash: String,
    /// The training data, if assignments were trained.
    pub data: Option<String>,
    /// The hash of the examples.
    pub data_hash: Option<String>,
    /// Examples per step.
    pub batch: usize,
    /// Threads of every run.
    pub threads: usize,
    /// All other settings by name, as they were given or by default.
    pub settings: Vec<(String, String)>,
}

/// A number over several seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The standard deviation of a sample; 0 for one.
    pub deviation: f64,
}

/// A tensor that all cases give a format to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorName {
    /// The name.
    pub name: String,
    /// `parameter`, `output`, `output gradient` or `parameter gradient`.
    pub kind: String,
    /// The shape, with the batch as `N`.
    pub shape: String,
    /// The size in elements at the training batch.
    pub elements: u64,
}

/// A case with its trainings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summarised {
    /// The method's name.
    pub method: String,
    /// The budget as it was given, for methods that take one.
    pub budget: Option<String>,
    /// The budget in bytes.
    pub budget_bytes: Option<usize>,
    /// Whether there is an assignment that fits.
    pub fits: bool,
    /// Its peak in bytes; where nothing fits, the smallest peak that was found.
    pub peak: Option<usize>,
    /// Less than this is proved to be too little, in bytes, where nothing fits.
    pub proved: Option<usize>,
    /// The cost of formats and recomputation, as the integer program measures it.
    pub cost: Option<f64>,
    /// No assignment within the budget costs less.
    pub bound: Option<f64>,
    /// The share of low elements.
    pub low_ratio: Option<f64>,
    /// The mean over all elements.
    pub bits_per_element: Option<f64>,
    /// The nodes that the backward pass recomputes.
    pub recomputed: Vec<String>,
    /// Test accuracy over the seeds (training accuracy where there are no test examples).
    pub accuracy: Option<Spread>,
    /// Test loss over the seeds (training loss where there are no test examples), where nothing is classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Spread>,
    /// Trainings that diverged.
    pub diverged: usize,
    /// Whether no other case is as good or better in accuracy, or loss, (in cost, where nothing was trained) and peak.
    pub front: bool,
    /// The format of each of the comparison's tensors.
    pub formats: Vec<String>,
    /// The trainings by seed.
    pub trainings: Vec<TrainingRecord>,
}

/// Times, which differ from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Seconds that assigning took.
    pub assign_seconds: f64,
    /// Seconds of each training, by seed.
    pub training_seconds: Vec<f64>,
    /// The median of a step's seconds over all trainings.
    pub step_seconds: Option<f64>,
}

/// Examples that accuracies are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Examples {
    /// Test examples.
    Test,
    /// Those of the last epoch of training, where there are no test examples.
    Training,
}

/// All cases of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The question.
    pub question: Question,
    /// FP32's peak in bytes, if that is among the cases or a budget was a share of it.
    pub fp32_peak: Option<usize>,
    /// The examples that accuracies are of, if any training came to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_on: Option<Examples>,
    /// The bits of every format that occurs.
    pub format_bits: BTreeMap<String, u32>,
    /// The tensors, in execution order.
    pub tensors: Vec<TensorName>,
    /// The cases, in their order.
    pub cases: Vec<Summarised>,
    /// Seconds, case by case; left out where equal comparisons are to be equal texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Vec<Timing>>,
}

impl Comparison {
    /// The same without what the clock decides.
    pub fn without_timings(&self) -> Comparison {
        Comparison { timings: None, ..self.clone() }
    }
}

/// A training of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    #[serde(flatten)]
    pub trained: Trained,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Trained {
    /// After all steps.
    Finished {
        /// Share of the test examples that are classified correctly, where there are any.
        test_accuracy: Option<f64>,
        /// The same when nothing is rounded.
        test_accuracy_fp32: Option<f64>,
        /// Mean loss over the test examples; nothing where it is not finite.
        test_loss: Option<f64>,
        /// Share of the last epoch's training examples, where they are classified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        train_accuracy: Option<f64>,
        /// Mean loss of the last epoch; nothing where it is not finite.
        train_loss: Option<f64>,
        /// Steps.
        steps: u64,
        /// Steps whose update was skipped because a gradient was not finite.
        skipped: u64,
        /// Tensors that overflowed and got wider formats.
        promoted: usize,
        /// Tensors that overflowed and stayed as they were, since nothing wider fits the budget.
        not_promoted: usize,
        /// The peak of a step at the end, in bytes.
        peak: usize,
    },
    /// Before, or with a network that is not finite.
    Diverged {
        /// The message of the run.
        message: String,
    },
}

/// The page of a comparison, in one file.
///
/// # Errors
/// If the comparison cannot be written as JSON.
pub fn page(comparison: &Comparison) -> serde_json::Result<String> {
    let body = format!("<style>\n{STYLE}</style>\n{BODY}");
    shell(&format!("{}: memory budgets compared", comparison.question.network), comparison, &body, &[SCRIPT])
}
