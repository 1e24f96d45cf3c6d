//! Weights in the order in which products read them.
//!
//! A unit is 16 output channels of one group. It holds blocks of input elements (a channel, or a pair of channels in
//! BF16), a block holds phases, a phase holds `[element][tap][16]`.

use crate::operators::product::{Arithmetic, LANES, interleave, pair, pair_up, single};
use crate::tensors::elements::Elements;
use crate::tensors::parallel::{SharedOut, for_tasks, with_scratch};

/// The weights of a product, and how they are packed.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) arithmetic: Arithmetic,
    /// Channels of a group that are summed over.
    pub(super) inputs: usize,
    /// Channels of a group that come out.
    pub(super) outputs: usize,
    /// Taps of the kernel.
    pub(super) taps: usize,
    /// Whether they are stored by input channel.
    pub(super) transposed: bool,
    /// Input elements of a block.
    pub(super) block: usize,
    /// For every tap: taps of the phases before its own, taps of its phase, its place among them.
    pub(super) places: Vec<(usize, usize, usize)>,
}

impl Weights {
    /// Units of a group.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Input elements of a group.
    pub(super) fn elements(&self) -> usize {
        self.inputs.div_ceil(self.arithmetic.numbers())
    }

    /// Elements of a unit.
    pub(super) fn unit_len(&self) -> usize {
        self.elements() * self.taps * LANES
    }

    /// Elements of scratch memory that packing takes: numbers as they are unpacked, pairs of them, and taps side by side.
    pub(super) fn scratch(&self) -> usize {
        let channels = self.block * self.arithmetic.numbers();
        (LANES * channels.max(2) + LANES * self.block + LANES) * self.taps
    }

    /// Writes the units from `first` on to `packed`, one after the other.
    pub(super) fn pack(&self, w: Elements, first: usize, count: usize, packed: &mut [f32]) {
        let unit_len = self.unit_len();
        let out = SharedOut::new(packed);
        for_tasks(count, |i| {
            // SAFETY: a task writes its own unit.
            let unit = unsafe { out.slice(i * unit_len, unit_len) };
            with_scratch(self.scratch(), |scratch| self.pack_unit(w, first + i, unit, scratch));
        });
    }

    fn pack_unit(&self, w: Elements, unit: usize, packed: &mut [f32], scratch: &mut [f32]) {
        let (group, panel) = (unit / self.panels(), unit % self.panels());
        let base = group * self.outputs * self.inputs * self.taps;
        let (taps, numbers) = (self.taps, self.arithmetic.numbers());
        let outputs = LANES.min(self.outputs - panel * LANES);
        for first in (0..self.elements()).step_by(self.block) {
            let elements = self.block.min(self.elements() - first);
            let packed = &mut packed[first * taps * LANES..][..elements * taps * LANES];
            let (channel, channels) = (first * numbers, (elements * numbers).min(self.inputs - first * numbers));
            if !self.transposed {
                // There is one phase, whose taps are in order.
                let (unpacked, paired) = scratch.split_at_mut(LANES * channels * taps);
                let mut lines: [&[f32]; LANES] = [&[]; LANES];
                let buffers = unpacked.chunks_mut(channels * taps).zip(paired.chunks_mut(elements * taps));
                for (row, ((unpacked, paired), line)) in buffers.zip(&mut lines).enumerate().take(outputs) {
                    let at = base + ((panel * LANES + row) * self.inputs + channel) * taps;
                    let w = w.read(at, channels * taps, unpacked);
                    *line = match self.arithmetic {
                        Arithmetic::F32 => w,
                        Arithmetic::Bf16 => {
                            pair_channels(w, taps, paired);
                            paired
                        }
                    };
                }
                interleave(&lines[..outputs], LANES, elements * taps, packed);
                continue;
            }
            let row = outputs * taps;
            let (unpacked, rest) = scratch.split_at_mut(2 * row);
            let (even, odd) = unpacked.split_at_mut(row);
            let (paired, side_by_side) = rest.split_at_mut(row);
            for element in 0..elements {
                let channel = channel + element * numbers;
                let at = |channel: usize| base + (channel * self.outputs + panel * LANES) * taps;
                let even = w.read(at(channel), row, even);
                let w = match self.arithmetic {
                    Arithmetic::F32 => even,
                    Arithmetic::Bf16 if channel + 1 < self.inputs => {
                        pair(even, w.read(at(channel + 1), row, odd), paired);
                        &*paired
                    }
                    Arithmetic::Bf16 => {
                        single(even, paired);
                        &*paired
                    }
                };
                let mut lines: [&[f32]; LANES] = [&[]; LANES];
                lines.iter_mut().zip(w.chunks(taps)).for_each(|(line, w)| *line = w);
                let side_by_side = &mut side_by_side[..taps * LANES];
                interleave(&lines[..outputs], LANES, taps, side_by_side);
                for (side_by_side, &(before, taps, index)) in side_by_side.chunks(LANES).zip(&self.places) {
                    let place = elements * before + element * taps + index;
                    packed[place * LANES..][..LANES].copy_from_slice(side_by_side);
                }
            }
        }
    }
}

/// Pairs of neighbouring channels, tap by tap; the last one may lack its second channel.
fn pair_channels(w: &[f32], taps: usize, paired: &mut [f32]) {
    if taps == 1 {
        return pair_up(w, paired);
    }
    for (w, paired) in w.chunks(2 * taps).zip(paired.chunks_mut(taps)) {
        match w.len() == 2 * taps {
            true => pair(&w[..taps], &w[taps..], paired),
            false => single(w, paired),
        }
    }
}
