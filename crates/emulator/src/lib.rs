//! Runs CUDA kernels on the host, thread by thread, and finds races, wrong accesses and barriers that do not meet; for tests.
//!
//! The kernels of crate `cuda` are C that nvcc, NVRTC and the host's compiler take alike: what they use of the machine are the functions of
//! `machine.h`. Here these functions ask the emulator. Each thread of a block is a coroutine; which one goes on is random, and follows from a
//! seed. Copies to shared memory are made as late as the machine may make them. Tensor cores have the bits of the hardware ([`TensorCore`]).
//!
//! ```
//! use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
//!
//! let source = r#"
//!     #include "machine.h"
//!     struct arguments { u32 *x; };
//!     KERNEL(reversed, 32, struct arguments) {
//!         shared_put32(4 * THREAD, get32(a.x + THREAD));
//!         barrier();
//!         put32(a.x + THREAD, shared_get32(4 * (31 - THREAD)));
//!     }"#;
//! let mut module = Module::compile(source)?;
//! let mut memory = Memory::default();
//! let numbers: Vec<u8> = (0u32..32).flat_map(u32::to_ne_bytes).collect();
//! let x = memory.put(&numbers);
//! let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 1, seed: 0, records_traffic: false };
//! let call = Launch { kernel: "reversed", blocks: 1, threads: 32, shared: 128, arguments: &x.to_ne_bytes() };
//! let outcome = launch(&mut module, &mut memory, &call, &machine)?;
//! assert!(outcome.faults.is_empty());
//! assert_eq!(memory.get(x).map(|bytes| bytes[0]), Some(31));
//! # Ok::<(), bitbudget_emulator::ModuleError>(())
//! ```

mod collective;
mod copies;
mod driver;
mod fault;
mod hooks;
mod launch;
mod memory;
mod module;
mod place;
mod running;
mod shadow;
mod tensor_core;
mod traffic;

pub use driver::{Calls, Device};
pub use fault::{Fault, FaultKind};
pub use launch::{Launch, Machine, Outcome, launch};
pub use memory::{Address, Memory};
pub use module::{Module, ModuleError};
pub use tensor_core::{Operand, TensorCore};
pub use traffic::Traffic;
