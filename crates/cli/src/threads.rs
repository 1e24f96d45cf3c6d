//! The threads of a run.

use crate::args::{DeviceArgs, MachineArgs, ThreadsArgs};
use crate::output::{bytes, counted, remark};
use anyhow::{Context, Result};
use bitbudget::{Compiled, Executor, Machine, Target};

/// The threads that a run has unless it is told otherwise.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The threads that the options ask for.
pub(crate) fn threads(args: ThreadsArgs) -> usize {
    if args.threads == 0 { default_threads() } else { usize::from(args.threads) }
}

/// The executor that the device options ask for, with so many threads.
pub(crate) fn executor(args: &DeviceArgs, threads: usize) -> Result<Executor> {
    on(target(args), threads)
}

/// An executor on this processor.
pub(crate) fn on_cpu(threads: usize) -> Result<Executor> {
    on(Target::Cpu, threads)
}

fn on(target: Target, threads: usize) -> Result<Executor> {
    Executor::new(target, threads).with_context(|| {
        let threads = counted(threads as u64, "thread", "threads");
        format!("cannot start a run with {threads}; where these are too many, give fewer (--threads)")
    })
}

#[cfg(feature = "cuda")]
fn target(args: &DeviceArgs) -> Target {
    args.cuda.map_or(Target::Cpu, Target::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn target(_: &DeviceArgs) -> Target {
    Target::Cpu
}

/// The threads of a run on a device; the trainer is lowered for these.
///
/// # Errors
/// As for [`settled`].
pub(crate) fn settle_on(args: &DeviceArgs, compiled: &mut Compiled, quiet: bool) -> Result<usize> {
    settled(args.threads, args.machine(), compiled, quiet)
}

/// The threads of a run on the machine that is asked for, or the trainer's; the trainer is lowered for these.
///
/// # Errors
/// As for [`settled`].
pub(crate) fn settle(args: MachineArgs, compiled: &mut Compiled, quiet: bool) -> Result<usize> {
    settled(args.threads, args.machine().unwrap_or(compiled.lowering.machine), compiled, quiet)
}

/// The threads of a run on a machine; the trainer is lowered for these. A trainer file may have been compiled for fewer: without --threads
/// the run has as many as its budget holds for.
///
/// # Errors
/// If --threads asks for more than the trainer's budget holds for, or it does not hold on the machine.
fn settled(args: ThreadsArgs, machine: Machine, compiled: &mut Compiled, quiet: bool) -> Result<usize> {
    let wanted = threads(args);
    let settled = match args.threads {
        0 => compiled.threads_within_budget(machine, wanted)?,
        _ => wanted,
    };
    compiled.lower_for(machine, settled)?;
    if let Some(solved) = compiled.solved.as_ref().filter(|_| settled < wanted && !quiet) {
        let (threads, budget) = (counted(settled as u64, "thread", "threads"), bytes(solved.budget as f64));
        remark("note", format!("runs on {threads}: the budget of {budget} holds for {settled}, not for {wanted}"));
    }
    Ok(settled)
}
