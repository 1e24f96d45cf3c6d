//! The interpreter of programs.

use crate::cpu;
use crate::device::{self, Device};
use crate::error::ExecError;
use crate::inputs::Inputs;
use crate::outcome::{Step, Watch, written};
use crate::values::Values;
use bitbudget_cuda::Driver;
use bitbudget_program::{Buffer, BufferId, Footprint, Instruction, Machine, Program, Source};
use std::sync::Arc;
use std::time::Duration;

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

/// The engine that computes instructions.
#[derive(Debug)]
enum Engine {
    /// Kernels on the CPU, in one block of memory.
    Kernels(cpu::Arena),
    /// Generated kernels on a device, in one block of memory.
    Driven(device::Engine),
}

/// Interprets programs on one device with a fixed number of threads, reusing memory from step to step.
#[derive(Debug)]
pub struct Executor {
    device: Device,
    engine: Engine,
    threads: rayon::ThreadPool,
}

impl Executor {
    /// An executor on `target`; `threads` is the number of CPU threads, 0 for one per core.
    ///
    /// # Errors
    /// If the device or the threads cannot be had.
    pub fn new(target: Target, threads: usize) -> Result<Executor, ExecError> {
        let (device, engine) = match target {
            Target::Cpu => (Device::Cpu, Engine::Kernels(cpu::Arena::default())),
            #[cfg(feature = "cuda")]
            Target::Cuda(ordinal) => return Executor::driven(Arc::new(crate::nvidia::Nvidia::open(ordinal)?), threads),
        };
        Executor::with_engine(device, engine, threads)
    }

    /// An executor of programs for CUDA on the device of a driver; `threads` is the number of CPU threads, 0 for one per core.
    ///
    /// # Errors
    /// If the threads cannot be had.
    pub fn driven(driver: Arc<dyn Driver>, threads: usize) -> Result<Executor, ExecError> {
        let engine = Engine::Driven(device::Engine::new(driver.clone()));
        Executor::with_engine(Device::Driven(driver), engine, threads)
    }

    fn with_engine(device: Device, engine: Engine, threads: usize) -> Result<Executor, ExecError> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = threads.map_err(|e| ExecError::new("threads", e))?;
        Ok(Executor { device, engine, threads })
    }

    /// The device on which programs run.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The kind of machine whose programs run on it.
    pub fn machine(&self) -> Machine {
        match self.engine {
            Engine::Kernels(_) => Machine::Cpu,
            Engine::Driven(_) => Machine::Cuda,
        }
    }

    /// The number of CPU threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Bytes that a program needs on the CPU with this many threads, values that are kept included.
    pub fn predicted(&self, program: &Program) -> Footprint {
        Footprint::predicted(program, self.threads())
    }

    /// Bytes that are held for the programs that ran so far and for `values`.
    pub fn allocated(&self, values: &Values) -> Footprint {
        let of_threads = || self.threads.broadcast(|_| bitbudget_kernels::scratch_bytes()).into_iter().sum();
        let [arena, scratch] = match &self.engine {
            Engine::Kernels(arena) => [arena.bytes(), of_threads()],
            Engine::Driven(engine) => engine.bytes(),
        };
        Footprint { kept: values.bytes(), arena, scratch }
    }

    /// Binds a program to this machine: finds its kernels, and takes the memory that its steps need.
    ///
    /// # Errors
    /// If an instruction cannot be computed, or there is not enough memory.
    pub fn load(&mut self, program: &Program) -> Result<Loaded, ExecError> {
        let bound = match (&mut self.engine, program.machine) {
            (Engine::Kernels(arena), Machine::Cpu) => {
                let (bound, scratch) = (cpu::Bound::new(program)?, program.scratch());
                arena.reserve(program.arena).map_err(|e| ExecError::new("the memory of a step", e))?;
                self.threads.broadcast(|_| bitbudget_kernels::reserve_scratch(scratch));
                Bound::Kernels(bound)
            }
            (Engine::Driven(engine), Machine::Cuda) => Bound::Driven(device::Bound::new(program, engine)?),
            (_, Machine::Cpu) => return Err(ExecError::new("the program", "it was made for CPUs")),
            (_, Machine::Cuda) => return Err(ExecError::new("the program", "it was made for CUDA devices")),
        };
        Ok(Loaded { program: program.clone(), bound })
    }

    /// Loads a program and runs one step of it; for several steps, [`Executor::load`] it once.
    ///
    /// # Errors
    /// As [`Executor::load`] and [`Loaded::step`].
    pub fn run(&mut self, program: &Program, values: &mut Values, inputs: &Inputs<'_>) -> Result<Step, ExecError> {
        self.load(program)?.step(self, values, inputs)
    }

    /// The first parameter or state of a program whose value is not finite, in the order in which a step replaces them.
    ///
    /// # Errors
    /// If it has no value, or the device fails.
    pub fn first_not_finite<'p>(&self, program: &'p Program, values: &Values) -> Result<Option<&'p str>, ExecError> {
        let replaced = program.instructions.iter().flat_map(|instruction| match instruction {
            Instruction::Store { target, .. } => vec![*target],
            other => written(other),
        });
        let mut place = vec![0; program.buffers.len()];
        replaced.enumerate().for_each(|(at, id)| place[id.index()] = at + 1);
        let kept = program.buffers.iter().zip(place).filter(|(buffer, _)| buffer.source == Source::Kept);
        let mut kept: Vec<(&Buffer, usize)> = kept.collect();
        kept.sort_by_key(|&(_, place)| place);
        let buffers: Vec<&Buffer> = kept.into_iter().map(|(buffer, _)| buffer).collect();
        let finite = self.threads.install(|| values.finite(&buffers))?;
        let found = buffers.into_iter().zip(finite).find(|(_, finite)| !finite);
        Ok(found.map(|(buffer, _)| buffer.name.as_str()))
    }

    /// Like [`Executor::run`], showing the numbers of every buffer to `observe` as soon as it is written, views included;
    /// what is used inside one instruction only is not written.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn run_observed(
        &mut self,
        program: &Program,
        values: &mut Values,
        inputs: &Inputs<'_>,
        observe: &mut (dyn FnMut(BufferId, &[f32]) + Send),
    ) -> Result<Step, ExecError> {
        let loaded = self.load(program)?;
        self.step(&loaded, values, inputs, &mut Watch::Numbers(observe))
    }

    fn step(
        &mut self,
        loaded: &Loaded,
        values: &mut Values,
        inputs: &Inputs<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Step, ExecError> {
        let (Executor { device, engine, threads }, Loaded { program, bound }) = (self, loaded);
        values.serve(program, device)?;
        match (engine, bound) {
            (Engine::Kernels(arena), Bound::Kernels(bound)) => {
                threads.install(|| cpu::run(program, bound, arena, values, inputs, watch))
            }
            (Engine::Driven(engine), Bound::Driven(bound)) => {
                let (kept, updates) = (values.driven()?, values.progress.updates);
                device::run(program, bound, engine, (kept, updates), inputs, watch)
            }
            _ => Err(elsewhere()),
        }
    }
}

