//! The contents of a report, as plain data.

use serde::{Deserialize, Serialize};

/// A compiled training step, and what training it gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The network's name.
    pub network: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The memory of a training step.
    pub memory: Memory,
    /// The operators of the network, in the order of execution.
    pub nodes: Vec<Node>,
    /// All tensors of a training step that have a format of their own or take memory.
    pub tensors: Vec<Tensor>,
    /// The tensor groups, in order.
    pub groups: Vec<Group>,
    /// The training run, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// Everything needed to repeat it.
    pub rerun: Rerun,
}

/// The verdict: budget, memory, cost. Memory is in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// How formats were chosen.
    pub method: String,
    /// Examples per step.
    pub batch: usize,
    /// The memory that the run may take at its peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<usize>,
    /// The peak of a step in FP32, computed where there is a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp32: Option<usize>,
    /// The predicted peak of the run, evaluations included.
    pub predicted: usize,
    /// Allocated by the executor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<usize>,
    /// By how much the process grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident: Option<usize>,
    /// Elements of all assigned tensors.
    pub elements: u64,
    /// The low tensors' share of these.
    pub low_ratio: f64,
    /// The mean bits of an element.
    pub bits_per_element: f64,
    /// The names of the nodes that the backward pass recomputes.
    pub recomputed: Vec<String>,
    /// The solver's certificate, if an integer program was solved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solver: Option<Solver>,
    /// The paper's demotion on the same budget, if it was tried and fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demote: Option<Demoted>,
    /// Whether it was tried: it is where all its formats are allowed.
    pub demote_allowed: bool,
}

/// A solver's certificate of its solution. A cost of 100 is the harm of rounding every tensor most coarsely; a percent of a step's time
/// for recomputation is added as 1, or as the time weight says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Solver {
    /// The solver's name.
    pub name: String,
    /// The profile that costs were measured in; nothing where few elements rounded coarsely is what counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
    /// The cost of the assignment.
    pub cost: f64,
    /// No assignment on this budget costs less.
    pub bound: f64,
    /// The part of the cost that the bound leaves open.
    pub gap: f64,
    /// By how much the cost may fall per byte of budget, at the margin.
    pub price: f64,
    /// The share of a step's time that recomputation adds, as estimated.
    pub slowdown: f64,
    /// The computations of the steps at which the budget binds, those that count most first.
    pub binds: Vec<String>,
}

/// Demotion on a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Demoted {
    /// The share of low elements.
    pub low_ratio: f64,
    /// The peak in bytes.
    pub peak: usize,
    /// The cost in the solver's measure, if that knows the formats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// Uses of memory, in the order of [`Instruction::bytes`].
pub const USES: [&str; 6] = ["masters", "optimizer state", "parameters", "saved activations", "gradients", "workspace"];

/// The memory of a training step, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Its bytes: the tensors that are alive at the peak, and the gaps between them.
    pub total: usize,
    /// The memory at the peak that lies unused between tensors.
    pub gaps: usize,
    /// The instruction at which most is alive.
    pub peak: usize,
    /// The first instruction of the backward pass.
    pub backward: usize,
    /// The names of the uses.
    pub uses: Vec<&'static str>,
    /// The instructions that compute, in order.
    pub instructions: Vec<Instruction>,
}

/// An instruction of the step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instruction {
    /// Its computation, in words.
    pub computes: String,
    /// The live bytes while it runs, by use.
    pub bytes: [usize; 6],
}

/// An operator of the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// The operators whose results it reads, by position.
    pub inputs: Vec<usize>,
    /// Its tensor group.
    pub group: usize,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// Its name: that of the operator or parameter, for a gradient that of what it belongs to.
    pub name: String,
    /// Its kind: parameter, output or gradient.
    pub kind: &'static str,
    /// The operator that it belongs to, by position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// The tensor group that it counts in, if it is assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Its dimensions at the batch size.
    pub shape: Vec<usize>,
    /// The format that its numbers are rounded to.
    pub format: String,
    /// Bits of a number in that format.
    pub bits: u32,
    /// The most bytes that it takes at any instruction.
    pub bytes: usize,
    /// How it is stored.
    pub storage: Storage,
    /// The use of its memory, by position in [`Memory::uses`].
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<usize>,
    /// When it takes how much.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lives: Vec<Life>,
    /// The cost of rounding it most coarsely, if a profile measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f64>,
    /// The largest share of its elements that overflowed in a training step, if that was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<f64>,
    /// Why it is stored as it is, in sentences.
    pub why: String,
    /// The costs of the choices for it, the chosen one first and then the best, if an integer program had some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// In memory, while something reads it.
    Kept,
    /// In memory, but recomputed in the backward pass instead of kept until then.
    Recomputed,
    /// Nowhere: every instruction that reads it computes it.
    InPassing,
    /// Nowhere: it is another tensor under this name.
    Shared,
    /// Nowhere: nothing needs it.
    NotComputed,
}

