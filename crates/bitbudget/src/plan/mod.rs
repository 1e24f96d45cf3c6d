//! The record of an assignment and of its budget: files that people read and edit, in TOML or JSON.
//!
//! A plan holds the settings of an assignment, so that it can be solved again with others, and its result: the format of every
//! tensor, and the recomputed nodes, so that it can be used as it is. Tensors go by name, those without one by number,
//! and shapes have the batch as `N`: a plan serves for other weights, batches and optimizers too. Trainer files and the results of
//! comparisons hold plans as well.

mod asked;
mod check;
mod error;
mod fields;
mod file;
mod kind;
mod loss;
mod optimizer;
mod text;

use crate::{Budget, Compiled, Engine, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH, Limit, Options};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, Loss};
use bitbudget_precision::{Assignment, Formats, Kind, Method, Pin, PinFormats, node_names};
use bitbudget_report::comparison::TensorName;
use loss::PlannedLoss;
use optimizer::PlannedOptimizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use text::{Row, Rows, number, optional_number, whole};

pub(crate) use asked::Asked;
pub use error::{PlanError, Problem};
pub use kind::FileKind;
pub(crate) use text::Text;

/// The version of the file's layout; files of others are refused.
const VERSION: u32 = 1;

/// An assignment with how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an assignment")]
pub struct Plan {
    #[serde(deserialize_with = "whole")]
    version: u32,
    /// The network's name, for people.
    network: String,
    method: Text<Method>,
    #[serde(deserialize_with = "whole")]
    batch: usize,
    #[serde(deserialize_with = "number")]
    low_ratio: f64,
    #[serde(deserialize_with = "whole")]
    seed: u64,
    high: Text<Format>,
    low_forward: Text<Format>,
    low_backward: Text<Format>,
    low_parameter_gradient: Text<Format>,
    /// Patterns of what stays in high precision.
    #[serde(default)]
    exclude: Vec<String>,
    /// The nodes that the backward pass computes again, by name.
    #[serde(default)]
    recompute: Vec<String>,
    /// Formats by pattern.
    #[serde(default)]
    pin: BTreeMap<String, Text<PinFormats>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<PlannedBudget>,
    /// The update rule, whose state takes memory; SGD in files without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer: Option<PlannedOptimizer>,
    /// The loss, on which the last tensors depend; cross-entropy in files without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<PlannedLoss>,
    tensors: Rows,
}

/// A memory budget as options name it; threads are those of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of the budget's settings")]
struct PlannedBudget {
    limit: Text<Limit>,
    formats: Vec<Text<Format>>,
    backward_formats: Vec<Text<Format>>,
    may_recompute: bool,
    granularity: Text<Granularity>,
    #[serde(deserialize_with = "number")]
    time_weight: f64,
    #[serde(default, deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    max_slowdown: Option<f64>,
    /// The file of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    solver: Text<Engine>,
    #[serde(deserialize_with = "number")]
    solve_seconds: f64,
}

impl Plan {
    /// The plan of a compiled trainer and the options that it was compiled with.
    pub fn new(compiled: &Compiled, options: &Options) -> Plan {
        let Compiled { training, assignment, .. } = compiled;
        let Options { formats, budget, optimizer, .. } = options;
        let plan = Plan::of(training, assignment, *formats, &Asked::of(options), budget.as_ref());
        Plan { optimizer: Some(PlannedOptimizer::of(optimizer)), ..plan }
    }

