//! Arguments.

mod assign;
mod assignment;
mod budget;
mod compare;
mod data;
mod device;
mod given;
mod inspect;
mod loss;
mod measure;
mod network;
mod number;
mod optimizer;
mod report;
mod shell;
mod train;
mod zoo;

use clap::{Parser, Subcommand};

pub(crate) use assign::{AssignArgs, CompileArgs};
pub(crate) use assignment::{AssignmentArgs, PinArg};
pub(crate) use budget::{BudgetArgs, FormatsArgs, Percent};
pub(crate) use compare::{CompareArgs, PrecisionArgs};
pub(crate) use data::FittingArgs;
pub(crate) use device::{DeviceArgs, MachineArgs, TargetArg, ThreadsArgs};
pub(crate) use given::{Given, options_of};
pub(crate) use inspect::{ExplainArgs, InspectArgs, TextForm};
pub(crate) use loss::LossArgs;
pub(crate) use measure::{BenchArgs, EvalArgs, ProfileArgs};
pub(crate) use network::NetworkArgs;
use number::{below_1, fp32, whole, within, within_fp32};
pub(crate) use optimizer::{OptimizerArgs, OptimizerKind};
pub(crate) use report::{PageArgs, ReportArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use train::{PromotionWhen, SettingsArgs, TrainArgs};
pub(crate) use zoo::ZooArgs;

/// Train a neural network in less memory: bitbudget reads an ONNX network, chooses a floating-point format for every tensor of the
/// training step so that its peak memory fits your budget, and trains it.
#[derive(Debug, Parser)]
#[command(
    name = "bitbudget",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  bitbudget zoo squeezenet --width 0.25 -o net.onnx
  bitbudget assign net.onnx --budget 40%
  bitbudget train net.onnx --data digits --batch 64 --lr 0.05 --budget 40% --save trained.onnx

`bitbudget <COMMAND> --help` explains a command with examples.

Exit status:
  0  success
  2  a wrong argument, file or network
  3  a training diverged, or numbers of a profile are not finite
  4  too little memory"
)]
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
