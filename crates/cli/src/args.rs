//! Arguments.

mod compare;
mod report;
mod shell;

use bitbudget::{Engine, Granularity, Limit, Promotion};
use bitbudget_formats::{Format, ParseFormatError};
use bitbudget_precision::{Method, PinFormats};
use bitbudget_train::data::DataSpec;
use bitbudget_train::learning_rate::LearningRate;
use bitbudget_train::loss_scale::LossScaling;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
use bitbudget_zoo::Network;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) use compare::{CompareArgs, PrecisionArgs};
pub(crate) use report::{PageArgs, ReportArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};

/// Compiles an ONNX network into a mixed-precision trainer.
#[derive(Debug, Parser)]
#[command(name = "bitbudget", version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Zoo(ZooArgs),
    Inspect(InspectArgs),
    Explain(ExplainArgs),
    Assign(AssignArgs),
    Compile(CompileArgs),
    Train(TrainArgs),
    Eval(EvalArgs),
    Bench(BenchArgs),
    Report(ReportArgs),
    Profile(ProfileArgs),
    Compare(CompareArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Write one of the known networks as an ONNX file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget zoo squeezenet --width 0.25 -o squeezenet.onnx
  bitbudget zoo resnet-18 --classes 100 --input 3x32x32 -o resnet.onnx")]
pub(crate) struct ZooArgs {
    /// squeezenet, shufflenet-v2, mobilenet-v2 or resnet-18.
    pub(crate) network: Network,
    /// Factor of all channels: 1.0, 0.5, 0.25 or 0.1.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) width: f64,
    /// Number of classes.
    #[arg(long, default_value_t = 10)]
    pub(crate) classes: usize,
    /// Channels, height and width of an input.
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32")]
    pub(crate) input: InputShape,
    /// Seed of the initial weights.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The ONNX file to write.
    #[arg(short, long, value_name = "FILE.onnx")]
    pub(crate) output: PathBuf,
}

/// Channels, height and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputShape(pub(crate) [usize; 3]);

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
        let sizes = sizes.and_then(|s| <[usize; 3]>::try_from(s).ok());
        sizes.map(InputShape).ok_or_else(|| "write channels, height and width as in 3x32x32".into())
    }
}

/// Show what a network or trainer file holds: operators, parameters, work, program.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget inspect net.onnx
  bitbudget inspect net.onnx --text training
  bitbudget inspect net.onnx --text program --method operator | less
  bitbudget inspect net.onnx --dot training --low-ratio 0.5 | dot -Tsvg -o training.svg")]
pub(crate) struct InspectArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Print a text form instead of the overview.
    #[arg(long, value_name = "WHAT")]
    pub(crate) text: Option<TextForm>,
    /// Print a drawing in GraphViz's language instead, coloured by bits: blue up to 8, orange up to 16, grey 32.
    #[arg(long, value_name = "WHAT", conflicts_with = "text")]
    pub(crate) dot: Option<TextForm>,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Write the overview as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "dot"])]
    pub(crate) json: Option<PathBuf>,
}

/// Show what rewriting did: which rules fired where and what each saved, and why a tensor is stored as it is.
///
/// What a rule saves is the difference to compiling without it. Seconds are estimates from work and bytes that are touched. Choices
/// for a tensor have a cost where there is a budget: the harm of rounding and the time of computing again, and what their memory
/// costs at the prices that the search ended with.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget explain net.onnx --method fp32
  bitbudget explain net.onnx --budget 40% --tensor fire2.relu1
  bitbudget explain net.onnx --budget 300MiB --json explained.json")]
pub(crate) struct ExplainArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Explain one tensor: its choices, the chosen one, the runner-up.
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Write everything as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TextForm {
    /// The network as imported.
    Forward,
    /// The training step as a graph.
    Training,
    /// The training step as a program.
    Program,
    /// The evaluation as a program.
    Evaluation,
}

