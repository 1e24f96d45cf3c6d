//! Where tests run dense operations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its functions too")]

use candle_core::Device;

/// The first GPU with feature `cuda`, else this processor.
pub(crate) fn dense() -> Device {
    #[cfg(feature = "cuda")]
    {
        static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
        DEVICE.get_or_init(|| crate::cuda_device::open(0).unwrap()).clone()
    }
    #[cfg(not(feature = "cuda"))]
    Device::Cpu
}
