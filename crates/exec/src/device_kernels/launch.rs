//! Launches on CUDA.

use super::{Rounding, Window};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{Error, Layout, Result};

/// A module of kernels: its name and its PTX.
type Module = (&'static str, &'static str);

const ROUND: Module = ("bitbudget_round", include_str!(concat!(env!("OUT_DIR"), "/round.ptx")));
const CONV: Module = ("bitbudget_conv", include_str!(concat!(env!("OUT_DIR"), "/conv.ptx")));
const POOL: Module = ("bitbudget_pool", include_str!(concat!(env!("OUT_DIR"), "/pool.ptx")));

// SAFETY: the struct is `repr(C)`, holds numbers only and has the layout of its namesake in `cuda/kernel.h`.
unsafe impl DeviceRepr for Window {}
// SAFETY: the struct is `repr(C)`, holds numbers only and has the layout of its namesake in `cuda/round.cu`.
unsafe impl DeviceRepr for Rounding {}

/// A contiguous operand.
type Operand<'s> = (&'s CudaStorage, &'s Layout);

fn view<'s, T: CudaDType>((storage, layout): Operand<'s>) -> Result<CudaView<'s, T>> {
    let (begin, end) = layout.contiguous_offsets().ok_or_else(|| Error::Msg("an operand is not contiguous".into()))?;
    Ok(storage.as_cuda_slice::<T>()?.slice(begin..end))
}

/// One thread per element, 256 in a block.
fn threads(elements: usize) -> Result<LaunchConfig> {
    let blocks = u32::try_from(elements.div_ceil(256)).ok().filter(|&b| b <= i32::MAX as u32);
    let blocks = blocks.ok_or_else(|| Error::Msg(format!("{elements} elements are too many for one launch")))?;
    Ok(LaunchConfig { grid_dim: (blocks.max(1), 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 })
}

fn wrap<T: CudaDType>(result: CudaSlice<T>, device: &CudaDevice) -> CudaStorage {
    CudaStorage::wrap_cuda_slice(result, device.clone())
}

/// Memory for a result that a kernel writes as a whole.
fn uninit<T: DeviceRepr>(device: &CudaDevice, n: usize) -> Result<CudaSlice<T>> {
    // SAFETY: the callers' kernels write all `n` elements before anything reads one.
    unsafe { device.alloc::<T>(n) }
}

/// Rounds `x`; the second result is how many of its elements overflow, underflow and are not finite.
pub(crate) fn round(rounding: &Rounding, x: Operand<'_>) -> Result<(CudaStorage, CudaStorage)> {
    let (device, n) = (&x.0.device, x.1.shape().elem_count());
    let x = view::<f32>(x)?;
    let mut y = uninit::<f32>(device, n)?;
    let mut counts = device.alloc_zeros::<i64>(3)?;
    let function = device.get_or_load_custom_func("round_to_format", ROUND.0, ROUND.1)?;
    let (mut launch, elements) = (function.builder(), n as u64);
    launch.arg(rounding).arg(&elements).arg(&x).arg(&mut y).arg(&mut counts);
    // SAFETY: the arguments are those that the kernel declares; each thread below `n` reads an element of x and writes
    // one of y, which have `n` elements, and adds to the three counters.
    unsafe { launch.launch(threads(n)?) }.w()?;
    Ok((wrap(y, device), wrap(counts, device)))
}

/// Runs a convolution's kernel on two operands; the result has `elements` elements.
pub(crate) fn convolve(
    kernel: &'static str,
    window: &Window,
    a: Operand<'_>,
    b: Operand<'_>,
    elements: usize,
) -> Result<CudaStorage> {
    two::<f32>(CONV, kernel, window, a, b, elements)
}

/// Runs the gradient of max pooling on `dy` and indices.
pub(crate) fn scatter(window: &Window, dy: Operand<'_>, indices: Operand<'_>, elements: usize) -> Result<CudaStorage> {
    two::<u8>(POOL, "max_pool_grad", window, dy, indices, elements)
}

/// Runs a pooling kernel on one operand.
pub(crate) fn pool(kernel: &'static str, window: &Window, x: Operand<'_>, elements: usize) -> Result<CudaStorage> {
    one::<f32>(kernel, window, x, elements)
}

/// The positions of the maxima of `x`.
pub(crate) fn indices(window: &Window, x: Operand<'_>, elements: usize) -> Result<CudaStorage> {
    one::<u8>("max_pool_indices", window, x, elements)
}

fn one<R: CudaDType + DeviceRepr>(
    kernel: &'static str,
    window: &Window,
    x: Operand<'_>,
    n: usize,
) -> Result<CudaStorage> {
    let device = &x.0.device;
    let x = view::<f32>(x)?;
    let mut y = uninit::<R>(device, n)?;
    let function = device.get_or_load_custom_func(kernel, POOL.0, POOL.1)?;
    let (mut launch, elements) = (function.builder(), n as u64);
    launch.arg(window).arg(&elements).arg(&x).arg(&mut y);
    // SAFETY: the arguments are those that the pooling kernels declare; each thread below `n` writes one of the `n`
    // elements of the result and reads positions that it has checked to be inside the window's input, whose sizes are
    // those of the operand's shape.
    unsafe { launch.launch(threads(n)?) }.w()?;
    Ok(wrap(y, device))
}

fn two<B: CudaDType>(
    module: Module,
    kernel: &'static str,
    window: &Window,
    a: Operand<'_>,
    b: Operand<'_>,
    n: usize,
) -> Result<CudaStorage> {
    let device = &a.0.device;
    let (a, b) = (view::<f32>(a)?, view::<B>(b)?);
    let mut y = uninit::<f32>(device, n)?;
    let function = device.get_or_load_custom_func(kernel, module.0, module.1)?;
    let (mut launch, elements) = (function.builder(), n as u64);
    launch.arg(window).arg(&elements).arg(&a).arg(&b).arg(&mut y);
    // SAFETY: the arguments are those that the convolution kernels and `max_pool_grad` declare; each thread below `n`
    // writes one of the `n` elements of the result and reads positions that it has checked to be inside the window's
    // operands, whose sizes are those of their shapes.
    unsafe { launch.launch(threads(n)?) }.w()?;
    Ok(wrap(y, device))
}
