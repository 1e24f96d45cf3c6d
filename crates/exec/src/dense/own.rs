//! Operators with kernels of our own: those of the CPU there, those of `cuda/` on CUDA.

use crate::cpu;
use crate::error::Fault;
use bitbudget_ir::Op;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Shape, Storage, Tensor};
#[cfg(feature = "cuda")]
use {
    crate::device_kernels::{Window, convolve, indices, pool, scatter},
    candle_core::CudaStorage,
};

/// Threads that a sum over a batch is shared among, if its results are fewer.
#[cfg(feature = "cuda")]
const THREADS: usize = 1 << 18;

/// An operator with the shape of its result.
struct Own<'o> {
    op: &'o Op,
    shape: &'o [usize],
}

/// The result on one operand.
pub(super) fn one(op: &Op, x: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    Ok(x.contiguous()?.apply_op1_no_bwd(&Own { op, shape })?)
}

/// The result on two operands; the gradient of a weight may be several parts of its sum, along a dimension in front.
pub(super) fn two(op: &Op, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    Ok(a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Own { op, shape })?)
}

/// The result of an operator that has kernels of the CPU only, whatever the device.
pub(super) fn on_host(op: &Op, operands: &[&Tensor], shape: &[usize]) -> Result<Tensor, Fault> {
    let device = operands.first().map_or(&Device::Cpu, |x| x.device());
    let here: Vec<Tensor> =
        operands.iter().map(|x| x.to_device(&Device::Cpu)?.contiguous()).collect::<candle_core::Result<_>>()?;
    let guards: Vec<_> = here.iter().map(Tensor::storage_and_layout).collect();
    let mut stored = Vec::new();
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cpu(storage) => stored.push((storage, *layout)),
            _ => return Err(Fault::Operands("operands were not copied to the host".into())),
        }
    }
    match cpu::compute_new(op, &stored, shape)? {
        CpuStorage::F32(numbers) => Ok(Tensor::from_vec(numbers, shape, device)?),
        _ => Err(Fault::Operands(format!("{} does not give FP32 numbers", op.name()))),
    }
}

impl Own<'_> {
    fn cpu(&self, operands: &[(&CpuStorage, &Layout)]) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((cpu::compute_new(self.op, operands, self.shape)?, self.shape.into()))
    }
}

impl CustomOp1 for Own<'_> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.cpu(&[(x, layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let (dims, shape, elements) = (layout.dims(), self.shape, self.shape.iter().product());
        let x = (x, layout);
        let y = match self.op {
            Op::MaxPool(op) => pool("max_pool", &Window::pooling(&op.window(), false, dims, shape)?, x, elements)?,
            Op::MaxPoolIndices(op) => indices(&Window::pooling(&op.window(), false, dims, shape)?, x, elements)?,
            Op::AveragePool(op) => {
                let window = Window::pooling(&op.window(), op.count_include_pad, dims, shape)?;
                pool("average_pool", &window, x, elements)?
            }
            Op::AveragePoolGrad(op) => {
                let window = Window::pooling(&op.window(), op.count_include_pad, shape, dims)?;
                pool("average_pool_grad", &window, x, elements)?
            }
            other => candle_core::bail!("{} has no CUDA kernel on one operand", other.name()),
        };
        Ok((y, shape.into()))
    }
}

impl CustomOp2 for Own<'_> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.cpu(&[(a, a_layout), (b, b_layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (a_dims, b_dims, shape) = (a_layout.dims(), b_layout.dims(), self.shape);
        let (a, b, elements) = ((a, a_layout), (b, b_layout), shape.iter().product::<usize>());
        let y = match self.op {
            Op::Conv(op) => convolve("conv", &Window::convolution(op, a_dims, b_dims, shape)?, a, b, elements)?,
            Op::ConvGradInput(op) => {
                let window = Window::convolution(&op.forward(), shape, b_dims, a_dims)?;
                convolve("conv_grad_input", &window, a, b, elements)?
            }
            Op::ConvGradWeight(op) => {
                let window = Window::convolution(&op.forward(), a_dims, shape, b_dims)?;
                // So many threads that the device has work, each of which adds for some images.
                let parts = (THREADS / elements).clamp(1, a_dims.first().copied().unwrap_or(1));
                let dw = convolve("conv_grad_weight", &window, a, b, elements * parts)?;
                return Ok((dw, [&[parts], shape].concat().into()));
            }
            Op::MaxPoolGrad(op) => scatter(&Window::pooling(&op.window(), false, shape, a_dims)?, a, b, elements)?,
            other => candle_core::bail!("{} has no CUDA kernel on two operands", other.name()),
        };
        Ok((y, shape.into()))
    }
}
