//! What is kept from step to step.

use crate::error::{ExecError, without_backtrace};
use bitbudget_program::{Buffer, Program, Source};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Masters, states and constants by name, on the device.
#[derive(Debug, Default)]
pub struct Values {
    tensors: BTreeMap<String, Tensor>,
    /// The updates that the values have been through; Adam's bias corrections depend on it.
    pub updates: u32,
}

impl Values {
    /// Uploads what a program keeps: from `initial` by name, or zeros for what is not there.
    ///
    /// # Errors
    /// If a value's length differs from its buffer's, a constant has none, or memory runs out.
    pub fn new(program: &Program, initial: &BTreeMap<String, Vec<f32>>, device: &Device) -> Result<Values, ExecError> {
        let mut values = Values::default();
        for buffer in &program.buffers {
            if matches!(buffer.source, Source::Kept | Source::Constant) {
                let fault = |reason: String| ExecError::new(format!("`{}`", buffer.name), reason);
                let tensor = match initial.get(&buffer.name) {
                    Some(value) if value.len() == buffer.elements() => {
                        Tensor::from_slice(value, buffer.shape.as_slice(), device)
                    }
                    Some(value) => {
                        let (has, needs) = (value.len(), buffer.elements());
                        return Err(fault(format!(
                            "its value has {has} elements, its shape {:?} {needs}",
                            buffer.shape
                        )));
                    }
                    None if buffer.source == Source::Constant => return Err(fault("has no value".into())),
                    None => Tensor::zeros(buffer.shape.as_slice(), candle_core::DType::F32, device),
                };
                values
                    .tensors
                    .insert(buffer.name.clone(), tensor.map_err(|e| fault(without_backtrace(&e).to_string()))?);
            }
        }
        Ok(values)
    }

    /// The value of a name, row-major.
    ///
    /// # Errors
    /// If there is none, or the device fails.
    pub fn get(&self, name: &str) -> Result<Vec<f32>, ExecError> {
        let fault = |reason: String| ExecError::new(format!("`{name}`"), reason);
        let tensor = self.tensors.get(name).ok_or_else(|| fault("is not kept".into()))?;
        tensor.flatten_all().and_then(|t| t.to_vec1()).map_err(|e| fault(without_backtrace(&e).to_string()))
    }

    /// All values by name.
    ///
    /// # Errors
    /// If the device fails.
    pub fn download(&self) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        self.tensors.keys().map(|name| Ok((name.clone(), self.get(name)?))).collect()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }

    /// The value of a buffer, whose shape it has.
    pub(crate) fn checked(&self, buffer: &Buffer) -> Result<&Tensor, ExecError> {
        let fault = |reason: String| ExecError::new(format!("`{}`", buffer.name), reason);
        let kept = self.tensors.get(&buffer.name).ok_or_else(|| fault("has no value".into()))?;
        let shape = &buffer.shape;
        match kept.dims() == shape {
            true => Ok(kept),
            false => Err(fault(format!("its value has shape {:?}, the program's {shape:?}", kept.dims()))),
        }
    }

    /// Puts a new value in place of the old one.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn replace(&mut self, buffer: &Buffer, tensor: Tensor) {
        self.tensors.insert(buffer.name.clone(), tensor);
    }
}
