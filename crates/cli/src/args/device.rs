//! Where to run.

use super::whole;
use clap::Args;

/// How many threads a run has.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct ThreadsArgs {
    /// CPU threads of the run, at most 1024; 0 for one per core. Each has scratch memory, which counts in the peak; a trainer
    /// file runs by default on no more than its budget holds for.
    #[arg(long, value_name = "T", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u16>(0, 1024))]
    pub(crate) threads: u16,
}

/// Where to run.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    /// Run on the CUDA device of this number.
    #[cfg(feature = "cuda")]
    #[arg(long, value_name = "DEVICE", allow_negative_numbers = true, value_parser = whole::<usize>(0, u64::MAX))]
    pub(crate) cuda: Option<usize>,
}
