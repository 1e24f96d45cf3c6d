//! The interpreter of programs.

use crate::cpu;
#[cfg(any(feature = "cuda", test))]
use crate::dense;
use crate::error::{ExecError, Fault, without_backtrace};
use crate::pool::Pool;
use crate::values::Values;
use bitbudget_formats::{Counts, Format};
use bitbudget_ir::{Op, ScalarKind};
use bitbudget_program::{Buffer, BufferId, Instruction, Program, Rounding, Source};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Where programs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// This processor.
    #[default]
    Cpu,
    /// The CUDA device of a number.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

/// What a step is given.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The examples, row-major.
    pub examples: &'a [f32],
    /// Their classes.
    pub labels: &'a [u32],
    /// The loss scale.
    pub loss_scale: f32,
    /// The learning rate.
    pub learning_rate: f32,
    /// How many updates were made, this one counted; Adam's bias corrections come from it.
    pub update: u32,
    /// The decay of Adam's moments.
    pub betas: [f64; 2],
}

impl Default for Inputs<'_> {
    fn default() -> Self {
        let (examples, labels) = (&[], &[]);
        Inputs { examples, labels, loss_scale: 1.0, learning_rate: 0.0, update: 1, betas: [0.9, 0.999] }
    }
}

impl Inputs<'_> {
    fn scalar(&self, kind: ScalarKind) -> f32 {
        let bias = |beta: f64| (1.0 - beta.powf(f64::from(self.update))) as f32;
        match kind {
            ScalarKind::LossScale => self.loss_scale,
            ScalarKind::InverseLossScale => self.loss_scale.recip(),
            ScalarKind::LearningRate => self.learning_rate,
            ScalarKind::FirstBias => bias(self.betas[0]),
            ScalarKind::SecondBias => bias(self.betas[1]),
        }
    }
}

/// How many elements of a tensor overflowed or underflowed its format in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowCount {
    /// The tensor: a node of the training graph.
    pub tensor: u32,
    /// What was counted.
    pub counts: Counts,
    /// The number of elements.
    pub elements: u64,
}

/// What a step gives.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The program's named results.
    pub outputs: BTreeMap<String, Vec<f32>>,
    /// One entry per rounded parameter and output, in order of execution.
    pub overflows: Vec<OverflowCount>,
}

/// What computes instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// Kernels on the CPU, into storage of the pool.
    Kernels,
    /// Dense tensor operations, whose results are new tensors; the device's allocator reuses memory.
    #[cfg(any(feature = "cuda", test))]
    Dense,
}

/// Interprets programs on one device with a fixed number of threads, reusing storage from step to step.
#[derive(Debug)]
pub struct Executor {
    device: Device,
    engine: Engine,
    threads: rayon::ThreadPool,
    pool: Pool,
}

impl Executor {
    /// An executor on `target`; `threads` is the number of CPU threads, 0 for one per core.
    ///
    /// # Errors
    /// If the device or the threads cannot be had.
    pub fn new(target: Target, threads: usize) -> Result<Executor, ExecError> {
        let (device, engine) = match target {
            Target::Cpu => (Device::Cpu, Engine::Kernels),
            #[cfg(feature = "cuda")]
            Target::Cuda(ordinal) => {
                let device = Device::new_cuda(ordinal);
                (device.map_err(|e| ExecError::new(format!("CUDA device {ordinal}"), e))?, Engine::Dense)
            }
        };
        Executor::with_engine(device, engine, threads)
    }

    fn with_engine(device: Device, engine: Engine, threads: usize) -> Result<Executor, ExecError> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = threads.map_err(|e| ExecError::new("threads", e))?;
        Ok(Executor { device, engine, threads, pool: Pool::default() })
    }

    /// The device on which programs run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs one step: reads and replaces `values`.
    ///
    /// # Errors
    /// If an input has the wrong length, a label is out of range, or the device fails.
    pub fn run(&mut self, program: &Program, values: &mut Values, inputs: &Inputs<'_>) -> Result<Step, ExecError> {
        self.run_observed(program, values, inputs, &mut |_, _| {})
    }

    /// Like [`Executor::run`], showing every buffer to `observe` as soon as it is written, views included.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn run_observed(
        &mut self,
        program: &Program,
        values: &mut Values,
        inputs: &Inputs<'_>,
        observe: &mut (dyn FnMut(BufferId, &Tensor) + Send),
    ) -> Result<Step, ExecError> {
        let Executor { device, engine, threads, pool } = self;
        let mut run = Run { program, device, engine: *engine, pool, values, slots: vec![None; program.buffers.len()] };
        threads.install(|| run.execute(inputs, observe))
    }
}

struct Run<'a> {
    program: &'a Program,
    device: &'a Device,
    engine: Engine,
    pool: &'a mut Pool,
    values: &'a mut Values,
    slots: Vec<Option<Tensor>>,
}

