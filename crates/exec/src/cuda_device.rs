//! A CUDA device for programs: one stream, and a pool of memory that knows the most that was taken from it at once.

use crate::error::ExecError;
use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::CudaContext;
use candle_core::cuda_backend::cudarc::driver::result::{device::get_default_mem_pool, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute as Attribute;

/// Opens the device of a number.
pub(crate) fn open(ordinal: usize) -> Result<Device, ExecError> {
    let fault = |e: candle_core::Error| ExecError::new(format!("CUDA device {ordinal}"), e);
    if let Ok(count) = CudaContext::device_count()
        && usize::try_from(count).is_ok_and(|count| ordinal >= count)
    {
        let place = format!("CUDA device {ordinal}");
        return Err(ExecError::new(place, format!("no device has this number; found {count}, numbered from 0")));
    }
    // Steps run on any of the executor's threads, so that the stream must not be the calling thread's.
    let device = Device::new_cuda_with_stream(ordinal).map_err(fault)?;
    // SAFETY: everything on this device is done on its one stream, so that nothing has to be ordered between streams.
    unsafe { device.as_cuda_device().map_err(fault)?.disable_event_tracking() };
    // Else the pool gives all free memory back whenever the device is waited for. Devices without pools need nothing.
    set(&device, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX);
    set(&device, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0);
    Ok(device)
}

/// The most bytes that tensors and what operations need beside them took at once since the device was opened, if its
/// driver has pools of memory.
pub(crate) fn peak(device: &Device) -> Option<usize> {
    let device = device.as_cuda_device().ok()?;
    let context = device.cuda_stream().context().clone();
    if !context.has_async_alloc() {
        return None;
    }
    let mut bytes = 0u64;
    // SAFETY: the context has a valid device, whose default pool lives as long as the process; this attribute is a u64.
    let read = unsafe {
        get_default_mem_pool(context.cu_device()).and_then(|pool| {
            mem_pool::get_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, (&raw mut bytes).cast())
        })
    };
    read.ok().and_then(|()| usize::try_from(bytes).ok())
}

/// Sets an attribute that is a u64 where the device has a pool.
fn set(device: &Device, attribute: Attribute, mut value: u64) {
    let Ok(device) = device.as_cuda_device() else { return };
    let context = device.cuda_stream().context().clone();
    // SAFETY: as for the peak; a failure leaves the pool as it was.
    let _ = unsafe {
        get_default_mem_pool(context.cu_device())
            .and_then(|pool| mem_pool::set_attribute(pool, attribute, (&raw mut value).cast()))
    };
}
