//! How parameters are updated.

use super::{Given, below_1, within_fp32};
use clap::{Args, ValueEnum};

/// How parameters are updated.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Optimizer")]
pub(crate) struct OptimizerArgs {
    #[command(flatten)]
    pub(crate) given: Given,
    /// Update rule [default: that of the assignment file, or sgd].
    #[arg(long, value_name = "RULE")]
    pub(crate) optimizer: Option<OptimizerKind>,
    /// Momentum of sgd [default: 0.9].
    #[arg(long, allow_negative_numbers = true, value_parser = below_1)]
    pub(crate) momentum: Option<f64>,
    /// Weight decay [default: 5e-4 for sgd, 0.01 for adamw].
    #[arg(long, allow_negative_numbers = true, value_parser = within_fp32)]
    pub(crate) weight_decay: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    Adamw,
}