fn elsewhere() -> ExecError {
    ExecError::new("a step", "the program was loaded for another device")
}

/// A program's kernels.
#[derive(Debug)]
enum Bound {
    Kernels(cpu::Bound),
    Driven(device::Bound),
}

/// A program that is ready to run on the machine of the executor that loaded it.
#[derive(Debug)]
pub struct Loaded {
    program: Program,
    bound: Bound,
}

impl Loaded {
    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The kernel that computes an instruction, with the way that this machine takes where there is a choice.
    pub fn kernel(&self, instruction: usize) -> Option<String> {
        let Some(Instruction::Compute { kernel, .. }) = self.program.instructions.get(instruction) else { return None };
        let way = match &self.bound {
            Bound::Kernels(bound) => bound.way(instruction),
            _ => None,
        };
        Some(way.map_or_else(|| kernel.family.to_string(), |way| format!("{}, {way}", kernel.family)))
    }

    /// Runs one step: reads and replaces `values`.
    ///
    /// # Errors
    /// If the inputs are not those of the program, a label is out of range, or the device fails.
    pub fn step(&self, executor: &mut Executor, values: &mut Values, inputs: &Inputs<'_>) -> Result<Step, ExecError> {
        executor.step(self, values, inputs, &mut Watch::Nothing)
    }

    /// Like [`Loaded::step`], but the step ends as soon as its result `name` is not finite. Then that is its only result, and
    /// what would have been updated later keeps its value.
    ///
    /// # Errors
    /// As [`Loaded::step`].
    pub fn step_while_finite(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
        name: &str,
    ) -> Result<Step, ExecError> {
        let mut watch = self.program.output(name).map_or(Watch::Nothing, Watch::Finite);
        executor.step(self, values, inputs, &mut watch)
    }

    /// Like [`Loaded::step`], adding the time that each instruction takes to `times`, which has one entry for each.
    ///
    /// # Errors
    /// As [`Loaded::step`].
    pub fn step_timed(
        &self,
        executor: &mut Executor,
        values: &mut Values,
        inputs: &Inputs<'_>,
        times: &mut [Duration],
    ) -> Result<Step, ExecError> {
        executor.step(self, values, inputs, &mut Watch::Time(times))
    }
}

#[cfg(test)]
#[path = "inside_tests.rs"]
mod inside_tests;
#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