/// How formats are chosen. What is not given comes from the trainer file, or is the default.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Precision")]
pub(crate) struct AssignmentArgs {
    /// Examples per step [default: 128].
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// fp32, uniform-high, uniform-low, operator, amp, demote, demote-smallest, random or ilp [default: demote; ilp with
    /// --budget].
    #[arg(long)]
    pub(crate) method: Option<Method>,
    /// Share of all elements to make low at least, 0 to 1, for demote, demote-smallest and random [default: 0.5].
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
    /// Formats of what a pattern matches, whatever the method would choose: bf16, or 1-4-3/1-5-2 for forward tensors and
    /// gradients. Repeatable; patterns are explained in `bitbudget assign --help`.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    pub(crate) pin: Vec<PinArg>,
    /// Keep what a pattern matches in the high format; with ilp, in the widest that it may choose. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Use exactly the assignment in a file from `bitbudget assign -o`, edited or not; --batch alone may differ from it.
    #[arg(long, value_name = "FILE", conflicts_with_all = SETTLED)]
    pub(crate) assignment: Option<PathBuf>,
    /// Compute and store every tensor as the training graph has it: no rewriting, nothing computed in passing.
    #[arg(long)]
    pub(crate) no_rewrite: bool,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
}

/// The options that an assignment file settles.
const SETTLED: [&str; 17] = [
    "method",
    "low_ratio",
    "high",
    "low_forward",
    "low_backward",
    "pin",
    "exclude",
    "budget",
    "formats",
    "backward_formats",
    "profile",
    "granularity",
    "no_recompute",
    "time_weight",
    "max_slowdown",
    "solver",
    "solve_seconds",
];

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

/// How an assignment is made to fit a memory budget.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Memory budget")]
pub(crate) struct BudgetArgs {
    /// Memory that a training step may take at its peak, everything counted: 300MiB, 2GiB, or a share of what FP32
    /// takes, 40%.
    #[arg(long, value_name = "SIZE")]
    pub(crate) budget: Option<Limit>,
    /// Formats that method ilp may give parameters and outputs [default: fp32,bf16,1-6-9,1-4-3].
    #[arg(long, value_name = "FORMATS", value_delimiter = ',')]
    pub(crate) formats: Vec<Format>,
    /// Formats that method ilp may give gradients [default: fp32,bf16,1-6-9,1-5-2].
    #[arg(long, value_name = "FORMATS", value_delimiter = ',')]
    pub(crate) backward_formats: Vec<Format>,
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

/// A share, written in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let number = number.filter(|number| *number > 0.0 && *number <= 1000.0);
        number
            .map(|number| Percent(number / 100.0))
            .ok_or_else(|| "write a share such as 40%, above 0% and up to 1000%".into())
    }
}

/// How parameters are updated.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Optimizer")]
pub(crate) struct OptimizerArgs {
    /// Update rule [default: sgd].
    #[arg(long, value_name = "RULE")]
    pub(crate) optimizer: Option<OptimizerKind>,
    /// Momentum of sgd [default: 0.9].
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) momentum: Option<f64>,
    /// Weight decay [default: 5e-4 for sgd, 0.01 for adamw].
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// Choose a format for every tensor and show the tensor groups.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget assign net.onnx --batch 128 --method demote --low-ratio 0.5
  bitbudget assign net.onnx --budget 300MiB
  bitbudget assign net.onnx --budget 300MiB --profile net.profile
  bitbudget assign net.onnx --budget 40% --formats fp32,bf16 --backward-formats fp32,bf16 --max-slowdown 10%
  bitbudget assign net.onnx --method operator --json -
  bitbudget assign net.onnx --budget 40% --pin 'Conv*=bf16' --exclude 'BatchNormalization*' -o plan.toml
  bitbudget assign net.onnx --from plan.toml --budget 30% -o plan.toml

