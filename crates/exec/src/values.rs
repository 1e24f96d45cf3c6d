//! Values that are kept from step to step.

use crate::error::ExecError;
use bitbudget_program::{Buffer, Program, Progress, Source};
use candle_core::{CpuStorage, Device, Storage, Tensor};
use std::collections::BTreeMap;

/// Masters, states and constants by name, on the device.
#[derive(Debug, Default)]
pub struct Values {
    tensors: BTreeMap<String, Tensor>,
    /// How far they have been trained; the training loop counts.
    pub progress: Progress,
    /// Values that no program has read so far, on the host.
    rest: BTreeMap<String, Vec<f32>>,
}

impl Values {
    /// Uploads what a program keeps: from `initial` by name, or zeros for what is not there.
    ///
    /// What `initial` has beside that, as parameters and constants that rewriting removed, is kept as it is, for
    /// [`Values::download`] and for other programs of the same network.
    ///
    /// # Errors
    /// If a value's length differs from its buffer's, a constant has none, or memory runs out.
    pub fn new(program: &Program, initial: &BTreeMap<String, Vec<f32>>, device: &Device) -> Result<Values, ExecError> {
        let mut values = Values::default();
        for buffer in held(program) {
            let place = || format!("`{}`", buffer.name);
            let tensor = match initial.get(&buffer.name) {
                Some(value) => uploaded(buffer, value, device)?,
                None if buffer.source == Source::Constant => {
                    return Err(ExecError::inputs(place(), "has no value".into()));
                }
                None => Tensor::zeros(buffer.shape.as_slice(), candle_core::DType::F32, device)
                    .map_err(|e| ExecError::new(place(), e))?,
            };
            values.tensors.insert(buffer.name.clone(), tensor);
        }
        let rest = initial.iter().filter(|(name, _)| !values.tensors.contains_key(*name));
        values.rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(values)
    }

    /// Uploads what a program keeps that none before it did, where there is a value for it.
    pub(crate) fn serve(&mut self, program: &Program, device: &Device) -> Result<(), ExecError> {
        for buffer in held(program) {
            if let Some((name, value)) = self.rest.remove_entry(&buffer.name) {
                self.tensors.insert(name, uploaded(buffer, &value, device)?);
            }
        }
        Ok(())
    }

    /// The value of a name, row-major.
    ///
    /// # Errors
    /// If there is none, or the device fails.
    pub fn get(&self, name: &str) -> Result<Vec<f32>, ExecError> {
        let place = || format!("`{name}`");
        let tensor = self.tensors.get(name).ok_or_else(|| ExecError::inputs(place(), "is not kept".into()))?;
        tensor.flatten_all().and_then(|t| t.to_vec1()).map_err(|e| ExecError::new(place(), e))
    }

    /// All values by name, those included that no program has read.
    ///
    /// # Errors
    /// If the device fails.
    pub fn download(&self) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        let mut all = self.rest.clone();
        for name in self.tensors.keys() {
            all.insert(name.clone(), self.get(name)?);
        }
        Ok(all)
    }

    /// Bytes of the values that programs read.
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
    }

    /// The value of a buffer, whose shape it has.
    pub(crate) fn checked(&self, buffer: &Buffer) -> Result<&Tensor, ExecError> {
        let fault = |reason: String| ExecError::inputs(format!("`{}`", buffer.name), reason);
        let kept = self.tensors.get(&buffer.name).ok_or_else(|| fault("has no value".into()))?;
        let shape = &buffer.shape;
        match kept.dims() == shape {
            true => Ok(kept),
            false => Err(fault(format!("its value has shape {:?}, the program's {shape:?}", kept.dims()))),
        }
    }

    /// Whether the values of some buffers are finite.
    pub(crate) fn finite(&self, buffers: &[&Buffer]) -> Result<Vec<bool>, ExecError> {
        let tensors: Result<Vec<&Tensor>, ExecError> = buffers.iter().map(|buffer| self.checked(buffer)).collect();
        let tensors = tensors?;
        let finite = match tensors.iter().all(|tensor| tensor.device().is_cpu()) {
            true => tensors.into_iter().map(is_finite).collect(),
            false => are_finite(&tensors),
        };
        finite.map_err(|e| ExecError::new("kept values", e))
    }

    /// Puts a new value in place of the old one.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn replace(&mut self, buffer: &Buffer, tensor: Tensor) {
        self.tensors.insert(buffer.name.clone(), tensor);
    }
}

/// Whether a tensor in this processor's memory is finite.
fn is_finite(tensor: &Tensor) -> candle_core::Result<bool> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(numbers)), Some((begin, end))) => {
            Ok(bitbudget_kernels::all_finite(numbers[begin..end].into()))
        }
        _ => are_finite(&[tensor]).map(|finite| finite == [true]),
    }
}

/// Whether tensors on a device are finite, which is waited for once: zero times a number is zero only where it is finite.
fn are_finite(tensors: &[&Tensor]) -> candle_core::Result<Vec<bool>> {
    let zero = |tensor: &&Tensor| tensor.affine(0.0, 0.0)?.sum_all();
    let zeros: candle_core::Result<Vec<Tensor>> = tensors.iter().map(zero).collect();
    let zeros = zeros?;
    if zeros.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Tensor::stack(&zeros, 0)?.to_vec1::<f32>()?.into_iter().map(|zero| zero == 0.0).collect())
}

/// The buffers of a program whose values stay from step to step.
fn held(program: &Program) -> impl Iterator<Item = &Buffer> {
    program.buffers.iter().filter(|buffer| matches!(buffer.source, Source::Kept | Source::Constant))
}

fn uploaded(buffer: &Buffer, value: &[f32], device: &Device) -> Result<Tensor, ExecError> {
    let place = || format!("`{}`", buffer.name);
    if value.len() != buffer.elements() {
        let (has, needs) = (value.len(), buffer.elements());
        return Err(ExecError::inputs(
            place(),
            format!("its value has {has} elements, its shape {:?} {needs}", buffer.shape),
        ));
    }
    let tensor = Tensor::from_slice(value, buffer.shape.as_slice(), device);
    tensor.map_err(|e| ExecError::new(place(), e))
}
