//! Advice for a run that diverged: unusual settings, and wider formats.

use crate::output::{grouped, number};
use crate::report::quoted;
use bitbudget::{Compiled, Decided, Method, Optimizer, SEVERAL, Saturated, parameters};
use bitbudget_train::batches::Batch;
use bitbudget_train::divergence::{Divergence, NotFinite};
use bitbudget_train::metrics::FinalRecord;
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
    /// Options of a command, with a method, perhaps within a budget, perhaps without promotion.
    Options { command: Command, method: Method, budget: bool, promotion: bool },
    /// An assignment file.
    Assignment(&'a Path),
    /// A trainer file.
    Trainer(&'a Path),
}

/// How a run was set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) formats: Formats<'a>,
}

/// A command with a training; each has options of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Train,
    Compare,
}

impl Formats<'_> {
    /// How to give a tensor, and others beside it, a format that holds its numbers.
    pub(crate) fn widen(self, saturated: &Saturated) -> String {
        let Saturated { name, format, wider, others, .. } = saturated;
        let named: Vec<&str> = [name].into_iter().chain(others).take(SEVERAL).map(String::as_str).collect();
        let rest = 1 + others.len() - named.len();
        let more = if wider.exponent_bits() > format.exponent_bits() { "more exponent bits" } else { "a larger range" };
        let pins = named.iter().map(|name| format!("--pin {}", quoted(&format!("{name}={wider}"))));
        let pins = pins.collect::<Vec<_>>().join(" ") + if rest > 0 { " and so on" } else { "" };
        let how = match self {
            Formats::Options { command, method, budget, promotion } => {
                options(saturated, pins, command, method, budget, promotion).join(", or ")
            }
            Formats::Assignment(path) => format!("{wider} in {}", path.display()),
            Formats::Trainer(path) => format!("compile the network of {} again with {pins}", path.display()),
        };
        format!("give {} a format with {more} ({how})", list(&named, rest))
    }

    /// How to give a tensor of a name a format with more exponent bits.
    pub(crate) fn widen_named(self, name: &str) -> String {
        let how = match self {
            Formats::Options { .. } => format!("--pin {}", quoted(&format!("{name}=FORMAT"))),
            Formats::Assignment(path) => format!("in {}", path.display()),
            Formats::Trainer(path) => format!("compile the network of {} again with --pin", path.display()),
        };
        format!("give it one with more exponent bits ({how})")
    }

    /// How to give a gradient a format with more exponent bits.
    pub(crate) fn widen_gradient(self) -> String {
        let how = match self {
            Formats::Options { .. } => "--pin".to_string(),
            Formats::Assignment(path) => format!("`backward` in {}", path.display()),
            Formats::Trainer(path) => format!("compile the network of {} again with --pin", path.display()),
        };
        format!("give the gradient a format with more exponent bits ({how})")
    }

    /// The advice to lower an option that a trainer file fixes.
    fn lower_fixed(self, option: &str) -> String {
        match self {
            Formats::Trainer(path) => format!("compile the network of {} again with a lower {option}", path.display()),
            Formats::Options { .. } | Formats::Assignment(_) => format!("lower {option}"),
        }
    }
}

/// The options that widen a tensor's format: those of the command that have an effect with the method.
fn options(
    saturated: &Saturated,
    pins: String,
    command: Command,
    method: Method,
    budget: bool,
    promotion: bool,
) -> Vec<String> {
    let Saturated { format, wider, decided, .. } = saturated;
    let mut options = vec![match decided {
        Decided::Pin => format!("--pin with {wider} in place of {format}"),
        Decided::High | Decided::Low | Decided::Search => pins,
    }];
    match (decided, command) {
        (Decided::High, Command::Train) => options.push(format!("--high {wider}")),
        (Decided::Low, Command::Train) => options.push(format!("--low-forward {wider}")),
        (Decided::Search, _) => options.push(format!("--formats without {format}")),
        _ => {}
    }
    let is_promotable = matches!(decided, Decided::Low | Decided::Search);
    if is_promotable && !promotion {
        options.push("--promotion on".to_string());
    }
    let depends = matches!(method, Method::Ilp | Method::Demote | Method::DemoteSmallest | Method::Random);
    if budget && is_promotable && depends {
        options.push(match command {
            Command::Train => "a larger --budget".to_string(),
            Command::Compare => "larger --budgets".to_string(),
        });
    }
    options
}

