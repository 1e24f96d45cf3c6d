//! Arguments of `bitbudget compare`.

use super::{DeviceArgs, FittingArgs, FormatsArgs, NetworkArgs, OptimizerArgs, Percent, PinArg, SettingsArgs};
use bitbudget::Limit;
use bitbudget_precision::Method;
use bitbudget_train::data::DataSpec;
use clap::Args;
use std::path::PathBuf;

/// Compare methods and budgets: assign formats by each, train with each, and show what it costs to have less memory.
///
/// A method that takes a budget (ilp, demote, demote-smallest, random) gives an assignment for each of them, the others give one
/// that stands at its own peak. With --data each assignment is trained with several seeds, as `train` would do it.
///
/// Each result is kept in a folder as soon as it is there, under a key of everything that decides it: network, data, options,
/// this program. A comparison that was interrupted goes on where it was when it is started again, and its JSON is that of one
/// that was not, byte for byte: nothing in it depends on the clock. Therefore method ilp searches for a counted effort and not
/// for some seconds. Seconds are in the table, in the CSV file and on the page, and in the JSON with --timings.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget compare net.onnx --budgets 20%,40%,60% --html compare.html
  bitbudget compare net.onnx --data mnist:data/mnist --batch 64 --lr 0.05 --epochs 3 --seeds 3 --html compare.html
  bitbudget compare net.onnx --methods ilp,demote,fp32 --profile net.json --json - --quiet

A budget that is too small for a method is a result: the table says how much the method would need. So is a training that
diverges; the exit status is 3 if all do. random draws its order of groups with the first seed.")]
pub(crate) struct CompareArgs {
    /// An ONNX network.
    pub(crate) model: PathBuf,
    /// Budgets: sizes such as 300MiB, or shares of what FP32 takes.
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "20%,30%,45%,60%,100%")]
    pub(crate) budgets: Vec<Limit>,
    /// Methods; see `bitbudget assign --help`.
    #[arg(long, value_name = "METHODS", value_delimiter = ',', default_value = "ilp,demote,operator,uniform-low,fp32")]
    pub(crate) methods: Vec<Method>,
    /// What to train on; see `bitbudget train --help`. Without it assignments are compared by what they cost.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<DataSpec>,
    /// Times through the training examples [default: 5].
    #[arg(long, value_name = "N", conflicts_with = "steps", requires = "data")]
    pub(crate) epochs: Option<u64>,
    /// Steps to train, instead of epochs.
    #[arg(long, value_name = "N", requires = "data")]
    pub(crate) steps: Option<u64>,
    /// How often each assignment is trained, with the seeds from --seed on.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Assignments and trainings that run at the same time; cores are shared among them unless --threads says otherwise. Steps
    /// take longer then.
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: u16,
    /// Keep results in this folder [default: the network's name with the ending .compare].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Write a page to look at.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
    /// Write everything as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Put seconds into the JSON too, which differ from run to run.
    #[arg(long, requires = "json")]
    pub(crate) timings: bool,
    /// Write a line per case and seed as CSV ("-" for standard output).
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) csv: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) fitting: FittingArgs,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// How formats are chosen in all cases.
#[derive(Debug, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct PrecisionArgs {
    /// Examples per step [default: 128].
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    #[command(flatten)]
    pub(crate) choice: FormatsArgs,
    /// A file from `bitbudget profile`, by which costs are counted.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Keep every tensor; recompute none in the backward pass.
    #[arg(long)]
    pub(crate) no_recompute: bool,
    /// How much longer recomputation may make a step: 10%.
    #[arg(long, value_name = "SHARE")]
    pub(crate) max_slowdown: Option<Percent>,
    /// Formats of what a pattern matches, in all cases; see `bitbudget assign --help`. Repeatable.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    pub(crate) pin: Vec<PinArg>,
    /// Keep what a pattern matches in the high format, in all cases. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// How much method ilp searches: parts of the problem and neighbourhoods of the best solution in each of its rounds.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) effort: u32,
}
