//! Where to run.

use super::whole;
use bitbudget::Machine;
use clap::{Args, ValueEnum};

/// How many threads a run has.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct ThreadsArgs {
    /// CPU threads of the run, at most 1024; 0 for one per core. Each has scratch memory, which counts in the peak; a trainer
    /// file runs by default on no more than its budget holds for.
    #[arg(long, value_name = "T", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u16>(0, 1024))]
    pub(crate) threads: u16,
}

/// The kinds of machines that `--target` names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TargetArg {
    /// This processor.
    Cpu,
    /// CUDA devices with tensor cores, from compute capability 8.0 on.
    Cuda,
}

/// What a trainer is planned for.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct MachineArgs {
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    /// The machine to plan memory and choose kernels for; it need not be present. By default cpu, or the trainer file's.
    #[arg(long, value_name = "MACHINE")]
    pub(crate) target: Option<TargetArg>,
}

impl MachineArgs {
    /// The machine that was asked for.
    pub(crate) fn machine(self) -> Option<Machine> {
        self.target.map(|target| match target {
            TargetArg::Cpu => Machine::Cpu,
            TargetArg::Cuda => Machine::Cuda,
        })
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,
    /// Run on the CUDA device of this number, in memory that is planned for it.
    #[cfg(feature = "cuda")]
    #[arg(long, value_name = "DEVICE", allow_negative_numbers = true, value_parser = whole::<usize>(0, u64::MAX))]
    pub(crate) cuda: Option<usize>,
}

impl DeviceArgs {
    /// The machine that programs are made for.
    pub(crate) fn machine(&self) -> Machine {
        #[cfg(feature = "cuda")]
        if self.cuda.is_some() {
            return Machine::Cuda;
        }
        Machine::Cpu
    }
}