Patterns: * is any text, ? one character. A pattern that matches operator types of the network (conv, or ONNX's Conv, in
any case) means all tensors of these operators, parameters and gradients included; else it means the tensors whose names
it matches, with their gradients. Names beat types, then patterns without * and ? beat those with them. Pinned tensors are
not promoted in training. The input and the loss stay in high precision.")]
pub(crate) struct AssignArgs {
    /// An ONNX network.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    /// Solve again with the method, formats, pins and budget of a file from -o; options override what it says.
    #[arg(long, value_name = "FILE", conflicts_with = "assignment")]
    pub(crate) from: Option<PathBuf>,
    /// Write the assignment, to edit, to use (--assignment) or to solve again (--from): .toml or .json ("-" for TOML on
    /// standard output, and nothing else).
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Seed of the random method [default: 0].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Write a report of the assignment as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Compile a network into a trainer file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget compile net.onnx --batch 64 --low-ratio 1.0 -o net.trainer
  bitbudget compile net.onnx --assignment plan.toml -o net.trainer
  bitbudget compile net.onnx --budget 40% -o net.trainer --annotated-onnx annotated.onnx
  bitbudget train net.trainer --data digits --epochs 5")]
pub(crate) struct CompileArgs {
    /// An ONNX network.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Seed of the random method.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The trainer file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Also write the network as ONNX, with each operator's formats and their reasons in its metadata, which Netron shows.
    #[arg(long, value_name = "FILE.onnx")]
    pub(crate) annotated_onnx: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Train a network in mixed precision.
#[derive(Debug, Args)]
#[command(after_help = "Data:
  digits                 1,797 handwritten digits of 8x8 pixels, built in
  mnist:DIR              IDX files, gzipped or not
  cifar10:DIR            the official binary files; also cifar100:DIR
  npz:FILE               arrays x [N, ...] and y [N], optionally x_test and y_test
  synthetic[:N]          generated patterns

Examples:
  bitbudget train net.onnx --data digits --batch 64 --epochs 10 --lr 0.05
  bitbudget train net.onnx --data mnist:data/mnist --low-ratio 1.0 --save trained.onnx
  bitbudget train net.onnx --data digits --assignment plan.toml
  bitbudget train net.trainer --data npz:data.npz --steps 100 --no-shuffle --metrics steps.jsonl
  bitbudget train net.onnx --data digits --budget 40% --tensorboard logs/40")]
pub(crate) struct TrainArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// What to train on; see below.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    /// Times through the training examples [default: 5].
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Steps to train, instead of epochs.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Write the trained network: .onnx, .safetensors (weights only), or any other ending for a trainer file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Write a JSON line per step and epoch.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    /// Write scalars of steps and epochs as an event file for TensorBoard into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Write the final record as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How to run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct SettingsArgs {
    /// Learning rate at the start.
    #[arg(long, default_value_t = 0.1, allow_negative_numbers = true)]
    pub(crate) lr: f32,
    /// How the learning rate falls: constant, cosine or step.
    #[arg(long, value_name = "SCHEDULE", default_value = "cosine")]
    pub(crate) lr_schedule: LearningRate,
    /// Loss scale: dynamic, a number, or none, which never skips a step and so updates parameters early.
    #[arg(long, value_name = "SCALE", default_value = "dynamic")]
    pub(crate) loss_scale: LossScaling,
    /// Give tensors a wider format whose overflow ratio reaches a threshold: on (0.01) and a threshold do so within the
    /// budget, paper (0.01) does so even beyond it; or off.
    #[arg(long, value_name = "WHEN", default_value = "on")]
    pub(crate) promotion: PromotionWhen,
    /// Seed of the order of examples, of augmentation, and of the random method.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Keep the examples in their order.
    #[arg(long)]
    pub(crate) no_shuffle: bool,
    /// Random crops with padding 4 and horizontal flips.
    #[arg(long)]
    pub(crate) augment: bool,
}

/// When tensors are promoted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PromotionWhen {
    /// The overflow ratio from which; `None` for never.
    pub(crate) threshold: Option<f64>,
    pub(crate) promotion: Promotion,
}