/// From which instruction to which, both included, how many bytes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Life(pub usize, pub usize, pub usize);

/// The cost of a choice for a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The format.
    pub format: String,
    /// Whether the backward pass computes the tensor again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recomputed: bool,
    /// Whether a rectifier's gradient reads its input, which has another format than its output.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_input: bool,
    /// The harm of rounding and the time of computing again.
    pub cost: f64,
    /// The price of its memory when the search ended.
    pub memory: f64,
    /// Whether it was chosen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

/// A tensor group, as the paper counts it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Its operators by position.
    pub nodes: Vec<usize>,
    /// The size of its tensors in elements.
    pub elements: u64,
    /// `high`, `low`, or `mixed`.
    pub level: &'static str,
    /// When it was demoted, counted from 0, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demoted: Option<usize>,
}

/// A training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Training {
    /// The data, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Steps of the run.
    pub steps: u64,
    /// Steps whose update was skipped because a gradient was not finite.
    pub skipped: u64,
    /// Its duration.
    pub seconds: f64,
    /// Mean loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Accuracy of the last epoch on training examples, 0 to 1, where they are classified.
    pub train_accuracy: Option<f64>,
    /// Mean loss over the test images, where there are any.
    pub test_loss: Option<f64>,
    /// Accuracy on the test images, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// The same when nothing is rounded.
    pub test_accuracy_fp32: Option<f64>,
    /// Other metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// The share of low elements at the start.
    pub low_ratio: f64,
    /// The records of steps; nothing if no step was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// The epochs.
    pub epochs: Vec<Epoch>,
    /// The tensors that overflowed so much that they were to be promoted.
    pub promotions: Vec<Promotion>,
    /// The tensors whose overflows were counted.
    pub overflows: Vec<Overflow>,
    /// That most steps were skipped, in words, if they were and the run did not diverge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Where and why the run diverged, in words, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
}

/// A metric beside accuracy at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metric {
    /// Its name and the examples that it is of.
    pub name: String,
    /// Its value, as people read it.
    pub value: String,
    /// The value when nothing is rounded, if that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fp32: Option<String>,
}

/// A run by steps, thinned so that it has no more than some hundred points.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// Steps per point; the last one may have fewer.
    pub every: u64,
    /// The points in order.
    pub points: Vec<Point>,
}

/// Steps in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The first of them.
    pub step: u64,
    /// The mean of their losses; nothing if one was not finite.
    pub loss: Option<f64>,
    /// The loss scale of the last of them.
    pub loss_scale: f64,
    /// The number of skipped steps among them.
    pub skipped: u64,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// The steps at its end.
    pub steps: u64,
    /// Accuracy on its training examples, 0 to 1, where they are classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Accuracy on the test images, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
}

/// A tensor that overflowed, and got a wider format for the rest of the run or stays as it is, since nothing wider fits the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The step after which it did.
    pub step: u64,
    /// Its name.
    pub tensor: String,
    /// The share of its elements that overflowed.
    pub overflow: f64,
    /// Its format in that step.
    pub from: String,
    /// Its format from then on; the same if a wider one does not fit.
    pub to: String,
    /// The peak of a training step from then on, in bytes.
    pub peak: usize,
    /// The share of low elements from then on.
    pub low_ratio: f64,
}

impl Promotion {
    /// Whether the tensor got a wider format.
    pub fn is_promoted(&self) -> bool {
        self.from != self.to
    }
}

/// How much a parameter or an output overflowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overflow {
    /// Its name.
    pub tensor: String,
    /// The largest share of its elements that overflowed in a step.
    pub ratio: f64,
    /// That step.
    pub step: u64,
}

/// Everything needed to repeat a report or run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rerun {
    /// The command, as a shell reads it.
    pub command: String,
    /// The seed of everything that is random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The version that made this.
    pub version: String,
    /// Where it ran.
    pub platform: String,
    /// Threads that it ran with.
    pub threads: usize,
    /// The files that were read.
    pub files: Vec<File>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct File {
    /// Its role in the run: the model, data, a profile.
    pub role: &'static str,
    /// Its place, as it was given.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}
