//! NVIDIA's driver: memory, launches and graphs on the one stream of a device of candle's.

mod compiler;
mod errors;
mod graph;
mod staging;

use crate::error::ExecError;
use bitbudget_cuda::{Driver, DriverError, Kernel, Launch, Recording, packed};
use candle_core::cuda_backend::cudarc::driver::sys::{CUfunction_attribute as Attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, result, sys};
use compiler::Compiler;
use errors::of_driver;
use graph::Graph;
use staging::Staging;
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least compute capability whose tensor cores take BF16 and TF32.
const LEAST: (i32, i32) = (8, 0);

/// A CUDA device.
#[derive(Debug)]
pub(crate) struct Nvidia {
    stream: Arc<CudaStream>,
    /// Holds the context.
    _device: candle_core::Device,
    name: String,
    compiler: Compiler,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    functions: BTreeMap<String, Function>,
    staging: Staging,
}

/// A kernel on the device. Its module stays loaded for as long as the context.
#[derive(Clone, Copy, Debug)]
struct Function(sys::CUfunction);

// SAFETY: handles of functions may be used from any thread that has bound their context.
unsafe impl Send for Function {}

impl Nvidia {
    /// The device of a number.
    pub(crate) fn open(ordinal: usize) -> Result<Nvidia, ExecError> {
        let place = || format!("CUDA device {ordinal}");
        if let Ok(count) = CudaContext::device_count()
            && usize::try_from(count).is_ok_and(|count| ordinal >= count)
        {
            return Err(ExecError::new(place(), format!("no device has this number; found {count}, numbered from 0")));
        }
        // Steps run on any of the executor's threads, so that the stream must not be the calling thread's.
        let device = candle_core::Device::new_cuda_with_stream(ordinal).map_err(|e| ExecError::new(place(), e))?;
        let stream = device.as_cuda_device().map_err(|e| ExecError::new(place(), e))?.cuda_stream();
        let context = stream.context();
        let fault = |e| ExecError::new(place(), of_driver(e));
        let (name, capability) = (context.name().map_err(fault)?, context.compute_capability().map_err(fault)?);
        if capability < LEAST {
            let reason = format!(
                "{name} has compute capability {}.{}; programs for CUDA need tensor cores for BF16, from {}.{} on",
                capability.0, capability.1, LEAST.0, LEAST.1
            );
            return Err(ExecError::new(place(), reason));
        }
        let state = Mutex::new(State { functions: BTreeMap::new(), staging: Staging::default() });
        let compiler = Compiler::new(capability).map_err(|e| ExecError::new(place(), e))?;
        Ok(Nvidia { stream, _device: device, name, compiler, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bind(&self) -> Result<(), DriverError> {
        self.stream.context().bind_to_thread().map_err(of_driver)
    }

    /// Loads compiled code, and finds its kernels.
    fn load(&self, code: &[u8], kernels: &[&Kernel]) -> Result<Vec<(String, Function)>, DriverError> {
        // SAFETY: the code is a whole cubin that NVRTC made for this architecture; the driver copies it.
        let module = unsafe { result::module::load_data(code.as_ptr().cast()) }.map_err(of_driver)?;
        let function = |kernel: &&Kernel| {
            let name = CString::new(kernel.name.as_str()).map_err(|e| DriverError::Compiler(e.to_string()))?;
            // SAFETY: the module was loaded above and is never unloaded.
            let function = unsafe { result::module::get_function(module, name) }.map_err(of_driver)?;
            Ok((kernel.name.clone(), Function(function)))
        };
        kernels.iter().map(function).collect()
    }

    /// Asks for a launch, or adds it to the graph that the stream is capturing.
    fn launch(&self, state: &State, launch: &Launch) -> Result<(), DriverError> {
        let stream = self.stream.cu_stream();
        match launch {
            Launch::Zero { address, bytes } => {
                // SAFETY: the executor asks for bytes of its own allocations only.
                unsafe { result::memset_d8_async(*address, 0, *bytes, stream) }.map_err(of_driver)
            }
            Launch::Kernel { kernel, blocks, shared, arguments } => {
                let Some(&Function(function)) = state.functions.get(&kernel.name) else {
                    return Err(DriverError::Device(format!("kernel {} was not compiled", kernel.name)));
                };
                let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                // Arguments are one struct, whose widest members have 8 bytes.
                let mut words = vec![0u64; packed(arguments).len().div_ceil(8)];
                bytemuck::cast_slice_mut(&mut words).copy_from_slice(&packed(arguments));
                let mut parameters = [words.as_mut_ptr().cast::<c_void>()];
                let (grid, block) = ((*blocks, 1, 1), (kernel.threads, 1, 1));
                // SAFETY: the function is there, takes one struct of these bytes, which the driver copies, and reads and writes the
                // memory of the program only, as its checks and the emulator's tests say.
                unsafe {
                    if *shared > 0 {
                        let bytes = i32::try_from(*shared).unwrap_or(i32::MAX);
                        result::function::set_function_attribute(function, attribute, bytes).map_err(of_driver)?;
                    }
                    result::launch_kernel(function, grid, block, *shared, stream, &mut parameters).map_err(of_driver)
                }
            }
        }
    }
}

impl Driver for Nvidia {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DriverError> {
        self.bind()?;
        // SAFETY: what is allocated is given back by `release` only.
        match unsafe { result::malloc_sync(bytes.max(1)) } {
            Ok(address) => Ok(address),
            Err(e) if e.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => Err(DriverError::Memory(bytes)),
            Err(e) => Err(of_driver(e)),
        }
    }

    fn release(&self, address: u64) {
        if self.wait().is_ok() {
            // SAFETY: `allocate` gave the address, nothing on the stream uses it any more. A failure loses memory, no more.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        self.bind()?;
        self.state().staging.write(&self.stream, address, bytes)
    }

    fn read(&self, ranges: &[(u64, usize)]) -> Result<Vec<Vec<u8>>, DriverError> {
        self.bind()?;
        let mut all: Vec<Vec<u8>> = ranges.iter().map(|&(_, bytes)| vec![0; bytes]).collect();
        let copies = ranges.iter().zip(&mut all).filter(|((_, bytes), _)| *bytes > 0);
        let copied = copies.map(|(&(address, _), to)| {
            // SAFETY: the range belongs to an allocation; `to` stays where it is until the stream was waited for.
            unsafe { result::memcpy_dtoh_async(to, address, self.stream.cu_stream()) }.map_err(of_driver)
        });
        let copied: Result<(), DriverError> = copied.collect();
        // Copies that were asked for must end before their memory does.
        self.wait()?;
        copied.map(|()| all)
    }

    fn compile(&self, kernels: &[&Kernel]) -> Result<(), DriverError> {
        self.bind()?;
        let mut state = self.state();
        let new: Vec<&Kernel> = kernels.iter().filter(|k| !state.functions.contains_key(&k.name)).copied().collect();
        for (some, code) in self.compiler.compile(&new)? {
            state.functions.extend(self.load(&code, &some)?);
        }
        Ok(())
    }

    fn record(&self, launches: &[&Launch]) -> Result<Box<dyn Recording>, DriverError> {
        self.bind()?;
        let state = self.state();
        let graph =
            Graph::capture(&self.stream, || launches.iter().try_for_each(|launch| self.launch(&state, launch)))?;
        Ok(Box::new(graph))
    }

    fn wait(&self) -> Result<(), DriverError> {
        self.bind()?;
        self.stream.synchronize().map_err(of_driver)?;
        self.state().staging.is_free();
        Ok(())
    }
}
