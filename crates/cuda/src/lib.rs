//! Writes the CUDA C of a program's kernels; no device.
//!
//! Kernels are C that nvcc, NVRTC and the host's compiler take alike. What they use of the machine are the functions of [`MACHINE`], each with
//! a body for the device and one for the emulator.

/// `machine.h`: memory, barriers, what the threads of a warp do together, tensor cores.
pub const MACHINE: &str = include_str!("../device/machine.h");

/// `formats.h`: rounding, packing and unpacking.
pub const FORMATS: &str = include_str!("../device/formats.h");
