//! Arguments of `bitbudget compare`.

use super::{
    DeviceArgs, FittingArgs, FormatsArgs, Given, LossArgs, NetworkArgs, OptimizerArgs, Percent, PinArg, SettingsArgs,
    whole,
};
use bitbudget::Limit;
use bitbudget::Method;
use bitbudget_train::data::DataSpec;
use clap::Args;
use std::path::PathBuf;

/// Compare methods and budgets: assign formats by each, train with each, and show the cost of less memory.
///
/// A method that takes a budget (ilp, demote, demote-smallest, random) gives one assignment per budget; the others give a single
/// one with a peak of its own. With --data each assignment is trained with several seeds, as `train` would do it.
///
/// Each result is saved in a folder as soon as it is ready, under a key of everything that decides it: network, data, options,
/// this program. An interrupted comparison resumes when it is started again, and its JSON is byte-identical to an uninterrupted
/// one, since nothing in it depends on the clock: method ilp searches with a counted effort instead of a time limit. Seconds are
/// in the table, in the CSV file and on the page, and in the JSON with --timings.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget compare net.onnx --budgets 20%,40%,60% --html compare.html
  bitbudget compare net.onnx --data mnist:data/mnist --batch 64 --lr 0.05 --epochs 3 --seeds 3 --html compare.html
  bitbudget compare net.onnx --methods ilp,demote,fp32 --profile net.json --json - --quiet

A budget that is too small for a method is a result: the table says how much the method would need. So is a training that \
diverges; the exit status is 3 if all do. random draws its order of groups with the first seed.")]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) given: Given,
    /// An ONNX network.
    pub(crate) model: PathBuf,
    /// Budgets: sizes such as 300MiB, or shares of FP32's peak.
    #[arg(
        long,
        value_name = "SIZES",
        allow_hyphen_values = true,
        value_delimiter = ',',
        default_value = "20%,30%,45%,60%,100%"
    )]
    pub(crate) budgets: Vec<Limit>,
    /// Methods; see `bitbudget assign --help`.
    #[arg(long, value_name = "METHODS", value_delimiter = ',', default_value = "ilp,demote,operator,uniform-low,fp32")]
    pub(crate) methods: Vec<Method>,
    /// Training data; see `bitbudget train --help`. Without it assignments are compared by cost.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<DataSpec>,
    /// Number of epochs, passes through the training examples [default: 5].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1, u64::MAX), conflicts_with = "steps", requires = "data")]
    pub(crate) epochs: Option<u64>,
    /// Steps to train, instead of epochs.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1, u64::MAX), requires = "data")]
    pub(crate) steps: Option<u64>,
    /// Number of trainings per assignment, with the seeds from --seed on.
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true, value_parser = whole::<u64>(1, 1000), requires = "data")]
    pub(crate) seeds: u64,
    /// Assignments and trainings that run at the same time; cores are shared among them unless --threads says otherwise. Steps
    /// take longer then.
    #[arg(long, value_name = "J", default_value_t = 1, allow_negative_numbers = true, value_parser = whole::<u16>(1, 256))]
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
    pub(crate) loss: LossArgs,
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
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) batch: Option<usize>,
    #[command(flatten)]
    pub(crate) choice: FormatsArgs,
    /// Measured costs of rounding: a file from `bitbudget profile`.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Keep every tensor; recompute nothing in the backward pass.
    #[arg(long)]
    pub(crate) no_recompute: bool,
    /// Largest slowdown of a step by recomputation: 10%.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true, conflicts_with = "no_recompute")]
    pub(crate) max_slowdown: Option<Percent>,
    /// Formats of the tensors that a pattern matches, in all cases; see `bitbudget assign --help`. Repeatable.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    pub(crate) pin: Vec<PinArg>,
    /// Keep the tensors that a pattern matches in the high format, in all cases. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Search effort of method ilp: subproblems and neighbourhoods of the best solution in each of its rounds.
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true, value_parser = whole::<u32>(1, u32::MAX.into()))]
    pub(crate) effort: u32,
}
