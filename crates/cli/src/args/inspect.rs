//! Arguments of the commands that show what was compiled.

use super::{AssignmentArgs, MachineArgs, OptimizerArgs};
use bitbudget::Card;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Show the contents of a network or trainer file: operators, parameters, work, program.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget inspect net.onnx
  bitbudget inspect net.onnx --text training
  bitbudget inspect net.onnx --text program --method operator | less
  bitbudget inspect net.onnx --budget 40% --cuda-source > step.cu
  bitbudget inspect net.onnx --budget 40% --roofline h100
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
    /// Print the kernels of the training step as CUDA C, in one file that nvcc and NVRTC compile; implies --target cuda.
    #[arg(long, conflicts_with_all = ["text", "dot"])]
    pub(crate) cuda_source: bool,
    /// Print the least time of a training step on a card that need not be there, by instruction: a100, h100, h200 or rtx4090;
    /// implies --target cuda.
    #[arg(long, value_name = "CARD", conflicts_with_all = ["text", "dot", "cuda_source"])]
    pub(crate) roofline: Option<Card>,
    /// Write the overview, or the times of --roofline, as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "dot", "cuda_source"])]
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

/// Show the effect of rewriting: which rules fired where and how much each saved, and why a tensor is stored as it is.
///
/// A rule's saving is the difference to compiling without it. Seconds are estimates from work and bytes. Under a budget each
/// choice for a tensor has a cost: the harm of rounding plus the time of recomputation, and the price of its memory when the
/// search ended.
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
    /// Write everything as JSON ("-" for standard output).
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
