//! A compiled trainer on a machine: what a program embeds.

mod evaluate;
mod memory;
mod precision;
mod profile;
mod promote;
mod room;
mod save;
mod train;

use crate::{
    Cause, Compiled, Error, ErrorKind, Executor, Inputs, Loss, Model, Options, Overflow, ProbeError, Program,
    Promotion, Target, Values, compile, metrics, onnx,
};
use bitbudget_exec::Loaded;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
use bitbudget_train::run::{loss_of, overflowed};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub use precision::Precision;
pub use profile::Profiler;
pub use save::SaveAs;

/// A compiled trainer with the machine that it runs on and the values that are trained: steps, runs, evaluations, files.
///
/// Memory is taken when something first runs, and checked before.
#[derive(Debug)]
pub struct Session {
    compiled: Compiled,
    executor: Executor,
    /// The values that are kept from step to step, after the first run.
    kept: Option<Kept>,
    /// The training step, once it ran by itself.
    step: Option<Loaded>,
    /// The steps that ran by themselves.
    steps: u64,
    /// The evaluation without rounding, once it was needed.
    exact: Option<Program>,
}

/// Values on the device.
#[derive(Debug)]
struct Kept {
    values: Values,
    /// Whether the state of the optimizer is there too.
    trains: bool,
}

/// The results of one training step.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Mean loss of the batch, unscaled.
    pub loss: f32,
    /// Whether parameters were updated: not where the loss or a gradient is not finite.
    pub updated: bool,
    /// The named results of the training graph: `loss`, `logits` and others.
    pub outputs: BTreeMap<String, Vec<f32>>,
    /// The tensors of which a share of 0.01 or more overflowed its format, the worst first.
    pub overflows: Vec<Overflow>,
}

impl Session {
    /// Compiles a network, to run on this processor with the threads that the options say.
    ///
    /// # Errors
    /// If it cannot be compiled, or its threads cannot be had.
    pub fn compile(model: Model, options: &Options) -> Result<Session, Error> {
        Session::start(compile(model, options)?)
    }

    /// Imports an ONNX file and compiles it; [`onnx::import`] tells its warnings too.
    ///
    /// # Errors
    /// As for [`onnx::import`] and [`Session::compile`].
    pub fn from_onnx(path: impl AsRef<Path>, options: &Options) -> Result<Session, Error> {
        Session::compile(onnx::import_with(path.as_ref(), &import_options(options))?.model, options)
    }

    /// Imports the bytes of an ONNX file, which holds its weights, and compiles it.
    ///
    /// # Errors
    /// As for [`onnx::import_bytes`] and [`Session::compile`].
    pub fn from_onnx_bytes(bytes: &[u8], options: &Options) -> Result<Session, Error> {
        Session::compile(onnx::import_bytes_with(bytes, None, &import_options(options))?.model, options)
    }

    /// The trainer of a trainer file's bytes, on this processor; training goes on where it was saved.
    ///
    /// # Errors
    /// If the bytes are not a trainer file, or one that is damaged or from another build.
    pub fn load(bytes: &[u8]) -> Result<Session, Error> {
        Session::start(Compiled::decode(bytes)?)
    }

    /// A trainer on this processor, with the threads that it was compiled for.
    fn start(compiled: Compiled) -> Result<Session, Error> {
        let executor = Executor::new(Target::Cpu, compiled.lowering.threads)?;
        Ok(Session::on(executor, compiled))
    }

    /// A trainer on an executor: another device, or threads of the caller's choice.
    pub fn on(executor: Executor, compiled: Compiled) -> Session {
        Session { compiled, executor, kept: None, step: None, steps: 0, exact: None }
    }

    /// The compiled trainer; its values are those that the session began with.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The number of CPU threads.
    pub fn threads(&self) -> usize {
        self.executor.threads()
    }

    /// Runs one training step over a batch of the trainer's size, labels included. A learning rate, and a loss scale that is a
    /// power of two, go with the arrays.
    ///
    /// # Errors
    /// If the inputs are not those of the network, a label is out of range, memory is too small or the device fails.
    pub fn step(&mut self, inputs: &Inputs<'_>) -> Result<StepResult, Error> {
        self.ready_to_step()?;
        let Session { executor, kept: Some(kept), step: Some(step), .. } = self else { return Err(not_ready()) };
        let result = step.step_while_finite(executor, &mut kept.values, inputs, "loss")?;
        Ok(self.result(result))
    }

