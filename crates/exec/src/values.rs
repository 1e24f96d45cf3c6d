//! Values that are kept from step to step.

use crate::device::{Device, Kept};
use crate::error::ExecError;
use bitbudget_program::{Buffer, Program, Progress, Source};
use candle_core::{CpuStorage, Storage, Tensor};
use std::collections::BTreeMap;

/// Masters, states and constants by name, on the device.
#[derive(Debug, Default)]
pub struct Values {
    held: Held,
    /// How far they have been trained; the training loop counts.
    pub progress: Progress,
    /// Values that no program has read so far, on the host.
    rest: BTreeMap<String, Vec<f32>>,
}

/// Where values lie.
#[derive(Debug)]
enum Held {
    Tensors(BTreeMap<String, Tensor>),
    Driven(Kept),
}

impl Default for Held {
    fn default() -> Held {
        Held::Tensors(BTreeMap::new())
    }
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
        let mut all = Vec::new();
        for buffer in held(program) {
            let value = initial.get(&buffer.name).map(Vec::as_slice);
            if value.is_none() && buffer.source == Source::Constant {
                return Err(ExecError::inputs(format!("`{}`", buffer.name), "has no value".into()));
            }
            all.push((buffer, value));
        }
        values.add(program, &all, device)?;
        let rest = initial.iter().filter(|(name, _)| !values.holds(name));
        values.rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(values)
    }

    /// Uploads values of a program, zeros where there are none.
    fn add(
        &mut self,
        program: &Program,
        values: &[(&Buffer, Option<&[f32]>)],
        device: &Device,
    ) -> Result<(), ExecError> {
        for (buffer, value) in values {
            checked_length(buffer, *value)?;
        }
        match device {
            Device::Driven(driver) => {
                let mut kept = match std::mem::take(&mut self.held) {
                    Held::Driven(kept) => kept,
                    Held::Tensors(_) => Kept::new(driver),
                };
                let added = kept.add(program, values);
                self.held = Held::Driven(kept);
                added
            }
            Device::Cpu => {
                let Held::Tensors(tensors) = &mut self.held else { return Err(elsewhere()) };
                for (buffer, value) in values {
                    let shape = buffer.shape.as_slice();
                    let tensor = match value {
                        Some(value) => Tensor::from_slice(value, shape, &candle_core::Device::Cpu),
                        None => Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu),
                    };
                    let tensor = tensor.map_err(|e| ExecError::new(format!("`{}`", buffer.name), e))?;
                    tensors.insert(buffer.name.clone(), tensor);
                }
                Ok(())
            }
        }
    }

    fn holds(&self, name: &str) -> bool {
        match &self.held {
            Held::Tensors(tensors) => tensors.contains_key(name),
            Held::Driven(kept) => kept.contains(name),
        }
    }

    /// The values on a device that is driven.
    pub(crate) fn driven(&self) -> Result<&Kept, ExecError> {
        match &self.held {
            Held::Driven(kept) => Ok(kept),
            Held::Tensors(_) => Err(elsewhere()),
        }
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        match &self.held {
            Held::Tensors(tensors) => tensors.get(name),
            Held::Driven(_) => None,
        }
    }

    /// Uploads what a program keeps that none before it did, where there is a value for it.
    pub(crate) fn serve(&mut self, program: &Program, device: &Device) -> Result<(), ExecError> {
        let new = held(program).filter_map(|buffer| Some((buffer, self.rest.remove(&buffer.name)?)));
        let new: Vec<(&Buffer, Vec<f32>)> = new.collect();
        let new: Vec<_> = new.iter().map(|(buffer, value)| (*buffer, Some(value.as_slice()))).collect();
        if new.is_empty() && matches!((&self.held, device), (Held::Driven(_), _) | (_, Device::Cpu)) {
            return Ok(());
        }
        self.add(program, &new, device)
    }

    /// The value of a name, row-major.
    ///
    /// # Errors
    /// If there is none, or the device fails.
    pub fn get(&self, name: &str) -> Result<Vec<f32>, ExecError> {
        let place = || format!("`{name}`");
        if let Held::Driven(kept) = &self.held {
            return Ok(kept.read([&name.to_string()].into_iter())?.swap_remove(0));
        }
        let tensor = self.tensor(name).ok_or_else(|| ExecError::inputs(place(), "is not kept".into()))?;
        tensor.flatten_all().and_then(|t| t.to_vec1()).map_err(|e| ExecError::new(place(), e))
    }

    /// All values by name, those included that no program has read.
    ///
    /// # Errors
    /// If the device fails.
    pub fn download(&self) -> Result<BTreeMap<String, Vec<f32>>, ExecError> {
        let mut all = self.rest.clone();
        match &self.held {
            Held::Tensors(tensors) => {
                for name in tensors.keys() {
                    all.insert(name.clone(), self.get(name)?);
                }
            }
            Held::Driven(kept) => all.extend(kept.names().cloned().zip(kept.read(kept.names())?)),
        }
        Ok(all)
    }

    /// Bytes of the values that programs read.
    pub fn bytes(&self) -> usize {
        match &self.held {
            Held::Tensors(tensors) => {
                tensors.values().map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum()
            }
            Held::Driven(kept) => kept.bytes(),
        }
    }

    /// The value of a buffer, whose shape it has.
    pub(crate) fn checked(&self, buffer: &Buffer) -> Result<&Tensor, ExecError> {
        let fault = |reason: String| ExecError::inputs(format!("`{}`", buffer.name), reason);
        let kept = self.tensor(&buffer.name).ok_or_else(|| fault("has no value".into()))?;
        let shape = &buffer.shape;
        match kept.dims() == shape {
            true => Ok(kept),
            false => Err(fault(format!("its value has shape {:?}, the program's {shape:?}", kept.dims()))),
        }
    }

    /// Whether the values of some buffers are finite.
    pub(crate) fn finite(&self, buffers: &[&Buffer]) -> Result<Vec<bool>, ExecError> {
        if let Held::Driven(kept) = &self.held {
            let values = kept.read(buffers.iter().map(|buffer| &buffer.name))?;
            return Ok(values.iter().map(|numbers| bitbudget_kernels::all_finite(numbers.as_slice().into())).collect());
        }
        let tensors: Result<Vec<&Tensor>, ExecError> = buffers.iter().map(|buffer| self.checked(buffer)).collect();
        let tensors = tensors?;
        let finite = tensors.into_iter().map(is_finite).collect::<candle_core::Result<_>>();
        finite.map_err(|e| ExecError::new("kept values", e))
    }
}

/// Whether a tensor in this processor's memory is finite.
fn is_finite(tensor: &Tensor) -> candle_core::Result<bool> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(numbers)), Some((begin, end))) => {
            Ok(bitbudget_kernels::all_finite(numbers[begin..end].into()))
        }
        _ => Ok(tensor.flatten_all()?.to_vec1::<f32>()?.iter().all(|x| x.is_finite())),
    }
}

/// The buffers of a program whose values stay from step to step.
fn held(program: &Program) -> impl Iterator<Item = &Buffer> {
    program.buffers.iter().filter(|buffer| matches!(buffer.source, Source::Kept | Source::Constant))
}

fn checked_length(buffer: &Buffer, value: Option<&[f32]>) -> Result<(), ExecError> {
    let needs = buffer.elements();
    match value.map(<[f32]>::len).filter(|&has| has != needs) {
        Some(has) => {
            let reason = format!("its value has {has} elements, its shape {:?} {needs}", buffer.shape);
            Err(ExecError::inputs(format!("`{}`", buffer.name), reason))
        }
        None => Ok(()),
    }
}

fn elsewhere() -> ExecError {
    ExecError::new("kept values", "they lie on another device")
}
