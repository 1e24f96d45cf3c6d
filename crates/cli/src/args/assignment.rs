//! How formats are chosen.

use super::{BudgetArgs, Given, LossArgs, NetworkArgs, whole};
use bitbudget::{Format, Method, ParseFormatError, PinFormats};
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// How formats are chosen. Options that are not given come from the trainer file, or are the defaults.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct AssignmentArgs {
    #[command(flatten)]
    pub(crate) given: Given,
    /// Examples per step [default: 128].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) batch: Option<usize>,
    /// fp32, uniform-high, uniform-low, operator, amp, demote, demote-smallest, random or ilp [default: demote; ilp with
    /// --budget].
    #[arg(long)]
    pub(crate) method: Option<Method>,
    /// Least share of all elements to make low, 0 to 1, for demote, demote-smallest and random [default: 0.5].
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) low_ratio: Option<f64>,
    /// Format of high tensors [default: 1-6-9].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) high: Option<Format>,
    /// Format of low parameters and outputs [default: 1-4-3].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) low_forward: Option<Format>,
    /// Format of low gradients of outputs [default: 1-5-2].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) low_backward: Option<Format>,
    /// Formats of the tensors that a pattern matches, whatever the method would choose: bf16, or 1-4-3/1-5-2 for forward tensors and
    /// gradients. Repeatable; patterns are explained in `bitbudget assign --help`.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    pub(crate) pin: Vec<PinArg>,
    /// Keep the tensors that a pattern matches in the high format; with ilp, in the widest that it may choose. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Use exactly the assignment in a file from `bitbudget assign -o`, edited or not; only --batch and the
    /// optimizer may differ from it.
    #[arg(long, value_name = "FILE")]
    pub(crate) assignment: Option<PathBuf>,
    /// Compute and store every tensor as the training graph has it: no rewriting, nothing computed in passing.
    #[arg(long)]
    pub(crate) no_rewrite: bool,
    /// Also apply rules that are exact for real numbers but change rounding; `bitbudget explain` lists them.
    #[arg(long, conflicts_with = "no_rewrite")]
    pub(crate) allow_reassociation: bool,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    #[command(flatten)]
    pub(crate) loss: LossArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// A pattern with the formats that it is pinned to.
#[derive(Clone, Debug)]
pub(crate) struct PinArg {
    pub(crate) pattern: String,
    pub(crate) formats: PinFormats,
}

impl FromStr for PinArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, formats) = text.rsplit_once('=').ok_or("write a pattern and a format, as in 'Conv*=bf16'")?;
        let formats = formats.parse().map_err(|e: ParseFormatError| e.to_string())?;
        Ok(PinArg { pattern: pattern.to_string(), formats })
    }
}
