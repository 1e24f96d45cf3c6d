//! How `rows` rows of one length are cut into tiles and tasks: by these numbers alone.

use crate::words::simd::multiversion;

/// FP32 numbers of a task's tiles together (16 KiB, half of the first-level cache).
pub(crate) const TILES: usize = 4096;

/// Elements of a task.
const TASK: usize = 64 * 1024;

/// A run of whole rows, or of a part of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// The first element.
    pub(crate) start: usize,
    /// Elements.
    pub(crate) len: usize,
    /// The first row.
    pub(crate) row: usize,
    /// Elements of each row that lie in the tile.
    pub(crate) row_len: usize,
}

impl Tile {
    pub(crate) fn rows(self) -> usize {
        self.len / self.row_len
    }

    /// The rest after the first `done` elements, which are whole rows or all.
    pub(crate) fn after(self, done: usize) -> Tile {
        Tile { start: self.start + done, len: self.len - done, row: self.row + done / self.row_len, ..self }
    }
}

/// The tiles of `rows` rows of `row` elements, of which `channels` have tables of their own in turn.
#[derive(Debug)]
pub(crate) struct Tiles {
    rows: usize,
    row: usize,
    channels: usize,
    /// Rows of a tile, where a row fits.
    tile_rows: usize,
    /// Elements of a tile of a part of a row, where a row does not fit.
    piece: usize,
    tiles: usize,
}

impl Tiles {
    /// Tiles of about `tile` elements.
    pub(crate) fn new(rows: usize, row: usize, channels: usize, tile: usize) -> Self {
        if rows == 0 || row == 0 {
            return Tiles { rows: 0, row: 1, channels, tile_rows: 1, piece: 1, tiles: 0 };
        }
        if row <= tile {
            let tile_rows = (tile / row).min(rows);
            return Tiles { rows, row, channels, tile_rows, piece: row, tiles: rows.div_ceil(tile_rows) };
        }
        // Pieces of about one length, whole cache lines of any format.
        let piece = row.div_ceil(row.div_ceil(tile)).next_multiple_of(64);
        Tiles { rows, row, channels, tile_rows: 1, piece, tiles: rows * row.div_ceil(piece) }
    }

    /// The length of a row.
    pub(crate) fn row(&self) -> usize {
        self.row
    }

    /// The length of the longest tile.
    pub(crate) fn longest(&self) -> usize {
        self.tile_rows * self.piece
    }

    pub(crate) fn tile(&self, index: usize) -> Tile {
        if self.row <= self.piece {
            let row = index * self.tile_rows;
            let rows = self.tile_rows.min(self.rows - row);
            return Tile { start: row * self.row, len: rows * self.row, row, row_len: self.row };
        }
        let pieces = self.row.div_ceil(self.piece);
        let (row, at) = (index / pieces, index % pieces * self.piece);
        let len = self.piece.min(self.row - at);
        Tile { start: row * self.row + at, len, row, row_len: len }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Tile> + '_ {
        (0..self.tiles).map(|index| self.tile(index))
    }

    /// Tiles of at most `most` elements that make up `len` elements from `start` on: whole rows where there are, parts of
    /// a row at the ends.
    pub(crate) fn cover(&self, start: usize, len: usize, most: usize) -> impl Iterator<Item = Tile> + '_ {
        let most = most.min(self.longest());
        let (mut at, end) = (start, start + len);
        std::iter::from_fn(move || {
            let (row, column, left) = (at / self.row, at % self.row, end - at);
            let whole = left.min(most) / self.row;
            let tile = match (left, column) {
                (0, _) => return None,
                (_, 0) if whole > 0 => Tile { start: at, len: whole * self.row, row, row_len: self.row },
                _ => {
                    let len = left.min(self.row - column).min(most);
                    Tile { start: at, len, row, row_len: len }
                }
            };
            at += tile.len;
            Some(tile)
        })
    }

    fn tiles_per_task(&self) -> usize {
        (TASK / self.longest()).max(1)
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tiles.div_ceil(self.tiles_per_task())
    }

    pub(crate) fn of_task(&self, task: usize) -> impl Iterator<Item = Tile> + '_ {
        let first = task * self.tiles_per_task();
        (first..(first + self.tiles_per_task()).min(self.tiles)).map(|index| self.tile(index))
    }

    /// Elements of a table: one number for each channel, and the first ones again, so that those of a tile's rows lie side by
    /// side.
    pub(crate) fn table_len(&self) -> usize {
        self.channels + self.tile_rows
    }

    /// Makes a table of its first numbers, one for each channel.
    pub(crate) fn repeat_table(&self, table: &mut [f32]) {
        let (once, again) = table.split_at_mut(self.channels);
        again.iter_mut().zip(once.iter().cycle()).for_each(|(again, once)| *again = *once);
    }

    /// The numbers of a table for the rows of a tile.
    pub(crate) fn per_row<'t>(&self, table: &'t [f32], tile: Tile) -> &'t [f32] {
        &table[tile.row % self.channels..][..tile.rows()]
    }
}

/// Repeats each row's number over the row.
pub(crate) fn repeat_rows(tile: Tile, per_row: &[f32], y: &mut [f32]) {
    repeat(tile.row_len, per_row, y);
}

multiversion! {
    fn repeat(row: usize, per_row: &[f32], y: &mut [f32]) {
        match row {
            1 => y.copy_from_slice(per_row),
            4 => repeat_in::<4>(per_row, y),
            16 => repeat_in::<16>(per_row, y),
            _ => y.chunks_mut(row).zip(per_row).for_each(|(y, x)| y.fill(*x)),
        }
    }
}

#[inline(always)]
fn repeat_in<const ROW: usize>(per_row: &[f32], y: &mut [f32]) {
    for (y, x) in y.as_chunks_mut::<ROW>().0.iter_mut().zip(per_row) {
        *y = [*x; ROW];
    }
}
