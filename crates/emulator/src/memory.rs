//! The device's memory: allocations of exact sizes, and who touched their bytes.

use crate::shadow::Byte;

/// An address on the device.
pub type Address = u64;

/// Allocations, each by itself, so that what lies beside one belongs to none.
#[derive(Debug, Default)]
pub struct Memory {
    allocations: Vec<Allocation>,
}

/// The device begins allocations at multiples of its size.
#[derive(Clone, Debug)]
#[repr(align(256))]
struct Unit([u8; UNIT]);

const UNIT: usize = 256;
/// Bytes of which is known together whether a launch touched them.
const PAGE: usize = 4096;

#[derive(Debug)]
struct Allocation {
    units: Vec<Unit>,
    bytes: usize,
    shadow: Vec<Byte>,
    /// By page, and the pages in the order in which they were touched.
    is_touched: Vec<bool>,
    touched: Vec<usize>,
}

impl Allocation {
    fn begin(&self) -> usize {
        self.units.as_ptr() as usize
    }

    /// How many bytes lie before those at an address, if all of them belong to it.
    fn first(&self, address: usize, bytes: usize) -> Option<usize> {
        let first = address.checked_sub(self.begin())?;
        (first.saturating_add(bytes) <= self.bytes).then_some(first)
    }

    /// Takes note of bytes that a launch may touch.
    fn touch(&mut self, first: usize, bytes: usize) {
        for page in first / PAGE..(first + bytes).div_ceil(PAGE) {
            if !std::mem::replace(&mut self.is_touched[page], true) {
                self.touched.push(page);
            }
        }
    }

    /// Forgets who touched what.
    fn forget_accesses(&mut self) {
        for page in self.touched.drain(..) {
            self.is_touched[page] = false;
            let end = self.shadow.len().min((page + 1) * PAGE);
            self.shadow[page * PAGE..end].iter_mut().for_each(Byte::forget_accesses);
        }
    }
}

impl Memory {
    /// Memory that holds these bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Address {
        let mut units = vec![Unit([0xA5; UNIT]); bytes.len().div_ceil(UNIT).max(1)];
        for (unit, chunk) in units.iter_mut().zip(bytes.chunks(UNIT)) {
            unit.0[..chunk.len()].copy_from_slice(chunk);
        }
        let (shadow, is_touched) = (vec![Byte::KNOWN; bytes.len()], vec![false; bytes.len().div_ceil(PAGE)]);
        let allocation = Allocation { units, bytes: bytes.len(), shadow, is_touched, touched: Vec::new() };
        let address = allocation.begin() as Address;
        self.allocations.push(allocation);
        address
    }

    /// Memory of so many bytes of which nothing is known.
    pub fn reserve(&mut self, bytes: usize) -> Address {
        let address = self.put(&vec![0xA5; bytes]);
        if let Some(last) = self.allocations.last_mut() {
            last.shadow.fill(Byte::default());
        }
        address
    }

    /// Gives an allocation back, which begins at an address that [`Memory::put`] or [`Memory::reserve`] gave.
    pub fn release(&mut self, address: Address) {
        self.allocations.retain(|allocation| allocation.begin() as Address != address);
    }

    /// The bytes of an allocation, which begins at an address that [`Memory::put`] or [`Memory::reserve`] gave.
    pub fn get(&self, address: Address) -> Option<Vec<u8>> {
        let allocation = self.allocations.iter().find(|a| a.begin() as Address == address)?;
        let bytes = allocation.units.iter().flat_map(|unit| unit.0);
        Some(bytes.take(allocation.bytes).collect())
    }

    /// Bytes at an address, if they belong to one allocation.
    pub fn read(&self, address: Address, bytes: usize) -> Option<Vec<u8>> {
        let (allocation, first) = self.allocations.iter().find_map(|a| Some((a, a.first(address as usize, bytes)?)))?;
        let all = allocation.units.iter().flat_map(|unit| unit.0);
        Some(all.skip(first).take(bytes).collect())
    }

    /// Writes bytes to an address; says whether they belong to one allocation.
    pub fn write(&mut self, address: Address, bytes: &[u8]) -> bool {
        let found = self.allocations.iter_mut().find_map(|a| {
            let first = a.first(address as usize, bytes.len())?;
            Some((a, first))
        });
        let Some((allocation, first)) = found else { return false };
        for (at, &byte) in (first..).zip(bytes) {
            allocation.units[at / UNIT].0[at % UNIT] = byte;
        }
        allocation.shadow[first..first + bytes.len()].fill(Byte::KNOWN);
        true
    }

    /// Nothing is known of the bytes at an address any more: whoever reads them before he writes them makes a mistake.
    pub fn forget(&mut self, address: Address, bytes: usize) {
        self.shadow(address as usize, bytes).into_iter().for_each(|shadow| shadow.fill(Byte::default()));
    }

    /// The accesses of the bytes at an address, if they belong to one allocation.
    pub(crate) fn shadow(&mut self, address: usize, bytes: usize) -> Option<&mut [Byte]> {
        let (allocation, first) = self.allocations.iter_mut().find_map(|a| {
            let first = a.first(address, bytes)?;
            Some((a, first))
        })?;
        allocation.touch(first, bytes);
        allocation.shadow.get_mut(first..first + bytes)
    }

    /// Forgets who touched what: a launch comes after everything before it.
    pub(crate) fn begin_launch(&mut self) {
        self.allocations.iter_mut().for_each(Allocation::forget_accesses);
    }
}
