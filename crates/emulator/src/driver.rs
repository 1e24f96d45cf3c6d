//! A device whose driver is the emulator.

use crate::launch::{Launch, Machine, launch};
use crate::memory::Memory;
use crate::module::Module;
use bitbudget_cuda::{self as cuda, DriverError, Kernel, Recording, file, packed};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device that the emulator runs, and what it was asked for.
#[derive(Clone, Debug)]
pub struct Device(Arc<Mutex<State>>);

/// How often a device was asked for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Memory.
    pub allocations: usize,
    /// Bytes that are allocated.
    pub allocated: usize,
    /// Kernels that were compiled.
    pub compiled: usize,
    /// Launches that were recorded.
    pub recorded: usize,
    /// Recordings that were replayed.
    pub replayed: usize,
    /// Copies to the device.
    pub writes: usize,
    /// Waits for the device, those of copies from it included.
    pub waits: usize,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    /// Without, nothing is compiled or run, and all numbers are zero.
    runs: bool,
    memory: Memory,
    modules: Vec<Module>,
    /// The module of each kernel.
    kernels: BTreeMap<String, usize>,
    /// By address.
    sizes: BTreeMap<u64, usize>,
    /// The address of the next allocation of a device that runs nothing.
    next: u64,
    calls: Calls,
    /// What was compiled.
    sources: Vec<Kernel>,
}

impl Device {
    /// A device that runs kernels.
    pub fn new(machine: Machine) -> Device {
        Device::with(machine, true)
    }

    /// A device that runs nothing and holds nothing: it only counts.
    pub fn counting(machine: Machine) -> Device {
        Device::with(machine, false)
    }

    fn with(machine: Machine, runs: bool) -> Device {
        Device(Arc::new(Mutex::new(State {
            machine,
            runs,
            memory: Memory::default(),
            modules: Vec::new(),
            kernels: BTreeMap::new(),
            sizes: BTreeMap::new(),
            next: 1 << 20,
            calls: Calls::default(),
            sources: Vec::new(),
        })))
    }

    /// What it was asked for so far.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// The kernels that it was asked to compile so far.
    pub fn kernels(&self) -> Vec<Kernel> {
        self.state().sources.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn run(&mut self, asked: &cuda::Launch) -> Result<(), DriverError> {
        match asked {
            cuda::Launch::Zero { address, bytes } => match self.memory.write(*address, &vec![0; *bytes]) {
                true => Ok(()),
                false => Err(outside(*address, *bytes)),
            },
            cuda::Launch::Kernel { kernel, blocks, shared, arguments } => {
                let arguments = packed(arguments);
                let Some(module) = self.kernels.get(&kernel.name).and_then(|&at| self.modules.get_mut(at)) else {
                    return Err(unknown(kernel));
                };
                let (blocks, threads, shared) = (*blocks, kernel.threads, *shared);
                let call = Launch { kernel: &kernel.name, blocks, threads, shared, arguments: &arguments };
                let outcome = launch(module, &mut self.memory, &call, &self.machine);
                let outcome = outcome.map_err(|e| DriverError::Device(e.to_string()))?;
                match outcome.faults.first() {
                    Some(fault) => Err(DriverError::Device(format!("{}: {fault}\n{}", kernel.name, kernel.text))),
                    None => Ok(()),
                }
            }
        }
    }
}

impl cuda::Driver for Device {
    fn name(&self) -> String {
        "the emulator".into()
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DriverError> {
        let mut state = self.state();
        let address = match state.runs {
            true => state.memory.reserve(bytes),
            false => {
                let address = state.next;
                state.next += bytes.next_multiple_of(256) as u64;
                address
            }
        };
        state.sizes.insert(address, bytes);
        state.calls.allocations += 1;
        state.calls.allocated += bytes;
        Ok(address)
    }

    fn release(&self, address: u64) {
        let mut state = self.state();
        if let Some(bytes) = state.sizes.remove(&address) {
            state.calls.allocated -= bytes;
        }
        state.memory.release(address);
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        let mut state = self.state();
        state.calls.writes += 1;
        match !state.runs || state.memory.write(address, bytes) {
            true => Ok(()),
            false => Err(outside(address, bytes.len())),
        }
    }

    fn read(&self, ranges: &[(u64, usize)]) -> Result<Vec<Vec<u8>>, DriverError> {
        let mut state = self.state();
        state.calls.waits += 1;
        let read = |&(address, bytes): &(u64, usize)| match (bytes, state.runs) {
            (0, _) | (_, false) => Ok(vec![0; bytes]),
            _ => state.memory.read(address, bytes).ok_or_else(|| outside(address, bytes)),
        };
        ranges.iter().map(read).collect()
    }

    fn compile(&self, kernels: &[&Kernel]) -> Result<(), DriverError> {
        let mut state = self.state();
        let new: Vec<Kernel> =
            kernels.iter().filter(|kernel| !state.kernels.contains_key(&kernel.name)).map(|&k| k.clone()).collect();
        state.calls.compiled += new.len();
        if state.runs && !new.is_empty() {
            let module = Module::compile(&file(&new)).map_err(|e| DriverError::Compiler(e.to_string()))?;
            state.modules.push(module);
        }
        let module = state.modules.len().saturating_sub(1);
        state.sources.extend(new.iter().cloned());
        state.kernels.extend(new.into_iter().map(|kernel| (kernel.name, module)));
        Ok(())
    }

    fn record(&self, launches: &[&cuda::Launch]) -> Result<Box<dyn Recording>, DriverError> {
        let mut state = self.state();
        for launch in launches {
            match launch {
                cuda::Launch::Kernel { kernel, .. } if !state.kernels.contains_key(&kernel.name) => {
                    return Err(unknown(kernel));
                }
                cuda::Launch::Kernel { .. } | cuda::Launch::Zero { .. } => {}
            }
        }
        state.calls.recorded += launches.len();
        let launches = launches.iter().map(|&launch| launch.clone()).collect();
        Ok(Box::new(Recorded { device: self.clone(), launches }))
    }

    fn wait(&self) -> Result<(), DriverError> {
        self.state().calls.waits += 1;
        Ok(())
    }
}

/// Launches that run one after the other.
#[derive(Debug)]
struct Recorded {
    device: Device,
    launches: Vec<cuda::Launch>,
}

impl Recording for Recorded {
    fn replay(&self) -> Result<(), DriverError> {
        let mut state = self.device.state();
        state.calls.replayed += 1;
        match state.runs {
            true => self.launches.iter().try_for_each(|launch| state.run(launch)),
            false => Ok(()),
        }
    }
}

fn unknown(kernel: &Kernel) -> DriverError {
    DriverError::Device(format!("kernel {} was not compiled", kernel.name))
}

fn outside(address: u64, bytes: usize) -> DriverError {
    DriverError::Device(format!("{bytes} bytes at {address:#x} belong to no allocation"))
}
