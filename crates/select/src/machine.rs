//! The kinds of machines that there are.

use crate::cpu::Cpu;
use crate::cuda::Cuda;
use crate::target::Target;
use bitbudget_program::Machine;

/// What the kernels of a kind of machine can do.
pub fn target(machine: Machine) -> &'static dyn Target {
    match machine {
        Machine::Cpu => &Cpu,
        Machine::Cuda => &Cuda,
    }
}
