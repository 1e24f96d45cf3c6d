//! How an assignment is made to fit a memory budget.

use bitbudget::{Engine, Granularity, Limit};
use bitbudget_formats::Format;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// How an assignment is made to fit a memory budget.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Memory budget")]
pub(crate) struct BudgetArgs {
    /// Memory that a training step may take at its peak, everything counted: 300MiB, 2GiB, or a share of what FP32
    /// takes, 40%.
    #[arg(long, value_name = "SIZE")]
    pub(crate) budget: Option<Limit>,
    #[command(flatten)]
    pub(crate) choice: FormatsArgs,
    /// A file from `bitbudget profile`, which says what rounding each tensor costs; without one, as few elements as
    /// possible are rounded.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// What gets a format of its own: every tensor, or the tensors of a group together [default: tensor].
    #[arg(long, value_name = "WHAT")]
    pub(crate) granularity: Option<Granularity>,
    /// Keep every tensor; recompute none in the backward pass.
    #[arg(long)]
    pub(crate) no_recompute: bool,
    /// What a percent of a step's time costs, where 100 is the harm of rounding everything most coarsely [default: 1].
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub(crate) time_weight: Option<f64>,
    /// How much longer recomputation may make a step: 10%.
    #[arg(long, value_name = "SHARE")]
    pub(crate) max_slowdown: Option<Percent>,
    /// What method ilp is solved by: embedded, or highs in builds with the feature `highs` [default: embedded].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) solver: Option<Engine>,
    /// Seconds that method ilp may search [default: 10].
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub(crate) solve_seconds: Option<f64>,
}

/// What method ilp may choose from.
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
            Some(number) if text.ends_with('%') => Ok(Percent(number / 100.0)),
            Some(number) => Err(format!("the unit is missing: {number}%?")),
            None => Err("write a share such as 40%, above 0% and up to 1000%".into()),
        }
    }
}