impl Run<'_> {
    fn execute(
        &mut self,
        inputs: &Inputs<'_>,
        observe: &mut (dyn FnMut(BufferId, &Tensor) + Send),
    ) -> Result<Step, ExecError> {
        let program = self.program;
        for (slot, buffer) in self.slots.iter_mut().zip(&program.buffers) {
            *slot = bind(buffer, inputs, self.values, self.device)?;
        }
        let mut step = Step::default();
        for instruction in &program.instructions {
            self.instruction(instruction, &mut step, observe)?;
        }
        for (name, id) in &program.outputs {
            let values =
                self.slot(*id).and_then(|t| Ok(t.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1()?));
            step.outputs.insert(name.clone(), values.map_err(|e| ExecError::new(format!("output `{name}`"), e))?);
        }
        self.reclaim();
        Ok(step)
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        step: &mut Step,
        observe: &mut (dyn FnMut(BufferId, &Tensor) + Send),
    ) -> Result<(), ExecError> {
        let program = self.program;
        match instruction {
            Instruction::Compute { op, inputs, output, rounding } => {
                let buffer = program.buffer(*output);
                let computed = match self.engine {
                    Engine::Kernels => self.kernels(op, inputs, buffer, rounding.as_ref()),
                    #[cfg(any(feature = "cuda", test))]
                    Engine::Dense => {
                        self.operands(inputs).and_then(|x| dense::compute(op, &x, buffer, rounding.as_ref()))
                    }
                };
                let place = || format!("{} into {output} `{}`", op.name(), buffer.name);
                let (result, counts) = computed.map_err(|e| ExecError::new(place(), e))?;
                if let (Some(tensor), true) = (rounding.and_then(|r| r.counted), buffer.format != Format::FP32) {
                    let elements = buffer.elements() as u64;
                    step.overflows.push(OverflowCount { tensor, counts, elements });
                }
                observe(*output, &result);
                self.slots[output.index()] = Some(result);
            }
            Instruction::View { input, output } => {
                let shape = program.buffer(*output).shape.as_slice();
                let view = self.slot(*input).and_then(|t| Ok(t.reshape(shape)?));
                let view = view.map_err(|e| ExecError::new(format!("view {output} of {input}"), e))?;
                observe(*output, &view);
                self.slots[output.index()] = Some(view);
            }
            Instruction::Store { value, target } => {
                let (buffer, new) = (program.buffer(*target), self.slots[value.index()].take());
                let new = new.ok_or_else(|| ExecError::new(format!("store {target}"), format!("{value} has ended")))?;
                self.slots[target.index()] = Some(new.clone());
                if let Some(old) = self.values.replace(buffer, new) {
                    self.give(buffer, old);
                }
            }
            Instruction::Free { buffer } => {
                if let Some(tensor) = self.slots[buffer.index()].take() {
                    self.give(program.buffer(*buffer), tensor);
                }
            }
        }
        Ok(())
    }

    fn kernels(
        &mut self,
        op: &Op,
        inputs: &[BufferId],
        buffer: &Buffer,
        rounding: Option<&Rounding>,
    ) -> Result<(Tensor, Counts), Fault> {
        let result = self.pool.take(buffer, self.device)?;
        let counts = cpu::compute(op, &self.operands(inputs)?, &result, buffer.format, rounding)?;
        Ok((result, counts))
    }

    fn operands(&self, inputs: &[BufferId]) -> Result<Vec<&Tensor>, Fault> {
        inputs.iter().map(|&id| self.slot(id)).collect()
    }

    fn slot(&self, id: BufferId) -> Result<&Tensor, Fault> {
        self.slots[id.index()].as_ref().ok_or_else(|| Fault::Operands(format!("{id} holds nothing")))
    }

    /// Gives storage to the pool, which only kernels take from; dense results may share theirs.
    fn give(&mut self, buffer: &Buffer, tensor: Tensor) {
        if self.engine == Engine::Kernels {
            self.pool.give(buffer, tensor);
        }
    }

    /// Gives back what is still there at the end: outputs, that is; views and kept tensors are not storage of the step.
    fn reclaim(&mut self) {
        let views: Vec<BufferId> = self
            .program
            .instructions
            .iter()
            .filter_map(|i| if let Instruction::View { output, .. } = i { Some(*output) } else { None })
            .collect();
        for view in views {
            self.slots[view.index()] = None;
        }
        let slots = std::mem::take(&mut self.slots);
        for (slot, buffer) in slots.into_iter().zip(&self.program.buffers) {
            if let (Some(tensor), Source::None) = (slot, buffer.source) {
                self.give(buffer, tensor);
            }
        }
    }
}

/// The tensor that a source buffer holds at the start of a step.
fn bind(buffer: &Buffer, inputs: &Inputs<'_>, values: &Values, device: &Device) -> Result<Option<Tensor>, ExecError> {
    let shape = buffer.shape.as_slice();
    let fault = |reason: String| ExecError::new(format!("`{}`", buffer.name), reason);
    let length = |given: usize, what: &str| match given == buffer.elements() {
        true => Ok(()),
        false => Err(fault(format!("{given} {what} were given, its shape {shape:?} needs {}", buffer.elements()))),
    };
    let tensor = match buffer.source {
        Source::None => return Ok(None),
        Source::Input => {
            length(inputs.examples.len(), "numbers")?;
            Tensor::from_slice(inputs.examples, shape, device)
        }
        Source::Label => {
            length(inputs.labels.len(), "labels")?;
            Tensor::from_slice(inputs.labels, shape, device)
        }
        Source::Scalar(kind) => Tensor::from_slice(&[inputs.scalar(kind)], shape, device),
        Source::Kept | Source::Constant => {
            let kept = values.tensor(buffer).ok_or_else(|| fault("has no value".into()))?;
            if kept.dims() != shape {
                return Err(fault(format!("its value has shape {:?}, the program's {shape:?}", kept.dims())));
            }
            return Ok(Some(kept.clone()));
        }
    };
    tensor.map(Some).map_err(|e| fault(without_backtrace(&e).to_string()))
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
