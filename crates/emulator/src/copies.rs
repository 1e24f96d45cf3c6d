//! Copies to shared memory that are under way.

use crate::place::Place;
use std::collections::VecDeque;

/// A copy of 16 bytes: the first `valid` from global memory, zeros behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) at: u32,
    pub(crate) from: usize,
    pub(crate) valid: u32,
    pub(crate) place: Place,
}

/// The copies of a thread, in groups.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    open: Vec<Copy>,
    groups: VecDeque<Vec<Copy>>,
}

impl Copies {
    pub(crate) fn begin(&mut self, at: u32, from: usize, valid: u32, place: Place) {
        self.open.push(Copy { at, from, valid, place });
    }

    /// Makes those since the last call a group, which may be empty.
    pub(crate) fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }

    /// Takes all groups out but the last `left`.
    pub(crate) fn due(&mut self, left: usize) -> Vec<Copy> {
        let count = self.groups.len().saturating_sub(left);
        self.groups.drain(..count).flatten().collect()
    }
}