impl FromStr for PromotionWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let when = |threshold, promotion| Ok(PromotionWhen { threshold, promotion });
        match (text, text.parse::<f64>()) {
            ("on", _) => when(Some(OVERFLOW_THRESHOLD), Promotion::Fitting),
            ("paper", _) => when(Some(OVERFLOW_THRESHOLD), Promotion::Paper),
            ("off", _) => when(None, Promotion::Fitting),
            (_, Ok(threshold)) if threshold > 0.0 && threshold <= 1.0 => when(Some(threshold), Promotion::Fitting),
            _ => Err("write on, paper, off, or an overflow ratio above 0 and up to 1".into()),
        }
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// CPU threads, at most 1024; 0 for one per core.
    #[arg(long, value_name = "T", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    pub(crate) threads: u16,
    /// Run on the CUDA device of this number.
    #[cfg(feature = "cuda")]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) cuda: Option<usize>,
}

/// Measure loss and accuracy of a network.
#[derive(Debug, Args)]
#[command(
    after_help = "An ONNX network is evaluated in FP32 unless a method is given, a trainer file in its own formats.

Examples:
  bitbudget eval trained.onnx --data mnist:data/mnist
  bitbudget eval trained.onnx --data digits --method uniform-low --json -"
)]
pub(crate) struct EvalArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// What to evaluate on; see `bitbudget train --help`. The test examples, or all where there are none.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    /// Seed of synthetic data and of the random method.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Write the result as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Measure a training step: time, memory, and where the time goes.
#[derive(Debug, Args)]
#[command(
    after_help = "The first step is not counted. Memory is stated as predicted, as allocated by the executor, and as \
                        the growth of the process.

Examples:
  bitbudget bench net.onnx --batch 128 --method fp32
  bitbudget bench net.onnx --batch 128 --method demote --low-ratio 1.0 --threads 2 --json bench.json
  bitbudget bench net.onnx --method demote --simulated
  bitbudget bench net.onnx --assignment plan.toml"
)]
pub(crate) struct BenchArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Steps to measure, after one that is not counted.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) steps: usize,
    /// What to train on; see `bitbudget train --help`.
    #[arg(long, value_name = "DATA", default_value = "synthetic:1024")]
    pub(crate) data: DataSpec,
    /// Learning rate.
    #[arg(long, default_value_t = 0.1, allow_negative_numbers = true)]
    pub(crate) lr: f32,
    /// Loss scale: dynamic, a number, or none, which never skips a step and so updates parameters early.
    #[arg(long, value_name = "SCALE", default_value = "dynamic")]
    pub(crate) loss_scale: LossScaling,
    /// Seed of synthetic data and of the random method.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Store rounded tensors as FP32 numbers, as a simulation does, to see what packing saves.
    #[arg(long)]
    pub(crate) simulated: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Write the record as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Measure what rounding each tensor to each format would cost.
#[derive(Debug, Args)]
#[command(
    after_help = "A few batches run in FP32 at the network's present weights, which stay as they are. The profile holds ranges, \
                        overflow ratios, the cost of every format, and seconds; one profile serves every budget.

Examples:
  bitbudget profile net.onnx --data digits -o net.json
  bitbudget profile trained.onnx --data cifar10:data --batch 32 --batches 8 --formats bf16,e4m3,e5m2 -o -"
)]
pub(crate) struct ProfileArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// What to draw batches from; see `bitbudget train --help`.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    /// Examples per batch.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) batch: usize,
    /// The number of batches.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) batches: usize,
    /// Learning rate of the step that rounded gradients change.
    #[arg(long, default_value_t = 0.05, allow_negative_numbers = true)]
    pub(crate) lr: f32,
    /// Formats to round to.
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_value = "fp32,bf16,1-6-9,1-4-3,1-5-2")]
    pub(crate) formats: Vec<Format>,
    /// Loss scale at which gradients are rounded.
    #[arg(long, value_name = "SCALE", default_value_t = 65536.0, allow_negative_numbers = true)]
    pub(crate) loss_scale: f32,
    /// Seed of the order of examples and of synthetic data.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The JSON file to write ("-" for standard output).
    #[arg(short, long, value_name = "FILE.json")]
    pub(crate) output: PathBuf,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
