//! The costs of choices.

use bitbudget_formats::Format;
use bitbudget_ir::TrainingId;
use bitbudget_precision::Tensor;

/// The costs of choices, in any units: they are brought to one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// Per tensor (in the order of [`bitbudget_precision::tensors`]) and allowed format, in their order: the harm of rounding, at least 0.
    pub rounding: Vec<Vec<f64>>,
    /// Seconds that each node of the training graph takes.
    pub seconds: Vec<f64>,
    /// Seconds of a whole step.
    pub step_seconds: f64,
    /// How much a percent of the step's time counts, where 100 is the harm of rounding everything most coarsely.
    pub time_weight: f64,
    /// The share of the step's time that recomputation may add.
    pub max_slowdown: Option<f64>,
}

/// The paper's preference without data: as few elements as possible are rounded, and as finely as possible.
///
/// A tensor's harm in a format of m mantissa bits is its elements times 4^-m, which grows as the second moment of the
/// relative rounding error does.
pub(crate) fn preference(tensors: &[Tensor], formats: &[Vec<Format>]) -> Vec<Vec<f64>> {
    let harm = |format: &Format| match *format {
        Format::FP32 => 0.0,
        format => 0.25f64.powi(format.mantissa_bits() as i32),
    };
    tensors
        .iter()
        .zip(formats)
        .map(|(t, formats)| formats.iter().map(|f| t.elements as f64 * harm(f)).collect())
        .collect()
}

impl Costs {
    /// The factor that makes the harm of the most harmful choice of every tensor 100.
    pub(crate) fn scale(&self) -> f64 {
        let worst: f64 = self.rounding.iter().map(|costs| costs.iter().copied().fold(0.0, f64::max)).sum();
        if worst > 0.0 { 100.0 / worst } else { 0.0 }
    }

    /// The cost of recomputing nodes, and its share of the step's time.
    pub fn again(&self, nodes: &[TrainingId]) -> (f64, f64) {
        let seconds = nodes.iter().filter_map(|id| self.seconds.get(id.index())).fold(0.0, |sum, s| sum + s);
        let share = if self.step_seconds > 0.0 { seconds / self.step_seconds } else { 0.0 };
        (100.0 * share * self.time_weight, share)
    }
}