    /// The plan of an assignment, without an optimizer; `formats` are those that the levels of methods stand for.
    pub(crate) fn of(
        training: &Graph,
        assignment: &Assignment,
        formats: Formats,
        asked: &Asked,
        budget: Option<&Budget>,
    ) -> Plan {
        let Formats { high, low_forward, low_backward, low_parameter_gradient } = formats;
        let names = node_names(training);
        let (pinned, excluded): (Vec<&Pin>, Vec<&Pin>) = asked.pins.iter().partition(|pin| pin.formats.is_some());
        let pin = |pin: &Pin| Some((pin.pattern.clone(), Text(pin.formats?)));
        Plan {
            version: VERSION,
            network: training.name().to_string(),
            method: Text(assignment.method),
            batch: assignment.batch,
            low_ratio: asked.low_ratio,
            seed: asked.seed,
            high: Text(high),
            low_forward: Text(low_forward),
            low_backward: Text(low_backward),
            low_parameter_gradient: Text(low_parameter_gradient),
            exclude: excluded.into_iter().map(|pin| pin.pattern.clone()).collect(),
            recompute: assignment.recomputed.iter().filter_map(|id| names[id.index()].clone()).collect(),
            pin: pinned.into_iter().filter_map(pin).collect(),
            budget: budget.map(PlannedBudget::of),
            optimizer: None,
            loss: PlannedLoss::of(&asked.loss),
            tensors: Rows(rows(training, assignment, &names)),
        }
    }

    /// Checks the version and the numbers, which are edited by hand.
    ///
    /// # Errors
    /// If it is of another version, or a number is outside of its range.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        if self.version != VERSION {
            return Err(PlanError::field(
                "version",
                format!("version {} is not {VERSION}", self.version),
                "make it again",
            ));
        }
        if !(0.0..=1.0).contains(&self.low_ratio) {
            let reason = format!("`low_ratio` is {:?}", self.low_ratio);
            return Err(PlanError::field("low_ratio", reason, "it must be a share from 0 to 1"));
        }
        self.optimizer.map_or(Ok(()), PlannedOptimizer::check)?;
        self.loss.as_ref().map_or(Ok(()), PlannedLoss::check)?;
        self.budget.as_ref().map_or(Ok(()), PlannedBudget::check)
    }

    /// How the assignment was asked for.
    pub(crate) fn asked(&self) -> Asked {
        Asked { low_ratio: self.low_ratio, seed: self.seed, pins: self.pins(), loss: self.loss() }
    }

    /// The method, and the batch at which elements are counted.
    pub(crate) fn method_and_batch(&self) -> (Method, usize) {
        (self.method.0, self.batch)
    }

    /// The nodes that the backward pass computes again, by name.
    pub(crate) fn recomputed(&self) -> &[String] {
        &self.recompute
    }

    /// The formats' names of some of its tensors and gradients.
    pub(crate) fn formats_of(&self, tensors: &[TensorName]) -> Vec<String> {
        let rows: BTreeMap<&str, &Row> = self.tensors.0.iter().map(|(name, row)| (name.as_str(), row)).collect();
        let gradients = [Kind::OutputGradient, Kind::ParameterGradient].map(Kind::name);
        let format = |tensor: &TensorName| match rows.get(tensor.name.as_str()) {
            Some(row) if gradients.contains(&tensor.kind.as_str()) => row.backward.clone(),
            Some(row) => row.forward.clone(),
            None => String::new(),
        };
        tensors.iter().map(format).collect()
    }

    /// The options that the assignment was made with, for a run with so many threads; what a plan does not hold is as by
    /// default. The budget's profile, a file of its own, is left out.
    pub fn options(&self, threads: usize) -> Options {
        let optimizer = self.optimizer.map_or(Options::default().optimizer, PlannedOptimizer::optimizer);
        Options {
            optimizer,
            loss: self.loss(),
            batch: self.batch,
            method: self.method.0,
            low_ratio: self.low_ratio,
            seed: self.seed,
            formats: self.formats(),
            pins: self.pins(),
            budget: self.budget.as_ref().map(|budget| budget.budget(threads)),
            ..Options::default()
        }
    }

    /// The path of the profile by which the budget was used, as it was given.
    pub fn profile(&self) -> Option<&str> {
        self.budget.as_ref()?.profile.as_deref()
    }

    fn loss(&self) -> Loss {
        self.loss.as_ref().map_or_else(Loss::default, PlannedLoss::loss)
    }

    fn formats(&self) -> Formats {
        Formats {
            high: self.high.0,
            low_forward: self.low_forward.0,
            low_backward: self.low_backward.0,
            low_parameter_gradient: self.low_parameter_gradient.0,
        }
    }

    fn pins(&self) -> Vec<Pin> {
        let pinned = self.pin.iter().map(|(pattern, formats)| (pattern, Some(formats.0)));
        let pins = pinned.chain(self.exclude.iter().map(|pattern| (pattern, None)));
        pins.map(|(pattern, formats)| Pin { pattern: pattern.clone(), formats }).collect()
    }
}