    /// Like [`Session::step`], adding the time that each instruction of the training program takes to `times`.
    ///
    /// # Errors
    /// As for [`Session::step`].
    pub fn step_timed(&mut self, inputs: &Inputs<'_>, times: &mut [Duration]) -> Result<StepResult, Error> {
        self.ready_to_step()?;
        let Session { executor, kept: Some(kept), step: Some(step), .. } = self else { return Err(not_ready()) };
        let result = step.step_timed(executor, &mut kept.values, inputs, times)?;
        Ok(self.result(result))
    }

    /// The kernel that computes an instruction of the training program, with the way that this machine takes where there is a choice;
    /// nothing for instructions that compute nothing, and before the first step.
    pub fn kernel(&self, instruction: usize) -> Option<String> {
        self.step.as_ref().and_then(|step| step.kernel(instruction))
    }

    fn ready_to_step(&mut self) -> Result<(), Error> {
        if self.step.is_some() {
            return Ok(());
        }
        room::check(&self.executor, &[&self.compiled.train])?;
        self.values_to_train()?;
        self.step = Some(self.executor.load(&self.compiled.train)?);
        Ok(())
    }

    fn result(&mut self, step: bitbudget_exec::Step) -> StepResult {
        let (loss, updated) = loss_of(&step);
        if let Some(Kept { values, .. }) = &mut self.kept {
            values.progress.updates = values.progress.updates.saturating_add(u32::from(updated));
        }
        let overflows = overflowed(&step, OVERFLOW_THRESHOLD, self.steps);
        self.steps += 1;
        StepResult { loss, updated, outputs: step.outputs, overflows }
    }

    /// Gives tensors that overflowed wider formats, within the budget if there is one; the next steps are in these. Tells what
    /// became of those that could be promoted.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn promote(&mut self, over: &[Overflow], promotion: Promotion) -> Result<Vec<metrics::Promotion>, Error> {
        let promoted = promote::promote(&mut self.compiled, over, promotion)?;
        if !promoted.is_empty() {
            self.step = None;
        }
        Ok(promoted)
    }

    /// Which tensor made the numbers of a step not finite; nothing if they are all finite. Updates nothing.
    ///
    /// # Errors
    /// If the step cannot be lowered or fails.
    pub fn cause_in_step(&mut self, inputs: &Inputs<'_>) -> Result<Option<Cause>, ProbeError> {
        let values = kept(&mut self.kept, &self.compiled, &self.executor, true)?;
        self.compiled.cause_in_step(&mut self.executor, values, inputs)
    }

    /// The same for the evaluation of a batch.
    ///
    /// # Errors
    /// If the evaluation cannot be lowered or fails.
    pub fn cause_in_evaluation(
        &mut self,
        inputs: &Inputs<'_>,
        precision: Precision,
    ) -> Result<Option<Cause>, ProbeError> {
        let values = kept(&mut self.kept, &self.compiled, &self.executor, false)?;
        self.compiled.cause_in_evaluation(&mut self.executor, values, inputs, precision == Precision::Fp32)
    }

    fn values_to_train(&mut self) -> Result<&mut Values, Error> {
        Ok(kept(&mut self.kept, &self.compiled, &self.executor, true)?)
    }
}

/// The values on the device, for training or only for evaluations, which need no state of the optimizer.
fn kept<'k>(
    kept: &'k mut Option<Kept>,
    compiled: &Compiled,
    executor: &Executor,
    trains: bool,
) -> Result<&'k mut Values, bitbudget_exec::ExecError> {
    // Evaluations change nothing, so that values begin from the same numbers.
    let there = kept.take().filter(|kept| kept.trains || !trains);
    let now = match there {
        Some(kept) => kept,
        None => {
            let program = if trains { &compiled.train } else { &compiled.evaluate };
            let mut values = Values::new(program, &compiled.values, executor.device())?;
            values.progress = compiled.progress;
            Kept { values, trains }
        }
    };
    Ok(&mut kept.insert(now).values)
}

/// A file is read for its loss, where that is one of its outputs.
fn import_options(options: &Options) -> onnx::ImportOptions {
    let loss = match &options.loss {
        Loss::Output { name } => Some(name.clone()),
        _ => None,
    };
    onnx::ImportOptions { loss, batch: Some(options.batch), ..onnx::ImportOptions::default() }
}

fn not_ready() -> Error {
    Error::new(ErrorKind::Device, "the training step", "it is not loaded", "run a step first")
}
