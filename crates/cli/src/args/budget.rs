//! Options of the memory budget.

use super::{Given, within};
use bitbudget::Format;
use bitbudget::{Engine, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH, Limit};
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// Options of the memory budget.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Memory budget")]
pub(crate) struct BudgetArgs {
    #[command(flatten)]
    pub(crate) given: Given,
    /// Largest peak memory of a training step, everything counted: 300MiB, 2GiB, or 40%: a share of what a step takes in FP32 with
    /// the rewriting that is the default, also with --no-rewrite or --allow-reassociation.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) budget: Option<Limit>,
    #[command(flatten)]
    pub(crate) choice: FormatsArgs,
    /// Measured costs of rounding each tensor: a file from `bitbudget profile`. Without one, as few elements as possible
    /// are rounded.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Unit of choice: tensor for a format per tensor, group for one per tensor group [default: tensor].
    #[arg(long, value_name = "WHAT")]
    pub(crate) granularity: Option<Granularity>,
    /// Keep every tensor; recompute nothing in the backward pass.
    #[arg(long)]
    pub(crate) no_recompute: bool,
    /// Cost of a percent of a step's time, where 100 is the harm of rounding everything most coarsely [default: 1].
    #[arg(long, value_name = "W", allow_negative_numbers = true, value_parser = within(false, LARGEST_TIME_WEIGHT), conflicts_with = "no_recompute")]
    pub(crate) time_weight: Option<f64>,
    /// Largest slowdown of a step by recomputation: 10%.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, conflicts_with = "no_recompute")]
    pub(crate) max_slowdown: Option<Percent>,
    /// Solver of method ilp: embedded, or highs in builds with the feature `highs` [default: embedded].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) solver: Option<Engine>,
    /// Seconds that method ilp may search; if nothing fits, the search for the smallest budget may take four times as long [default: 10].
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = within(true, LONGEST_SEARCH))]
    pub(crate) solve_seconds: Option<f64>,
}

/// The choices of method ilp.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FormatsArgs {
    /// Formats that method ilp may give parameters and outputs [default: fp32,bf16,1-6-9,1-4-3].
    #[arg(long, value_name = "FORMATS", value_delimiter = ',')]
    pub(crate) formats: Vec<Format>,
    /// Formats that method ilp may give gradients [default: fp32,bf16,1-6-9,1-5-2].
    #[arg(long, value_name = "FORMATS", value_delimiter = ',')]
    pub(crate) backward_formats: Vec<Format>,
}

/// A share, written in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>().ok();
        match number.filter(|number| *number > 0.0 && *number <= 1000.0) {
            Some(number) if number / 100.0 < 1e-9 => Err("it is less than 0.0000001%, which allows nothing".into()),
            Some(number) if text.ends_with('%') => Ok(Percent(number / 100.0)),
            Some(number) => Err(format!("the unit is missing: {number}%?")),
            None => Err("write a share such as 40%, above 0% and up to 1000%".into()),
        }
    }
}
