//! A launch while it runs: blocks, their shared memory and threads, and what they found.

use crate::copies::Copies;
use crate::fault::{Fault, FaultKind};
use crate::memory::Memory;
use crate::place::Place;
use crate::shadow::{Access, Byte, Moment};
use crate::traffic::Recorder;
use corosensei::Yielder;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

/// A collective function that a thread has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) code: u32,
    pub(crate) input: *const u32,
    pub(crate) output: *mut u32,
    pub(crate) place: Place,
}

/// What a thread does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It can go on.
    Ready,
    Barrier(Place),
    Collective(Operation),
    /// It waits until the number at an address is its ticket.
    Turn {
        address: usize,
        ticket: u32,
        place: Place,
    },
    Ended,
}

/// A thread of a block.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) state: State,
    pub(crate) yielder: *const Yielder<(), ()>,
    /// How many collective functions it has passed.
    pub(crate) warp_epoch: u32,
    copies: Copies,
}

/// A block whose threads run.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) number: u32,
    pub(crate) threads: Vec<Thread>,
    /// How many barriers it has passed.
    pub(crate) epoch: u32,
    units: Vec<u128>,
    shadow: Vec<Byte>,
    acquired: Vec<Acquired>,
}

/// That a thread has seen what another block did before so many barriers of its.
#[derive(Clone, Copy, Debug)]
struct Acquired {
    block: u32,
    barriers: u32,
    thread: u32,
    epoch: u32,
}

impl Block {
    pub(crate) fn new(number: u32, threads: u32, shared: u32) -> Block {
        let thread =
            || Thread { state: State::Ready, yielder: std::ptr::null(), warp_epoch: 0, copies: Copies::default() };
        Block {
            number,
            threads: (0..threads).map(|_| thread()).collect(),
            epoch: 0,
            units: vec![u128::from_ne_bytes([0xA5; 16]); (shared as usize).div_ceil(16)],
            shadow: vec![Byte::default(); shared as usize],
            acquired: Vec::new(),
        }
    }

    /// Gives its shared memory up, of which nothing is read after its last thread.
    pub(crate) fn end(&mut self) {
        (self.units, self.shadow) = (Vec::new(), Vec::new());
    }

    fn moment(&self, thread: u32) -> Moment {
        let warp_epoch = self.threads.get(thread as usize).map_or(0, |thread| thread.warp_epoch);
        Moment { block: self.number, thread, block_epoch: self.epoch, warp_epoch }
    }

    /// How many barriers of another block come before this moment of a thread.
    fn ordered(&self, other: u32, thread: u32) -> u32 {
        let seen = self.acquired.iter().filter(|a| a.block == other && (a.thread == thread || a.epoch < self.epoch));
        seen.map(|a| a.barriers).max().unwrap_or(0)
    }
}

/// The launch.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) memory: Memory,
    pub(crate) blocks: Vec<Block>,
    /// The block, by its place in `blocks`, and the thread that run at the moment.
    pub(crate) current: (usize, u32),
    pub(crate) faults: Vec<Fault>,
    seen: BTreeSet<(FaultKind, Place)>,
    pub(crate) recorder: Option<Recorder>,
    /// What those that passed a turn on had done and seen, by the turn's address.
    passed: BTreeMap<usize, Vec<(u32, u32)>>,
    /// Where accesses go that must not be.
    nowhere: [u128; 1],
}

impl Running {
    pub(crate) fn new(memory: Memory, records_traffic: bool) -> Running {
        Running {
            memory,
            blocks: Vec::new(),
            current: (0, 0),
            faults: Vec::new(),
            seen: BTreeSet::new(),
            recorder: records_traffic.then(Recorder::default),
            passed: BTreeMap::new(),
            nowhere: [0],
        }
    }

    fn block(&mut self) -> &mut Block {
        &mut self.blocks[self.current.0]
    }

    fn thread(&mut self) -> &mut Thread {
        let thread = self.current.1 as usize;
        &mut self.block().threads[thread]
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.thread().state = state;
    }

    pub(crate) fn yielder(&mut self) -> *const Yielder<(), ()> {
        self.thread().yielder
    }

    pub(crate) fn nowhere(&mut self) -> *mut c_void {
        self.nowhere = [0];
        self.nowhere.as_mut_ptr().cast()
    }

    /// Takes note of a fault, once for each place of the source.
    pub(crate) fn fault(&mut self, kind: FaultKind, place: Place, detail: String) {
        if self.seen.insert((kind, place)) {
            let thread = (self.blocks[self.current.0].number, self.current.1);
            self.faults.push(Fault { kind, place: place.to_string(), thread, detail });
        }
    }

    /// Whether bytes of global memory may be accessed.
    pub(crate) fn global(&mut self, address: usize, bytes: u32, access: Access, place: Place) -> bool {
        let (block, thread) = (&self.blocks[self.current.0], self.current.1);
        let (moment, number) = (block.moment(thread), block.number);
        if !address.is_multiple_of(bytes.max(1) as usize) {
            self.fault(FaultKind::Misaligned, place, format!("{bytes} bytes at address {address:#x}"));
            return false;
        }
        let ordered = |other: u32| block.ordered(other, thread);
        let Some(shadow) = self.memory.shadow(address, bytes as usize) else {
            self.fault(FaultKind::Outside, place, format!("{bytes} bytes of global memory at {address:#x}"));
            return false;
        };
        let wrong = checked(shadow, moment, access, &ordered);
        if let Some((kind, detail)) = wrong {
            self.fault(kind, place, format!("{detail} global memory at {address:#x}"));
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.record(place.number(), (number, thread), address as u64, bytes, false);
        }
        true
    }

