//! Where to run.

use super::whole;
use clap::Args;

/// Where to run.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// CPU threads, at most 1024; 0 for one per core.
    #[arg(long, value_name = "T", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u16>(0, 1024))]
    pub(crate) threads: u16,
    /// Run on the CUDA device of this number.
    #[cfg(feature = "cuda")]
    #[arg(long, value_name = "DEVICE", allow_negative_numbers = true, value_parser = whole::<usize>(0, u64::MAX))]
    pub(crate) cuda: Option<usize>,
}
