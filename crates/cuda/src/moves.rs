//! Elements in another arrangement: transpositions, slices, concatenations, repetitions, other orders of axes.

use crate::chain::Divisor;
use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: u32 = 256;
/// As in `moves.h`.
const TURNS: u32 = 4;
const TILE: usize = 32;
/// The most axes that a kernel takes.
const AXES: usize = 6;
/// The most indices of a launch, since divisions are exact below.
const INDICES: usize = 1 << 30;

/// How elements are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Four at once, which lie behind each other in both tensors.
    Four,
    /// One by one.
    Each,
    /// Through tiles in shared memory: what lies side by side in one tensor does not in the other.
    Tiles,
}

/// A kernel that moves elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// How they lie.
    pub from: Elements,
    /// What becomes of them; their bits are copied if they are to lie in the same way and are not rounded.
    pub epilogue: Epilogue,
    /// How they are moved.
    pub way: Way,
    /// Over how many axes, those of tiles apart.
    pub axes: usize,
}

/// An axis: its size, and how many elements lie from one index to the next in what is read and in what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MoveAxis {
    pub size: usize,
    pub from: i64,
    pub to: i64,
}

/// One launch of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    way: Way,
    /// The last one first; of tiles without those two.
    axes: Vec<MoveAxis>,
    /// The axes of a tile: the one along which what is read lies side by side, the one of what is written.
    tile: [MoveAxis; 2],
    /// The first element of what is read and of what is written.
    offsets: [i64; 2],
}

const ONE: MoveAxis = MoveAxis { size: 1, from: 0, to: 0 };

/// The launches that move elements; the axes' order says nothing. `offsets` are the first elements' places.
///
/// Places, offsets and sizes are in elements. Nothing if there are more axes than a kernel takes.
pub fn moved(axes: &[MoveAxis], offsets: [i64; 2]) -> Option<Vec<Moved>> {
    let mut axes = joined(axes);
    if axes.len() > AXES {
        return None;
    }
    // Tensors of more indices are moved in parts of the longest strides.
    let indices: usize = axes.iter().map(|axis| axis.size).product();
    if indices > INDICES {
        let first = axes.pop().unwrap_or(ONE);
        let part = (INDICES / (indices / first.size)).max(1);
        let launches = (0..first.size).step_by(part).map(|begin| {
            let rest = MoveAxis { size: part.min(first.size - begin), ..first };
            let at = [offsets[0] + begin as i64 * first.from, offsets[1] + begin as i64 * first.to];
            moved(&[&axes[..], &[rest]].concat(), at)
        });
        return launches.collect::<Option<Vec<_>>>().map(|all| all.concat());
    }
    let is_together = |axis: &MoveAxis| axis.from == 1 && axis.to == 1;
    let fits = |places: i64| places % 4 == 0;
    let read = axes.iter().position(|axis| axis.from == 1 && axis.size > 1);
    let write = axes.iter().position(|axis| axis.to == 1 && axis.size > 1);
    let one = |way, axes, tile| Some(vec![Moved { way, axes, tile, offsets }]);
    match (axes.first().copied(), read, write) {
        (Some(first), ..)
            if is_together(&first)
                && first.size % 4 == 0
                && offsets.iter().all(|&offset| fits(offset))
                && axes[1..].iter().all(|axis| fits(axis.from) && fits(axis.to)) =>
        {
            axes[0] = MoveAxis { size: first.size / 4, from: 4, to: 4 };
            one(Way::Four, axes, [ONE; 2])
        }
        (_, Some(read), Some(write)) if read != write && axes[read].size >= 8 && axes[write].size >= 8 => {
            let tile = [axes[read], axes[write]];
            let rest = (0..axes.len()).filter(|&i| i != read && i != write).map(|i| axes[i]).collect();
            one(Way::Tiles, rest, tile)
        }
        _ => one(Way::Each, axes, [ONE; 2]),
    }
}

/// The axes with more than one index, the closest ones in what is written first; two become one where it makes no difference.
fn joined(axes: &[MoveAxis]) -> Vec<MoveAxis> {
    let mut axes: Vec<MoveAxis> = axes.iter().copied().filter(|axis| axis.size > 1).collect();
    axes.sort_by_key(|axis| axis.to.unsigned_abs());
    let mut all: Vec<MoveAxis> = Vec::new();
    for axis in axes {
        let size = |last: &MoveAxis| last.size as i64;
        match all.last_mut() {
            Some(last) if axis.from == last.from * size(last) && axis.to == last.to * size(last) => {
                last.size *= axis.size
            }
            _ => all.push(axis),
        }
    }
    all
}

impl Moved {
    /// The kernel that it needs.
    pub fn kernel(&self, from: Elements, epilogue: Epilogue) -> Move {
        Move { from, epilogue, way: self.way, axes: self.axes.len() }
    }

    /// How many indices the axes have, those of tiles apart.
    fn indices(&self) -> usize {
        self.axes.iter().map(|axis| axis.size).product()
    }

    /// How many blocks move the elements.
    pub fn blocks(&self) -> u32 {
        let tiles = |axis: &MoveAxis| axis.size.div_ceil(TILE);
        match self.way {
            Way::Tiles => (self.indices() * tiles(&self.tile[0]) * tiles(&self.tile[1])) as u32,
            Way::Four | Way::Each => self.indices().div_ceil((THREADS * TURNS) as usize) as u32,
        }
    }