    /// The address of bytes of shared memory, if they may be accessed.
    pub(crate) fn shared(&mut self, at: u32, bytes: u32, access: Access, place: Place) -> Option<*mut c_void> {
        if !at.is_multiple_of(bytes.max(1)) {
            self.fault(FaultKind::Misaligned, place, format!("{bytes} bytes at byte {at} of shared memory"));
            return None;
        }
        let thread = self.current.1;
        let block = &mut self.blocks[self.current.0];
        let (moment, number) = (block.moment(thread), block.number);
        let range = at as usize..(at as usize).saturating_add(bytes as usize);
        let Some(shadow) = block.shadow.get_mut(range) else {
            let all = block.shadow.len();
            self.fault(FaultKind::Outside, place, format!("{bytes} bytes at byte {at} of {all} of shared memory"));
            return None;
        };
        let wrong = checked(shadow, moment, access, &|_| 0);
        if let Some((kind, detail)) = wrong {
            self.fault(kind, place, format!("{detail} shared memory at byte {at}"));
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.record(place.number(), (number, thread), u64::from(at), bytes, true);
        }
        // SAFETY: the bytes from `at` on are inside the block's shared memory, as its shadow is as long.
        Some(unsafe { self.block().units.as_mut_ptr().cast::<u8>().add(at as usize) }.cast())
    }

    /// What the block did before its last barrier, and what it saw, can be seen by those that take over at an address.
    pub(crate) fn release(&mut self, address: usize) {
        let thread = self.current.1;
        let block = self.block();
        let seen = block.acquired.iter().filter(|a| a.thread == thread || a.epoch < block.epoch);
        let mut done: Vec<(u32, u32)> = seen.map(|a| (a.block, a.barriers)).collect();
        done.push((block.number, block.epoch));
        self.passed.entry(address).or_default().extend(done);
    }

    /// Passes a turn on.
    pub(crate) fn pass(&mut self, address: usize, ticket: u32) {
        self.release(address);
        for thread in self.blocks.iter_mut().flat_map(|block| &mut block.threads) {
            if matches!(thread.state, State::Turn { address: of, ticket: waits, .. } if of == address && waits == ticket)
            {
                thread.state = State::Ready;
            }
        }
    }

    /// Takes a turn over.
    pub(crate) fn take_over(&mut self, address: usize) {
        let passed = self.passed.get(&address).cloned().unwrap_or_default();
        let thread = self.current.1;
        let block = self.block();
        let epoch = block.epoch;
        block.acquired.extend(passed.into_iter().map(|(of, barriers)| Acquired { block: of, barriers, thread, epoch }));
    }

    /// Begins a copy of 16 bytes to shared memory. The bytes there are unknown until the thread waits for it.
    pub(crate) fn begin_copy(&mut self, at: u32, from: usize, valid: u32, place: Place) {
        if valid > 16 || !from.is_multiple_of(16) && valid > 0 {
            let detail = format!("a copy of {valid} bytes from address {from:#x}");
            return self.fault(FaultKind::Misaligned, place, detail);
        }
        if let Some(to) = self.shared(at, 16, Access::Write, place) {
            // SAFETY: these 16 bytes are shared memory of the block, as just asked.
            unsafe { to.cast::<[u8; 16]>().write([0xA5; 16]) };
            let thread = self.current.1 as usize;
            let block = self.block();
            block.shadow[at as usize..at as usize + 16].iter_mut().for_each(Byte::expect_copy);
            block.threads[thread].copies.begin(at, from, valid, place);
        }
    }

    pub(crate) fn commit_copies(&mut self) {
        self.thread().copies.commit();
    }

    /// Makes the copies of all groups but the last `left`, as late as the machine may.
    pub(crate) fn wait_for_copies(&mut self, left: usize) {
        for copy in self.thread().copies.due(left) {
            let mut bytes = [0u8; 16];
            // The source's 16 bytes lie in one allocation only if all are valid.
            let is_there = copy.valid == 0 || self.global_bytes(copy.from, copy.valid, copy.place);
            if is_there {
                // SAFETY: these bytes are memory of the device, as just asked; there may be none.
                unsafe {
                    std::ptr::copy_nonoverlapping(copy.from as *const u8, bytes.as_mut_ptr(), copy.valid as usize)
                };
            }
            if let Some(to) = self.shared(copy.at, 16, Access::Write, copy.place) {
                // SAFETY: these 16 bytes are shared memory of the block, as just asked.
                unsafe { to.cast::<[u8; 16]>().write(bytes) };
            }
        }
    }

    /// Whether bytes of any number may be read at an address that is aligned well.
    fn global_bytes(&mut self, from: usize, bytes: u32, place: Place) -> bool {
        (0..bytes).all(|byte| self.global(from + byte as usize, 1, Access::Read, place))
    }
}

/// What is wrong with an access of bytes.
fn checked(
    bytes: &mut [Byte],
    now: Moment,
    access: Access,
    ordered: &dyn Fn(u32) -> u32,
) -> Option<(FaultKind, String)> {
    let mut wrong = None;
    for byte in bytes {
        if access != Access::Write && !byte.is_known() {
            wrong = wrong.or(Some((FaultKind::NotWritten, format!("{access:?} of"))));
        }
        if let Err((then, earlier)) = byte.access(now, access, ordered) {
            let detail = format!(
                "{access:?} beside a {earlier:?} of block {}, thread {}:",
                then.block as i32, then.thread as i32
            );
            wrong = wrong.or(Some((FaultKind::Race, detail)));
        }
    }
    wrong
}