impl PlannedBudget {
    fn of(budget: &Budget) -> PlannedBudget {
        let texts = |formats: &[Format]| formats.iter().copied().map(Text).collect();
        PlannedBudget {
            limit: Text(budget.limit),
            formats: texts(&budget.forward),
            backward_formats: texts(&budget.backward),
            may_recompute: budget.recompute,
            granularity: Text(budget.granularity),
            time_weight: budget.time_weight,
            max_slowdown: budget.max_slowdown,
            profile: budget.measured.as_ref().map(|measured| measured.name.clone()),
            solver: Text(budget.engine),
            solve_seconds: budget.seconds,
        }
    }

    /// Checks its numbers, which are edited by hand.
    ///
    /// # Errors
    /// If one is outside of its range.
    fn check(&self) -> Result<(), PlanError> {
        let PlannedBudget { time_weight, solve_seconds, max_slowdown, .. } = *self;
        let wrong = |name: &str, number: f64, range: &str| Err(PlanError::number("budget", name, number, range));
        if !(0.0..=LARGEST_TIME_WEIGHT).contains(&time_weight) {
            return wrong("time_weight", time_weight, &format!("from 0 to {LARGEST_TIME_WEIGHT}"));
        }
        if !(solve_seconds > 0.0 && solve_seconds <= LONGEST_SEARCH) {
            return wrong("solve_seconds", solve_seconds, &format!("above 0 and at most {LONGEST_SEARCH}, a day"));
        }
        match max_slowdown {
            Some(share) if !(share > 0.0 && share <= 10.0) => {
                wrong("max_slowdown", share, "a share of a step's time above 0 and at most 10")
            }
            _ => Ok(()),
        }
    }

    fn budget(&self, threads: usize) -> Budget {
        let formats = |texts: &[Text<Format>]| texts.iter().map(|text| text.0).collect();
        Budget {
            forward: formats(&self.formats),
            backward: formats(&self.backward_formats),
            recompute: self.may_recompute,
            granularity: self.granularity.0,
            time_weight: self.time_weight,
            max_slowdown: self.max_slowdown,
            engine: self.solver.0,
            seconds: self.solve_seconds,
            ..Budget::new(self.limit.0, threads)
        }
    }
}

/// The rows of all tensors, in execution order.
fn rows(graph: &Graph, assignment: &Assignment, names: &[Option<String>]) -> Vec<(String, Row)> {
    let mut backward = BTreeMap::new();
    for (tensor, _, format) in assignment.assigned() {
        if matches!(tensor.kind, Kind::OutputGradient | Kind::ParameterGradient) {
            backward.insert(tensor.node, format);
        }
    }
    let row = |(tensor, _, format): (&bitbudget_precision::Tensor, _, Format)| {
        let backward = backward.get(&tensor.node).filter(|_| matches!(tensor.kind, Kind::Parameter | Kind::Output))?;
        let row = Row {
            operator: graph.op(tensor.operator).name().to_string(),
            shape: graph.ty(tensor.node).shape.to_string(),
            forward: format.to_string(),
            backward: backward.to_string(),
        };
        Some((names[tensor.node.index()].clone()?, row))
    };
    assignment.assigned().filter_map(row).collect()
}