/// Names of tensors, and how many more there are.
pub(crate) fn list(names: &[&str], more: usize) -> String {
    let mut items: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    items.extend((more > 0).then(|| format!("{} more", grouped(more as u64))));
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// A number out of the ordinary in what a run was given.
#[derive(Clone)]
pub(crate) struct Extreme {
    /// How much it is out of the ordinary.
    extent: f64,
    /// The holder of each number.
    pub(crate) what: String,
    /// Advice.
    pub(crate) advice: String,
}

/// The numbers out of the ordinary in batches of a split, `training` or `test`, and among parameters before the first step; the most
/// extreme first.
pub(crate) fn of_inputs<'b, 'v>(
    batches: impl IntoIterator<Item = &'b Batch>,
    split: &str,
    parameters: impl Iterator<Item = (&'v str, &'v [f32])>,
) -> Vec<Extreme> {
    let mut found = Vec::new();
    let largest = |batch: &'b Batch| batch.most(|a, b| a.abs().total_cmp(&b.abs()));
    let largest = batches.into_iter().filter_map(largest).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    if let Some((x, example)) = largest {
        let example = example.map_or(String::new(), |example| format!(" {example}"));
        let what = format!("{split} example{example} holds {}", number(f64::from(x)));
        found.push(Extreme { extent: f64::from(x.abs()) / NUMBERS, what, advice: "scale the data down".to_string() });
    }
    let largest = parameters.map(|(name, values)| (name, magnitude(values))).max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((name, largest)) = largest {
        let what = format!("the parameter `{name}` holds {} before the first step", number(largest));
        found.push(Extreme { extent: largest / NUMBERS, what, advice: format!("scale `{name}` down") });
    }
    found.retain(|extreme| extreme.extent > 1.0);
    found.sort_by(|a, b| b.extent.total_cmp(&a.extent));
    found
}

/// Unusual settings and data of a run, which may be the cause of its end.
pub(crate) struct Extremes {
    /// Unusual numbers in the data and the parameters.
    pub(crate) inputs: Vec<String>,
    /// Advice for each, the most extreme first.
    advice: Vec<String>,
    /// Whether one is a setting of updates.
    pub(crate) of_updates: bool,
    /// The update, as a formula.
    update: Option<String>,
    /// Advice where there are none.
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

/// Unusual settings and data of a run that diverged.
pub(crate) fn extremes(divergence: &Divergence, compiled: &Compiled, setup: Setup<'_>) -> Extremes {
    let Divergence { record, batch, found, .. } = divergence;
    let split = if matches!(found, NotFinite::Scores { test: true, .. }) { "test" } else { "training" };
    extremes_with([batch], split, record, compiled, setup)
}

/// Unusual settings and data of a run with batches of a split; settings of updates only where there was an update.
pub(crate) fn extremes_with<'b>(
    batches: impl IntoIterator<Item = &'b Batch>,
    split: &str,
    record: &FinalRecord,
    compiled: &Compiled,
    setup: Setup<'_>,
) -> Extremes {
    let is_updated = record.steps > record.skipped;
    let rate = f64::from(setup.settings.learning_rate);
    let mut of_updates = Vec::new();
    if is_updated {
        let (kind, decay) = match compiled.optimizer() {
            Some(Optimizer::AdamW { weight_decay, .. }) => (1, weight_decay),
            Some(Optimizer::Sgd { weight_decay, .. }) => (0, weight_decay),
            None => (0, 0.0),
        };
        let decayed = format!("{} (it was {})", setup.formats.lower_fixed("--weight-decay"), number(decay));
        of_updates.push((rate / LEARNING_RATE[kind], format!("lower --lr (it was {})", number(rate))));
        of_updates.push((decay.abs() / WEIGHT_DECAY[kind], decayed));
    }
    of_updates.retain(|(extent, _)| *extent > 1.0);
    let inputs = of_inputs(batches, split, parameters(&compiled.training, &compiled.values));
    let mut all: Vec<(f64, String)> = inputs.iter().map(|extreme| (extreme.extent, extreme.advice.clone())).collect();
    all.extend(of_updates.iter().cloned());
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let otherwise = match () {
        () if !is_updated => {
            "no update was made before it, so --lr has no part in it: scale the data or the initial weights down"
        }
        () if rate == 0.0 => "scale the data down",
        () => &format!("lower --lr (it was {})", number(rate)),
    };
    Extremes {
        inputs: inputs.into_iter().map(|extreme| extreme.what).collect(),
        advice: all.into_iter().map(|(_, advice)| advice).collect(),
        of_updates: !of_updates.is_empty(),
        update: update(compiled, setup.settings.learning_rate),
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
