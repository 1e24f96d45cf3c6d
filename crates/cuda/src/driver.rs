//! What running programs asks of a device's driver.

use crate::emit::Launch;
use crate::source::Kernel;
use std::fmt;

/// A device: memory, kernels, and one queue in which everything happens in the order in which it was asked for.
///
/// Behind it stands NVIDIA's driver, the emulator, or what only counts its calls.
pub trait Driver: fmt::Debug + Send + Sync {
    /// The device in words.
    fn name(&self) -> String;

    /// Memory of so many bytes, which begins at a multiple of 256 and holds anything.
    ///
    /// # Errors
    /// If the device has no more.
    fn allocate(&self, bytes: usize) -> Result<u64, DriverError>;

    /// Gives memory back that [`Driver::allocate`] gave, once everything before has happened.
    fn release(&self, address: u64);

    /// Copies bytes to the device, which may be changed as soon as this returns.
    ///
    /// # Errors
    /// If the device fails.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DriverError>;

    /// Copies ranges of bytes from the device, and waits for everything before, once.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self, ranges: &[(u64, usize)]) -> Result<Vec<Vec<u8>>, DriverError>;

    /// Makes kernels ready for launches; those of names that it knows are.
    ///
    /// # Errors
    /// If the compiler refuses them.
    fn compile(&self, kernels: &[&Kernel]) -> Result<(), DriverError>;

    /// Launches of compiled kernels that can be replayed as one.
    ///
    /// # Errors
    /// If a kernel is not known, or the device fails.
    fn record(&self, launches: &[&Launch]) -> Result<Box<dyn Recording>, DriverError>;

    /// Waits for everything before.
    ///
    /// # Errors
    /// If the device fails.
    fn wait(&self) -> Result<(), DriverError>;
}

/// Recorded launches.
pub trait Recording: fmt::Debug + Send + Sync {
    /// Asks for them once more.
    ///
    /// # Errors
    /// If the device fails.
    fn replay(&self) -> Result<(), DriverError>;
}

/// Why a device does not do what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// It has too little memory.
    #[error("the device has no {} MiB left; give a smaller batch or --budget, or end what else runs there", .0.div_ceil(1 << 20))]
    Memory(usize),
    /// It cannot be used, or failed.
    #[error("{0}")]
    Device(String),
    /// The compiler refuses a kernel.
    #[error("the compiler of kernels: {0}")]
    Compiler(String),
}
