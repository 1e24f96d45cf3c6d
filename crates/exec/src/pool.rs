//! Storage that ended and can be used again.

use bitbudget_ir::DType;
use bitbudget_program::Buffer;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Ended tensors by element type and number of elements.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: BTreeMap<(u8, usize), Vec<Tensor>>,
}

/// The candle type that stores elements of a type.
pub(crate) fn candle_type(dtype: DType) -> candle_core::DType {
    match dtype {
        DType::F32 => candle_core::DType::F32,
        DType::Label => candle_core::DType::U32,
        DType::Index8 => candle_core::DType::U8,
    }
}

fn key(buffer: &Buffer) -> (u8, usize) {
    (buffer.dtype as u8, buffer.elements())
}

impl Pool {
    /// A tensor for a buffer; its elements are undefined.
    pub(crate) fn take(&mut self, buffer: &Buffer, device: &Device) -> candle_core::Result<Tensor> {
        match self.free.get_mut(&key(buffer)).and_then(Vec::pop) {
            Some(tensor) => tensor.reshape(buffer.shape.as_slice()),
            None => Tensor::zeros(buffer.shape.as_slice(), candle_type(buffer.dtype), device),
        }
    }

    /// Takes back the tensor of a buffer that ended.
    pub(crate) fn give(&mut self, buffer: &Buffer, tensor: Tensor) {
        self.free.entry(key(buffer)).or_default().push(tensor);
    }
}
