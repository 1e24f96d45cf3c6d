//! Loops over rayon's current pool in chunks that do not depend on the number of threads, and scratch memory.

use std::cell::RefCell;

use bitbudget_formats::Counts;
use rayon::prelude::*;

/// Elements that one task of an elementwise loop takes (64 KiB).
pub(crate) const CHUNK: usize = 16 * 1024;

/// Runs `f(task)` for every task below `tasks`.
pub(crate) fn for_tasks(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 {
        (0..tasks).for_each(f);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// The sum of `f(task)` over every task below `tasks`.
pub(crate) fn sum_tasks(tasks: usize, f: impl Fn(usize) -> Counts + Sync + Send) -> Counts {
    if tasks <= 1 { (0..tasks).map(f).sum() } else { (0..tasks).into_par_iter().with_max_len(1).map(f).sum() }
}

/// How many rows of `len` elements make one task of about [`CHUNK`] elements.
pub(crate) fn rows_per_task(len: usize) -> usize {
    (CHUNK / len.max(1)).max(1)
}

/// A pointer into an output that tasks write at places of their own.
pub(crate) struct SharedOut(*mut f32, usize);

// SAFETY: the pointer is only dereferenced through `slice`, whose callers promise disjoint places.
unsafe impl Sync for SharedOut {}
// SAFETY: as above.
unsafe impl Send for SharedOut {}

impl SharedOut {
    pub(crate) fn new(y: &mut [f32]) -> Self {
        SharedOut(y.as_mut_ptr(), y.len())
    }

    /// The elements from `offset` to `offset + len`.
    ///
    /// # Safety
    /// The range is inside the slice, and no other task touches it while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, offset: usize, len: usize) -> &mut [f32] {
        debug_assert!(offset + len <= self.1);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }
}

/// A line of the cache, at which scratch memory begins.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; LINE]);

const LINE: usize = 16;

/// A thread's scratch memory: one block, of which nested loans take successive parts.
struct Scratch {
    block: Vec<Line>,
    /// Lines that are lent.
    lent: usize,
    /// Lines that were asked for at once at most.
    wanted: usize,
}

thread_local! {
    static BLOCK: RefCell<Scratch> = const { RefCell::new(Scratch { block: Vec::new(), lent: 0, wanted: 0 }) };
}

impl Scratch {
    /// The address of `lines` lines that are lent now, or nothing where the block is too small while parts of it are lent.
    fn lend(&mut self, lines: usize) -> Option<*mut f32> {
        let end = self.lent + lines;
        self.wanted = self.wanted.max(end);
        if self.lent == 0 && self.block.len() < self.wanted {
            self.block = vec![Line([0.0; LINE]); self.wanted];
        }
        let start = self.block.get_mut(self.lent..end)?.as_mut_ptr().cast();
        self.lent = end;
        Some(start)
    }
}

/// Lends this thread's scratch memory, of `len` elements with arbitrary contents.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let lines = len.div_ceil(LINE);
    let Some(start) = BLOCK.with_borrow_mut(|scratch| scratch.lend(lines)) else {
        // The next loan that is not nested finds a larger block.
        return f(&mut vec![0.0; len]);
    };
    // SAFETY: the block holds `lines` lines from here on, a line is an array of `LINE` numbers without padding, no other
    // loan covers them until they are given back below, and the block is not replaced while a part of it is lent.
    let result = f(unsafe { std::slice::from_raw_parts_mut(start, len) });
    BLOCK.with_borrow_mut(|scratch| scratch.lent -= lines);
    result
}

/// The scratch memory that a kernel other than convolution and matrix product takes per thread, in bytes, for planes of at most
/// 128x128 elements.
pub const SCRATCH: usize = 256 * 1024;

/// Makes this thread hold scratch memory of `bytes` at least, so that kernels do not enlarge it piece by piece.
pub fn reserve_scratch(bytes: usize) {
    with_scratch(bytes.div_ceil(size_of::<f32>()), |_| {});
}

/// Bytes of scratch memory that this thread holds between kernels.
pub fn scratch_bytes() -> usize {
    BLOCK.with_borrow(|scratch| scratch.block.len() * size_of::<Line>())
}
