//! Arguments of the commands that measure accuracy, time and the cost of rounding.

use super::{AssignmentArgs, DeviceArgs, FittingArgs, LossArgs, NetworkArgs, OptimizerArgs, ThreadsArgs, fp32, whole};
use bitbudget::Format;
use bitbudget_train::data::DataSpec;
use bitbudget_train::loss_scale::LossScaling;
use clap::Args;
use std::path::PathBuf;

/// Measure loss and accuracy of a network, or what else fits its loss.
#[derive(Debug, Args)]
#[command(
    after_help = "An ONNX network is evaluated in FP32 unless a method is given, a trainer file in its own formats.

Examples:
  bitbudget eval trained.onnx --data mnist:data/mnist
  bitbudget eval trained.onnx --data digits --method uniform-low --json -
  bitbudget eval prices.onnx --data npz:houses.npz --loss mse"
)]
pub(crate) struct EvalArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Evaluation data; see `bitbudget train --help`. Test examples are used, or all if there are none.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    /// Seed of synthetic data and of the random method.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// Write the result as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) fitting: FittingArgs,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
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
  bitbudget bench net.onnx --assignment plan.toml
  bitbudget bench prices.onnx --loss mse --batch 32"
)]
pub(crate) struct BenchArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Steps to measure, after one that is not counted.
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) steps: usize,
    /// Training data; see `bitbudget train --help`. Synthetic data are random arrays where the network takes no images or rows with a class
    /// for each [default: synthetic:1024, or as many as the batch has].
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<DataSpec>,
    /// Learning rate.
    #[arg(long, default_value_t = 0.1, allow_negative_numbers = true, value_parser = fp32)]
    pub(crate) lr: f32,
    /// Loss scale: dynamic, a number, or none, which never skips a step and so updates parameters early.
    #[arg(long, value_name = "SCALE", default_value = "dynamic", allow_negative_numbers = true)]
    pub(crate) loss_scale: LossScaling,
    /// Seed of synthetic data and of the random method.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// Store rounded tensors as FP32 numbers, as a simulation does, to measure the effect of packing.
    #[arg(long)]
    pub(crate) simulated: bool,
    /// Write the record as JSON ("-" for standard output).
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
    pub(crate) fitting: FittingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Measure the cost of rounding each tensor to each format.
#[derive(Debug, Args)]
#[command(
    after_help = "A few batches run in FP32 at the network's present weights and change nothing. The profile holds ranges, \
                        overflow ratios, the cost of every format, and seconds; one profile serves every budget.

Examples:
  bitbudget profile net.onnx --data digits -o net.json
  bitbudget profile trained.onnx --data cifar10:data --batch 32 --batches 8 --formats bf16,e4m3,e5m2 -o -
  bitbudget profile prices.onnx --loss mse --data npz:houses.npz -o prices.json"
)]
pub(crate) struct ProfileArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Data that batches are drawn from; see `bitbudget train --help`.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    /// Examples per batch.
    #[arg(long, value_name = "N", default_value_t = 16, allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) batch: usize,
    /// Number of batches.
    #[arg(long, value_name = "N", default_value_t = 4, allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) batches: usize,
    /// Learning rate of the step in which the effect of rounded gradients is measured.
    #[arg(long, default_value_t = 0.05, allow_negative_numbers = true, value_parser = fp32)]
    pub(crate) lr: f32,
    /// Formats to round to.
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_value = "fp32,bf16,1-6-9,1-4-3,1-5-2")]
    pub(crate) formats: Vec<Format>,
    /// Loss scale at which gradients are rounded.
    #[arg(long, value_name = "SCALE", default_value_t = 65536.0, allow_negative_numbers = true, value_parser = fp32)]
    pub(crate) loss_scale: f32,
    /// Seed of the order of examples and of synthetic data.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// The JSON file to write ("-" for standard output).
    #[arg(short, id = "out", long = "out", value_name = "FILE.json")]
    pub(crate) output: PathBuf,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) loss: LossArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) fitting: FittingArgs,
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
}
