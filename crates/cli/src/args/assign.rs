//! Arguments of the commands that assign formats and write the result.

use super::{AssignmentArgs, MachineArgs, OptimizerArgs, PageArgs, whole};
use clap::Args;
use std::path::PathBuf;

/// Choose a format for every tensor and show the tensor groups.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget assign net.onnx --batch 128 --method demote --low-ratio 0.5
  bitbudget assign net.onnx --budget 300MiB
  bitbudget assign net.onnx --budget 300MiB --profile net.profile
  bitbudget assign net.onnx --budget 40% --optimizer adamw -o plan.toml
  bitbudget assign net.onnx --budget 40% --formats fp32,bf16 --backward-formats fp32,bf16 --max-slowdown 10%
  bitbudget assign net.onnx --method operator --json -
  bitbudget assign net.onnx --budget 40% --pin 'Conv*=bf16' --exclude 'BatchNormalization*' -o plan.toml
  bitbudget assign net.onnx --from plan.toml --budget 30% -o plan.toml

Patterns: * is any text, ? one character. A pattern that matches operator types of the network (conv, or ONNX's Conv, \
in any case) selects all tensors of these operators, parameters and gradients included; otherwise it selects the \
tensors whose names it matches, with their gradients. Names beat types, then patterns without * and ? beat those with \
them. Pinned tensors are not promoted in training. The network's input and the loss can be pinned to fp32 only, and, but with ilp, \
to the high and the low format.

The network's input and the loss: fp32 keeps them in FP32, and ilp too, unless nothing but another method's assignment \
fits the budget. operator and amp keep them high. The other methods treat them as any tensor, as in the paper: \
uniform-high makes them high, uniform-low low, and demote, demote-smallest and random lower the input with the first \
group and the loss with the last one.")]
pub(crate) struct AssignArgs {
    /// An ONNX network.
    pub(crate) model: PathBuf,
    /// Solve again with the method, formats, pins, budget and optimizer of a file from -o; options override them.
    #[arg(long, value_name = "FILE", conflicts_with = "assignment")]
    pub(crate) from: Option<PathBuf>,
    /// Write the assignment, to edit, to use (--assignment) or to solve again (--from): .toml or .json ("-" for TOML on
    /// standard output, and nothing else).
    #[arg(short, id = "out", long = "out", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Seed of the random method [default: 0].
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: Option<u64>,
    /// Write a report of the assignment as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
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
    /// Seed of the random method.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// The trainer file to write.
    #[arg(short, id = "out", long = "out", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Also write the network as ONNX, with each operator's formats and their reasons in its metadata, which Netron shows.
    #[arg(long, value_name = "FILE.onnx")]
    pub(crate) annotated_onnx: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
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