    /// The arguments; `addresses` are those of what is read and of what is written.
    pub fn arguments(&self, addresses: [u64; 2], counters: u64) -> Vec<Argument> {
        let mut arguments: Vec<Argument> = addresses.into_iter().chain([counters]).map(Argument::U64).collect();
        arguments.extend(self.offsets.map(|offset| Argument::U64(offset as u64)));
        let tile = if self.way == Way::Tiles { &self.tile[..] } else { &[] };
        // A struct has at least one.
        let none = if self.axes.is_empty() && tile.is_empty() { &[ONE][..] } else { &[] };
        for axis in self.axes.iter().chain(tile).chain(none) {
            let Divisor { magic, shift } = Divisor::new(axis.size as u32);
            arguments.extend([axis.from, axis.to].map(|places| Argument::U64(places as u64)));
            arguments.extend([axis.size as u32, magic, shift, 0].map(Argument::U32));
        }
        arguments.push(Argument::U32(self.indices() as u32));
        arguments
    }
}

impl Move {
    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> u32 {
        match self.way {
            Way::Tiles => (TILE * (TILE + 1) * 4) as u32,
            Way::Four | Way::Each => 0,
        }
    }

    /// The kernel. If elements are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let tile = if self.way == Way::Tiles { 2 } else { 0 };
        let mut text = format!(
            "struct {name}_arguments {{
    const void *in;
    void *out;
    u64 *counters;
    u64 from, to;
    struct axis axes[{}];
    u32 indices;
}};
KERNEL({name}, MOVE_THREADS, struct {name}_arguments) {{\n",
            (self.axes + tile).max(1)
        );
        let is_counted = self.epilogue.is_counted();
        if is_counted {
            text += "    struct counts c0 = {0, 0, 0};\n";
        }
        match self.way {
            Way::Tiles => self.tiles(&mut text),
            Way::Four | Way::Each => self.turns(&mut text),
        }
        if is_counted {
            text += "    add_counts(c0, a.counters);\n";
        }
        text += "}\n";
        let formats = self.formats();
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }

    fn turns(&self, text: &mut String) {
        let (from, to, element) = (self.from.width(), self.epilogue.elements.width(), self.epilogue.moved(self.from));
        let (count, load, store) = match self.way {
            Way::Four => (
                4,
                format!("load_{from}(x, a.in, a.from + p.from, valid)"),
                format!("store_{to}(a.out, a.to + p.to, valid, y0)"),
            ),
            _ => (
                1,
                format!("x[0] = get{from}((const u{from} *)a.in + (a.from + p.from))"),
                format!("put{to}((u{to} *)a.out + (a.to + p.to), (u{to})y0[0])"),
            ),
        };
        let _ = write!(
            text,
            "    UNROLL for (u32 turn = 0; turn < MOVE_TURNS; turn++) {{
        const u32 index = (BLOCK * MOVE_TURNS + turn) * MOVE_THREADS + THREAD, valid = {count}; (void)valid;
        if (index >= a.indices) break;
        const struct places p = places_of(a.axes, {axes}, index);
        u32 x[{count}], y0[{count}];
        {load};
        UNROLL for (u32 e = 0; e < {count}; e++) {{
{element}        }}
        {store};
    }}\n",
            axes = self.axes
        );
    }

    /// A block reads a tile in the order in which it lies, and writes it in the other.
    fn tiles(&self, text: &mut String) {
        let (from, to, element, axes) =
            (self.from.width(), self.epilogue.elements.width(), self.epilogue.moved(self.from), self.axes);
        let _ = write!(
            text,
            "    const struct axis read = a.axes[{axes}], write = a.axes[{axes} + 1];
    const u32 across = (read.size - 1) / MOVE_TILE + 1, down = (write.size - 1) / MOVE_TILE + 1;
    const u32 outer = BLOCK / across / down, column = BLOCK % across * MOVE_TILE, row = BLOCK / across % down * MOVE_TILE;
    const struct places p = places_of(a.axes, {axes}, outer);
    const u32 line = THREAD / MOVE_TILE, place = THREAD % MOVE_TILE, lines = MOVE_THREADS / MOVE_TILE;
    UNROLL for (u32 i = 0; i < MOVE_TILE; i += lines) {{
        const u32 r = row + i + line, c = column + place;
        if (r >= write.size || c >= read.size) continue;
        const u64 at = a.from + p.from + r * write.from + c;
        const u32 bits = get{from}((const u{from} *)a.in + at);
        shared_put32(((i + line) * (MOVE_TILE + 1) + place) * 4, bits);
    }}
    barrier();
    UNROLL for (u32 i = 0; i < MOVE_TILE; i += lines) {{
        const u32 c = column + i + line, r = row + place, valid = 1, e = 0; (void)valid;
        if (r >= write.size || c >= read.size) continue;
        const u32 x[1] = {{shared_get32((place * (MOVE_TILE + 1) + i + line) * 4)}};
        u32 y0[1];
{element}        put{to}((u{to} *)a.out + (a.to + p.to + c * read.to + r), (u{to})y0[0]);
    }}\n"
        );
    }

    fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        let mut formats = BTreeSet::new();
        if self.epilogue.is_copy(self.from) {
            return formats;
        }
        if let Elements::Codes(format) = self.from {
            formats.insert((format, Overflow::Saturate));
        }
        formats.extend(self.epilogue.formats());
        formats
    }
}
