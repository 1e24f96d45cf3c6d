//! Pinned memory, through which the processor's numbers go to the device.

use super::errors::of_driver;
use bitbudget_cuda::DriverError;
use candle_core::cuda_backend::cudarc::driver::{CudaStream, PinnedHostSlice, result};
use std::sync::Arc;

/// Larger copies are rare, so that they need no memory of their own.
const MOST: usize = 256 << 20;

/// Pinned memory that grows with what is written at once.
#[derive(Debug, Default)]
pub(super) struct Staging {
    memory: Option<PinnedHostSlice<u8>>,
    /// Whether a copy from it may be under way.
    is_read: bool,
}

impl Staging {
    /// Copies bytes to the device, which may be changed as soon as this returns.
    pub(super) fn write(&mut self, stream: &Arc<CudaStream>, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.is_read {
            stream.synchronize().map_err(of_driver)?;
            self.is_read = false;
        }
        if bytes.len() > MOST {
            // SAFETY: the range belongs to an allocation; `bytes` stay until the stream was waited for.
            unsafe { result::memcpy_htod_async(address, bytes, stream.cu_stream()) }.map_err(of_driver)?;
            return stream.synchronize().map_err(of_driver);
        }
        let staged = &mut self.memory(stream, bytes.len())?[..bytes.len()];
        staged.copy_from_slice(bytes);
        // SAFETY: the range belongs to an allocation; the pinned memory stays as it is until the stream was waited for.
        unsafe { result::memcpy_htod_async(address, staged, stream.cu_stream()) }.map_err(of_driver)?;
        self.is_read = true;
        Ok(())
    }

    /// Says that the stream was waited for.
    pub(super) fn is_free(&mut self) {
        self.is_read = false;
    }

    fn memory(&mut self, stream: &Arc<CudaStream>, bytes: usize) -> Result<&mut [u8], DriverError> {
        if self.memory.as_ref().is_none_or(|memory| memory.len() < bytes) {
            self.memory = None;
            // SAFETY: bytes are written before the device reads them.
            self.memory = Some(unsafe { stream.context().alloc_pinned(bytes) }.map_err(of_driver)?);
        }
        match &mut self.memory {
            Some(memory) => memory.as_mut_slice().map_err(of_driver),
            None => Err(DriverError::Device("there is no pinned memory".into())),
        }
    }
}
