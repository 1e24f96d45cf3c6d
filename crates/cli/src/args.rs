//! Arguments.

mod assign;
mod assignment;
mod budget;
mod compare;
mod device;
mod inspect;
mod measure;
mod network;
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
pub(crate) use device::DeviceArgs;
pub(crate) use inspect::{ExplainArgs, InspectArgs, TextForm};
pub(crate) use measure::{BenchArgs, EvalArgs, ProfileArgs};
pub(crate) use network::NetworkArgs;
pub(crate) use optimizer::{OptimizerArgs, OptimizerKind};
pub(crate) use report::{PageArgs, ReportArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use train::{SettingsArgs, TrainArgs};
pub(crate) use zoo::ZooArgs;

/// Compiles an ONNX network into a mixed-precision trainer.
#[derive(Debug, Parser)]
#[command(
    name = "bitbudget",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Exit status: 0 success; 2 a wrong argument, file or network; 3 a training diverged, or numbers of a profile are not finite."
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
