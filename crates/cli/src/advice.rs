//! What to do about a run that diverged: settings that are out of the ordinary, and wider formats.

use crate::output::number;
use crate::report::quoted;
use bitbudget::{Compiled, Saturated};
use bitbudget_autodiff::Optimizer;
use bitbudget_ir::Op;
use bitbudget_train::divergence::Divergence;
use bitbudget_train::run::Settings;
use std::path::Path;

/// Larger learning rates are out of the ordinary; those of AdamW are smaller.
const LEARNING_RATE: [f64; 2] = [1.0, 0.1];
/// As are larger weight decays of SGD, which adds them to gradients, and of AdamW.
const WEIGHT_DECAY: [f64; 2] = [0.1, 1.0];
/// Numbers of examples and initial parameters are mostly near 1.
const NUMBERS: f64 = 1e3;

/// By what the formats of a run are fixed.
#[derive(Clone, Copy)]
pub(crate) enum Formats<'a> {
    /// Options, perhaps within a budget, perhaps without promotion.
    Options { budget: bool, promotion: bool },
    /// An assignment file.
    Assignment(&'a Path),
    /// A trainer file.
    Trainer(&'a Path),
}

impl Formats<'_> {
    /// How to give a tensor, and others beside it, a format that holds its numbers.
    pub(crate) fn widen(self, saturated: &Saturated) -> String {
        let Saturated { name, format, wider, is_pinned, others, .. } = saturated;
        let whose = if others.is_empty() { format!("`{name}`") } else { format!("`{name}` and the others") };
        let more = if wider.exponent_bits() > format.exponent_bits() { "more exponent bits" } else { "a larger range" };
        let pin = format!("--pin {}", quoted(&format!("{name}={wider}")));
        let how = match self {
            Formats::Options { .. } if *is_pinned => format!("--pin with {wider} in place of {format}"),
            Formats::Options { budget, promotion } => {
                let budget = if budget { ", or a larger --budget" } else { "" };
                let promotion = if promotion { "" } else { ", or --promotion on" };
                let all =
                    if others.is_empty() { String::new() } else { format!(" and so on, or --low-forward {wider}") };
                format!("{pin}{all}{promotion}{budget}")
            }
            Formats::Assignment(path) => format!("{wider} in {}", path.display()),
            Formats::Trainer(path) => format!("compile the network of {} again with {pin}", path.display()),
        };
        format!("give {whose} a format with {more} ({how})")
    }
}

/// What is out of the ordinary in a run, and may be the cause of its end.
pub(crate) struct Extremes {
    /// What to do about each, the most extreme first.
    advice: Vec<String>,
    /// Whether one is a setting of updates.
    pub(crate) of_updates: bool,
    /// The update, as a formula.
    update: Option<String>,
    /// What to do where there are none.
    otherwise: String,
}

impl Extremes {
    pub(crate) fn is_empty(&self) -> bool {
        self.advice.is_empty()
    }

    pub(crate) fn advice(&self) -> String {
        match &self.update {
            _ if self.is_empty() => self.otherwise.clone(),
            Some(update) if self.of_updates => format!("{}: the update was {update}", self.advice.join(" and ")),
            _ => self.advice.join(" and "),
        }
    }
}

/// What is out of the ordinary in a run that diverged; settings of updates only where there was an update.
pub(crate) fn extremes(divergence: &Divergence, compiled: &Compiled, settings: &Settings) -> Extremes {
    let Divergence { record, batch, .. } = divergence;
    let is_updated = record.steps > record.skipped;
    let rate = f64::from(settings.learning_rate);
    let mut of_updates = Vec::new();
    if is_updated {
        let (kind, decay) = match compiled.optimizer() {
            Some(Optimizer::AdamW { weight_decay, .. }) => (1, weight_decay),
            Some(Optimizer::Sgd { weight_decay, .. }) => (0, weight_decay),
            None => (0, 0.0),
        };
        of_updates.push((rate / LEARNING_RATE[kind], format!("lower --lr (it was {})", number(rate))));
        of_updates.push((decay.abs() / WEIGHT_DECAY[kind], format!("lower --weight-decay (it was {})", number(decay))));
    }
    of_updates.retain(|(extent, _)| *extent > 1.0);
    let mut all = of_updates.clone();
    let largest = batch.numbers().map(|(_, numbers)| magnitude(numbers)).fold(0.0, f64::max);
    all.push((largest / NUMBERS, format!("scale the data down (the batch holds {})", number(largest))));
    if record.steps <= 1 {
        let parameters = compiled.training.ids().filter_map(|id| match compiled.training.op(id) {
            Op::Parameter(op) => Some((magnitude(compiled.values.get(&op.name)?), &op.name)),
            _ => None,
        });
        let largest = parameters.max_by(|a, b| a.0.total_cmp(&b.0));
        let advice = |name, largest| format!("scale the parameter `{name}` down (it holds {})", number(largest));
        all.extend(largest.map(|(largest, name)| (largest / NUMBERS, advice(name, largest))));
    }
    all.retain(|(extent, _)| *extent > 1.0);
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let otherwise = match () {
        () if !is_updated => {
            "no update was made before it, so --lr has no part in it: scale the data or the initial weights down"
        }
        () if rate == 0.0 => "scale the data down",
        () => &format!("lower --lr (it was {})", number(rate)),
    };
    Extremes {
        advice: all.into_iter().map(|(_, advice)| advice).collect(),
        of_updates: !of_updates.is_empty(),
        update: update(compiled, settings.learning_rate),
        otherwise: otherwise.to_string(),
    }
}

fn magnitude(numbers: &[f32]) -> f64 {
    f64::from(numbers.iter().fold(0.0f32, |largest, x| x.abs().max(largest)))
}

/// The update of a parameter `w`, as a formula with the numbers of a step.
pub(crate) fn update(compiled: &Compiled, learning_rate: f32) -> Option<String> {
    let rate = number(f64::from(learning_rate));
    Some(match compiled.optimizer()? {
        Optimizer::Sgd { momentum, weight_decay } => {
            format!("w - {rate} v with v = {} v + gradient + {} w", number(momentum), number(weight_decay))
        }
        Optimizer::AdamW { epsilon, weight_decay, .. } => format!(
            "w - {rate} (m / (sqrt(v) + {}) + {} w) with the moments m and v of the gradient",
            number(epsilon),
            number(weight_decay)
        ),
    })
}
