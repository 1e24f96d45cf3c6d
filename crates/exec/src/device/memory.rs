//! Memory on a device.

use crate::error::ExecError;
use bitbudget_cuda::Driver;
use std::sync::Arc;

/// An allocation, which goes back to the device with it.
#[derive(Debug)]
pub(crate) struct Memory {
    driver: Arc<dyn Driver>,
    address: u64,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(driver: &Arc<dyn Driver>, bytes: usize, what: &str) -> Result<Memory, ExecError> {
        let address = driver.allocate(bytes).map_err(|e| ExecError::new(what, e))?;
        Ok(Memory { driver: driver.clone(), address, bytes })
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.driver.release(self.address);
    }
}

/// A device with the memory of the steps that run on it, one after the other.
#[derive(Debug)]
pub(crate) struct Engine {
    driver: Arc<dyn Driver>,
    arena: Option<Memory>,
    given: Option<Memory>,
}

/// Where the memory of a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) arena: u64,
    /// What it is given.
    pub(super) given: u64,
}

impl Engine {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Engine {
        Engine { driver, arena: None, given: None }
    }

    pub(crate) fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// Bytes of the arena and of what steps are given.
    pub(crate) fn bytes(&self) -> [usize; 2] {
        [&self.arena, &self.given].map(|block| block.as_ref().map_or(0, Memory::bytes))
    }

    /// Sees to it that steps have so many bytes.
    pub(super) fn reserve(&mut self, arena: usize, given: usize) -> Result<Begin, ExecError> {
        let Engine { driver, .. } = self;
        Ok(Begin {
            arena: at_least(driver, &mut self.arena, arena, "the memory of a step")?,
            given: at_least(driver, &mut self.given, given, "the inputs of a step")?,
        })
    }
}

/// Where a block of at least so many bytes begins.
fn at_least(driver: &Arc<dyn Driver>, block: &mut Option<Memory>, bytes: usize, what: &str) -> Result<u64, ExecError> {
    match block {
        Some(block) if block.bytes() >= bytes => Ok(block.address()),
        _ if bytes == 0 => Ok(0),
        _ => {
            // What is too small goes first, so that both are never there at once.
            *block = None;
            let larger = Memory::new(driver, bytes, what)?;
            Ok(block.insert(larger).address())
        }
    }
}
