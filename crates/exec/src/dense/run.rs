//! One step of a program as dense tensor operations.

use super::compute;
use super::round::{Counted, counts};
use crate::error::{ExecError, Fault};
use crate::inputs::Inputs;
use crate::outcome::{OverflowCount, Step, Watch, are_finite};
use crate::values::Values;
use bitbudget_formats::Counts;
use bitbudget_program::{Buffer, BufferId, Instruction, Part, Program, Source};
use candle_core::{DType, Device, Tensor};
use std::borrow::Cow;
use std::time::Instant;

/// Runs a step. Rounded tensors are FP32 numbers here; places in the arena are of no use.
pub(crate) fn run(
    program: &Program,
    device: &Device,
    values: &mut Values,
    inputs: &Inputs<'_>,
    watch: &mut Watch<'_>,
) -> Result<Step, ExecError> {
    let given = inputs.bound(program)?;
    let slots: Result<Vec<Option<Tensor>>, ExecError> = program
        .buffers
        .iter()
        .zip(given)
        .map(|(buffer, given)| bind(program, buffer, given, inputs, values, device))
        .collect();
    let mut run = Run { program, values, slots: slots?, counted: Vec::new() };
    let mut step = Step::default();
    // Shapes and strides that kernels need stay on the device, once they are there; so do constants, but not inputs.
    #[cfg(feature = "cuda")]
    let _kept = device.as_cuda_device().ok().map(|device| device.enable_cuda_graph_htod_cache());
    for (at, instruction) in program.instructions.iter().enumerate() {
        let start = Instant::now();
        run.instruction(instruction, &mut step, watch)?;
        if let Watch::Time(_) = watch {
            device.synchronize().map_err(|e| ExecError::new("a step", e))?;
        }
        watch.took(at, start.elapsed());
        if let Some(id) = watch.ends_with(instruction) {
            let numbers = run.slot(id).and_then(numbers).map_err(|e| ExecError::new(id.to_string(), e))?;
            if !are_finite(&numbers) {
                return Ok(Step::ended(program, id, &numbers));
            }
        }
    }
    let counts = counts(&run.counted).map_err(|e| ExecError::new("what was counted", e))?;
    step.overflows.iter_mut().zip(counts).for_each(|(overflow, counts)| overflow.counts = counts);
    for (name, id) in &program.outputs {
        let values = run.slot(*id).and_then(numbers);
        step.outputs.insert(name.clone(), values.map_err(|e| ExecError::new(format!("output `{name}`"), e))?);
    }
    Ok(step)
}

struct Run<'a> {
    program: &'a Program,
    values: &'a mut Values,
    slots: Vec<Option<Tensor>>,
    /// The step's overflows, once it is over.
    counted: Vec<Counted>,
}

impl Run<'_> {
    fn instruction(
        &mut self,
        instruction: &Instruction,
        step: &mut Step,
        watch: &mut Watch<'_>,
    ) -> Result<(), ExecError> {
        let program = self.program;
        match instruction {
            Instruction::Compute { parts, .. } => {
                for part in parts {
                    self.part(part, step, watch)?;
                }
                // What has no place is not read any more.
                for part in parts {
                    let buffer = program.buffer(part.output);
                    if buffer.offset.is_none() && buffer.source == Source::None {
                        self.slots[part.output.index()] = None;
                    }
                }
            }
            Instruction::View { input, output } => {
                let shape = program.buffer(*output).shape.as_slice();
                let view = self.slot(*input).and_then(|t| Ok(t.reshape(shape)?));
                let view = view.map_err(|e| ExecError::new(format!("view {output} of {input}"), e))?;
                show(watch, *output, &view)?;
                self.slots[output.index()] = Some(view);
            }
            Instruction::Store { value, target } => {
                let (buffer, new) = (program.buffer(*target), self.slots[value.index()].take());
                let new = new.ok_or_else(|| ExecError::new(format!("store {target}"), format!("{value} has ended")))?;
                self.slots[target.index()] = Some(new.clone());
                self.values.replace(buffer, new);
            }
            Instruction::Free { buffer } => self.slots[buffer.index()] = None,
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, step: &mut Step, watch: &mut Watch<'_>) -> Result<(), ExecError> {
        let Part { op, inputs, output, rounding } = part;
        let buffer = self.program.buffer(*output);
        let computed = self.operands(inputs).and_then(|x| compute(op, &x, buffer, rounding.as_ref()));
        let place = || format!("{} into {output} `{}`", op.name(), buffer.name);
        let (result, counted) = computed.map_err(|e| ExecError::new(place(), e))?;
        if let (Some(tensor), Some(counted)) = (rounding.and_then(|r| r.counted), counted) {
            let (counts, elements) = (Counts::default(), buffer.elements() as u64);
            step.overflows.push(OverflowCount { tensor, counts, elements });
            self.counted.push(counted);
        }
        show(watch, *output, &result)?;
        if buffer.source == Source::Kept {
            self.values.replace(buffer, result.clone());
        }
        self.slots[output.index()] = Some(result);
        Ok(())
    }

    fn operands(&self, inputs: &[BufferId]) -> Result<Vec<&Tensor>, Fault> {
        inputs.iter().map(|&id| self.slot(id)).collect()
    }

    fn slot(&self, id: BufferId) -> Result<&Tensor, Fault> {
        self.slots[id.index()].as_ref().ok_or_else(|| Fault::Operands(format!("{id} holds nothing")))
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>, Fault> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

/// Shows the numbers of a tensor to who wants them.
fn show(watch: &mut Watch<'_>, id: BufferId, tensor: &Tensor) -> Result<(), ExecError> {
    match watch {
        Watch::Numbers(observe) => {
            observe(id, &numbers(tensor).map_err(|e| ExecError::new(id.to_string(), e))?);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The tensor that a source buffer holds at the start of a step.
fn bind(
    program: &Program,
    buffer: &Buffer,
    given: Option<Cow<'_, [f32]>>,
    inputs: &Inputs<'_>,
    values: &Values,
    device: &Device,
) -> Result<Option<Tensor>, ExecError> {
    let shape = buffer.shape.as_slice();
    let tensor = match buffer.source {
        Source::None => return Ok(None),
        Source::Input => match given {
            Some(x) => Tensor::from_slice(&x, shape, device),
            None => return Ok(None),
        },
        Source::Scalar(kind) => {
            Tensor::from_slice(&[inputs.scalar(kind, program, values.progress.updates)], shape, device)
        }
        Source::Kept | Source::Constant => return values.checked(buffer).map(|kept| Some(kept.clone())),
    };
    tensor.map(Some).map_err(|e| ExecError::new(format!("`{}`", buffer.name), e))
}
