//! Values that stay on a device from step to step.

use super::codes::{decoded, encoded};
use super::memory::Memory;
use crate::error::ExecError;
use bitbudget_cuda::Driver;
use bitbudget_ir::Layout;
use bitbudget_program::{Buffer, Program, Source};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Masters, states and constants on a device, by name.
#[derive(Debug)]
pub(crate) struct Kept {
    driver: Arc<dyn Driver>,
    blocks: Vec<Memory>,
    places: BTreeMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    address: u64,
    buffer: Buffer,
}

impl Kept {
    pub(crate) fn new(driver: &Arc<dyn Driver>) -> Kept {
        Kept { driver: driver.clone(), blocks: Vec::new(), places: BTreeMap::new() }
    }

    /// Uploads values of a program in one block of memory.
    pub(crate) fn add(&mut self, program: &Program, values: &[(&Buffer, Option<&[f32]>)]) -> Result<(), ExecError> {
        if values.is_empty() {
            return Ok(());
        }
        let bytes = values.iter().map(|(buffer, _)| program.aligned(buffer.bytes())).sum();
        let block = Memory::new(&self.driver, bytes, "kept values")?;
        let mut address = block.address();
        self.blocks.push(block);
        for (buffer, value) in values {
            let fault = |e| ExecError::new(format!("`{}`", buffer.name), e);
            let bytes = match value {
                Some(value) => encoded(buffer, value),
                None => vec![0; buffer.bytes()],
            };
            self.driver.write(address, &bytes).map_err(fault)?;
            self.places.insert(buffer.name.clone(), Place { address, buffer: (*buffer).clone() });
            address += program.aligned(bytes.len()) as u64;
        }
        Ok(())
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.places.keys()
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(Memory::bytes).sum()
    }

    /// Where the value of a buffer lies, in the buffer's order.
    pub(super) fn address(&self, buffer: &Buffer) -> Result<u64, ExecError> {
        let fault = |reason| ExecError::inputs(format!("`{}`", buffer.name), reason);
        let place = self.places.get(&buffer.name).ok_or_else(|| fault("has no value".into()))?;
        let (has, needs) = (&place.buffer, buffer);
        match (has.shape == needs.shape, has.layout == needs.layout) {
            (true, true) => Ok(place.address),
            (false, _) => Err(fault(format!("its value has shape {:?}, the program's {:?}", has.shape, needs.shape))),
            (true, false) => {
                let [has, needs] = [has.layout, needs.layout].map(order);
                Err(fault(format!("its value lies {has}, the program reads it {needs}")))
            }
        }
    }

    /// The values of names, row-major.
    pub(crate) fn read<'n>(&self, names: impl Iterator<Item = &'n String>) -> Result<Vec<Vec<f32>>, ExecError> {
        let fault = |name: &str| ExecError::inputs(format!("`{name}`"), "is not kept".into());
        let places = names.map(|name| self.places.get(name).ok_or_else(|| fault(name)));
        let places = places.collect::<Result<Vec<&Place>, ExecError>>()?;
        let ranges: Vec<(u64, usize)> = places.iter().map(|place| (place.address, place.buffer.bytes())).collect();
        let bytes = self.driver.read(&ranges).map_err(|e| ExecError::new("kept values", e))?;
        let numbers = places.iter().zip(bytes).map(|(place, bytes)| {
            let place = &place.buffer;
            decoded(place, Source::Kept, &bytes).map_err(|e| ExecError::new(format!("`{}`", place.name), e))
        });
        numbers.collect()
    }
}

fn order(layout: Layout) -> &'static str {
    match layout {
        Layout::ROWS => "by rows",
        _ => "with its channels last",
    }
}
