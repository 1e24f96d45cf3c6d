//! Weights in the order in which products read them.
//!
//! A unit is 16 output channels of one group. It holds blocks of input elements (a channel, or a pair of channels in
//! BF16), a block holds phases, a phase holds `[element][tap][16]`.

use super::dense::Dense;
use crate::Elements;
use crate::parallel::{SharedOut, for_tasks, with_scratch};
use crate::product::LANES;

/// Writes the units from `first` on to `packed`, one after the other.
pub(super) fn pack(plan: &Dense, w: Elements, first: usize, count: usize, packed: &mut [f32]) {
    let unit_len = plan.unit_len();
    let out = SharedOut::new(packed);
    for_tasks(count, |i| {
        // SAFETY: a task writes its own unit.
        let unit = unsafe { out.slice(i * unit_len, unit_len) };
        with_scratch(scratch(plan), |scratch| pack_unit(plan, w, first + i, unit, scratch));
    });
}

/// Elements of scratch memory that packing takes.
pub(super) fn scratch(plan: &Dense) -> usize {
    LANES.max(plan.block * plan.arithmetic.numbers()) * plan.taps
}

fn pack_unit(plan: &Dense, w: Elements, unit: usize, packed: &mut [f32], scratch: &mut [f32]) {
    let (group, panel) = (unit / plan.panels(), unit % plan.panels());
    let base = group * plan.outputs * plan.inputs * plan.taps;
    let outputs = LANES.min(plan.outputs - panel * LANES);
    packed.fill(0.0);
    for first in (0..plan.elements()).step_by(plan.block) {
        let elements = plan.block.min(plan.elements() - first);
        let packed = &mut packed[first * plan.taps * LANES..][..elements * plan.taps * LANES];
        let numbers = plan.arithmetic.numbers();
        let (channel, channels) = (first * numbers, (elements * numbers).min(plan.inputs - first * numbers));
        // The place of an element and tap inside the block.
        let place = |element: usize, tap: usize| {
            let (before, taps, index) = plan.places[tap];
            elements * before + element * taps + index
        };
        let mut put = |c: usize, tap: usize, row: usize, x: f32| {
            if numbers == 1 {
                packed[place(c, tap) * LANES + row] = x;
            } else {
                let element = &mut packed[place(c / 2, tap) * LANES + row];
                let half = x.to_bits() >> 16 << (16 * (c % 2));
                *element = f32::from_bits(element.to_bits() | half);
            }
        };
        if plan.transposed {
            for c in 0..channels {
                let at = base + ((channel + c) * plan.outputs + panel * LANES) * plan.taps;
                let w = w.read(at, outputs * plan.taps, scratch);
                for (row, w) in w.chunks(plan.taps).enumerate() {
                    w.iter().enumerate().for_each(|(tap, w)| put(c, tap, row, *w));
                }
            }
        } else {
            for row in 0..outputs {
                let at = base + ((panel * LANES + row) * plan.inputs + channel) * plan.taps;
                let w = w.read(at, channels * plan.taps, scratch);
                for (c, w) in w.chunks(plan.taps).enumerate() {
                    w.iter().enumerate().for_each(|(tap, w)| put(c, tap, row, *w));
                }
            }
        }
    }
}
