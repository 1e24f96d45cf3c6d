//! Arguments of reports.

use super::{AssignmentArgs, MachineArgs, OptimizerArgs, whole};
use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// A page that a command also writes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PageArgs {
    /// Write a report as a page: memory over the step, the network, every tensor and why it is stored as it is.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
}

/// Write a report for people: memory over the step, the network, every tensor and why it is stored as it is.
///
/// The page is one file that loads nothing, for screens, phones and paper. It needs no training; the curves of a finished
/// run come from the files that `bitbudget train` wrote. `assign`, `compile` and `train` write such a page too, with --html.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("written").args(["html", "json"]).required(true).multiple(true)), after_help = "Examples:
  bitbudget report net.onnx --budget 40% --html net.html
  bitbudget report net.trainer --html net.html --json net.json
  bitbudget train net.onnx --data digits --budget 40% --metrics steps.jsonl --json train.json
  bitbudget report net.onnx --budget 40% --metrics steps.jsonl --record train.json --html run.html")]
pub(crate) struct ReportArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Seed of the random method [default: 0].
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: Option<u64>,
    /// Show the run that wrote these lines, from `bitbudget train --metrics`.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    /// Show the run that wrote this record, from `bitbudget train --json`: accuracy, and the memory that it took.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Write the data of the page as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}
