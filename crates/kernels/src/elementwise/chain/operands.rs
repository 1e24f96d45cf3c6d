//! The operands of a part for one tile.

use super::plan::Source;
use crate::tensors::elements::SharedOutput;
use crate::tensors::tile::{Tile, Tiles};

/// The operands of a part for one tile.
pub(super) struct Operands<'t> {
    pub(super) sources: &'t [Source<'t>],
    pub(super) scalars: &'t [f32],
    pub(super) tables: &'t [Vec<f32>],
    pub(super) tiles: &'t Tiles,
    pub(super) slots: &'t [&'t mut [f32]],
    pub(super) places: &'t [SharedOutput],
    pub(super) tile: Tile,
}

impl Operands<'_> {
    /// The numbers of an operand with one for each element.
    pub(super) fn each(&self, index: usize) -> &[f32] {
        let Tile { start, len, .. } = self.tile;
        match self.sources[index] {
            Source::Numbers(x) => &x[start..start + len],
            Source::Slot(slot) => &self.slots[slot][..len],
            // SAFETY: an earlier part of this tile wrote the elements, and only tiles of other tasks write now.
            Source::Output(output) => unsafe { self.places[output].numbers(start, len) }.map_or(&[], |x| &*x),
        }
    }

    /// One number for each row, from a table.
    pub(super) fn rows(&self, index: usize) -> &[f32] {
        self.tiles.per_row(&self.tables[index], self.tile)
    }
}
