//! What the accesses of warps cost: sectors of global memory, passes through the banks of shared memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The accesses of one place of a kernel's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Accesses of a warp.
    pub requests: u64,
    /// Bytes that its threads read or wrote.
    pub bytes: u64,
    /// Sectors of 32 bytes of global memory; or passes, each of which reads or writes 32 banks of 4 bytes of shared memory.
    pub units: u64,
}

/// A warp's access: the place of the source, block and warp, and how often the threads were there before.
type Request = (usize, u32, u32, u32);

/// Which thread of a warp, the first byte, and how many.
type Bytes = (u32, u64, u32);

/// The accesses of a launch.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    visits: HashMap<(usize, u32, u32), u32>,
    requests: BTreeMap<Request, Vec<Bytes>>,
    shared: BTreeSet<usize>,
}

impl Recorder {
    /// Takes note of the bytes that a thread reads or writes at a place of the source.
    pub(crate) fn record(
        &mut self,
        place: usize,
        (block, thread): (u32, u32),
        address: u64,
        bytes: u32,
        is_shared: bool,
    ) {
        let visit = self.visits.entry((place, block, thread)).or_default();
        self.requests.entry((place, block, thread / 32, *visit)).or_default().push((thread % 32, address, bytes));
        *visit += 1;
        if is_shared {
            self.shared.insert(place);
        }
    }

    /// The sums by place.
    pub(crate) fn sums(&self) -> BTreeMap<usize, Traffic> {
        let mut sums: BTreeMap<usize, Traffic> = BTreeMap::new();
        for (&(place, ..), accesses) in &self.requests {
            let sum = sums.entry(place).or_default();
            sum.requests += 1;
            sum.bytes += accesses.iter().map(|&(.., bytes)| u64::from(bytes)).sum::<u64>();
            sum.units += if self.shared.contains(&place) { passes(accesses) } else { sectors(accesses) };
        }
        sums
    }
}

/// The units of so many bytes that accesses touch, each once.
fn touched(accesses: &[Bytes], unit: u64) -> BTreeSet<u64> {
    accesses.iter().flat_map(|&(_, first, bytes)| first / unit..=(first + u64::from(bytes) - 1) / unit).collect()
}

fn sectors(accesses: &[Bytes]) -> u64 {
    touched(accesses, 32).len() as u64
}

/// Threads are served together as long as they move at most 128 bytes; words of one bank one after the other.
fn passes(accesses: &[Bytes]) -> u64 {
    let most = accesses.iter().map(|&(.., bytes)| bytes).max().unwrap_or(4).max(4);
    let mut served: BTreeMap<u32, Vec<Bytes>> = BTreeMap::new();
    for &access in accesses {
        served.entry(access.0 / (128 / most)).or_default().push(access);
    }
    let of_some = |accesses: &Vec<Bytes>| {
        let mut banks = [0u64; 32];
        touched(accesses, 4).into_iter().for_each(|word| banks[(word % 32) as usize] += 1);
        banks.into_iter().max().unwrap_or(0)
    };
    served.values().map(of_some).sum()
}
