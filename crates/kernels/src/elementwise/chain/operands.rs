//! The operands of a part for one tile.

use super::plan::{Plan, Source, Step, Values};
use crate::tensors::elements::SharedOutput;
use crate::tensors::tile::Tile;

/// The operands of a part for one tile.
pub(super) struct Operands<'t> {
    pub(super) plan: &'t Plan,
    pub(super) step: &'t Step,
    pub(super) values: &'t Values<'t>,
    pub(super) slots: &'t [&'t mut [f32]],
    pub(super) places: &'t [SharedOutput],
    pub(super) tile: Tile,
}

impl Operands<'_> {
    /// How many operands have one number for each element.
    pub(super) fn count(&self) -> usize {
        self.step.sources.len()
    }

    /// The numbers of an operand with one for each element.
    pub(super) fn each(&self, index: usize) -> &[f32] {
        let Tile { start, len, .. } = self.tile;
        match self.step.sources[index] {
            Source::Tensor(x) => self.values.tensors[x].numbers().map_or(&[], |x| &x[start..start + len]),
            Source::Slot(slot) => &self.slots[slot][..len],
            // SAFETY: an earlier part of this tile wrote the elements, and only tiles of other tasks write now.
            Source::Output(output) => unsafe { self.places[output].numbers(start, len) }.map_or(&[], |x| &*x),
        }
    }

    /// One of the numbers for all elements.
    pub(super) fn scalar(&self, index: usize) -> f32 {
        self.values.scalars[self.step.scalars[index]]
    }

    /// One number for each row, from a table.
    pub(super) fn rows(&self, index: usize) -> &[f32] {
        self.step.rows(index, self.plan, self.values, self.tile)
    }
}
