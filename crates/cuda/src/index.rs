//! Slices by index, sums of slices by index, and the indices of the largest elements of rows.

use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;

const THREADS: u32 = 256;
const WARPS: u64 = 8;
/// Elements that a thread copies.
const TURNS: u64 = 4;
/// Columns that a warp sums at once.
const COLUMNS: usize = 128;

/// The sizes of a tensor `[lists, outer, size, inner]` whose third axis is indexed, by `each` indices for each element of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IndexSizes {
    pub lists: usize,
    pub outer: usize,
    pub size: usize,
    pub each: usize,
    pub inner: usize,
}

impl IndexSizes {
    /// The sizes of a tensor of a shape, whose leading dimensions have `indices` together.
    pub fn new(shape: &[usize], axis: usize, batch_dims: usize, indices: usize) -> IndexSizes {
        let product = |range: std::ops::Range<usize>| shape.get(range).unwrap_or(&[]).iter().product::<usize>();
        let (lists, outer) = (product(0..batch_dims), product(batch_dims..axis));
        let (size, inner) = (shape.get(axis).copied().unwrap_or(1), product(axis + 1..shape.len()));
        IndexSizes { lists, outer, size, each: indices / lists.max(1), inner }
    }

    fn words(&self) -> [Argument; 5] {
        [self.lists, self.outer, self.size, self.each, self.inner].map(|size| Argument::U32(size as u32))
    }
}

/// A kernel of slices by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Whether slices of each index are summed, in the order of the indices, instead of copied.
    pub sums: bool,
    /// How what is read lies.
    pub from: Elements,
    /// How indices lie; a negative one counts from the end.
    pub indices: Elements,
    /// What becomes of results.
    pub epilogue: Epilogue,
}

impl Indexed {
    /// How many blocks compute the results.
    pub fn blocks(&self, sizes: &IndexSizes) -> u32 {
        let [outer, size, each, inner] =
            [sizes.lists * sizes.outer, sizes.size, sizes.each, sizes.inner].map(|size| size as u64);
        let blocks = match self.sums {
            true => (outer * size * inner.div_ceil(COLUMNS as u64)).div_ceil(WARPS),
            false => (outer * each * inner).div_ceil(u64::from(THREADS) * TURNS),
        };
        blocks as u32
    }

    /// The arguments; addresses are those of what is read, of the indices and of the results.
    pub fn arguments(&self, sizes: &IndexSizes, addresses: [u64; 3], counters: u64) -> Vec<Argument> {
        let addresses = addresses.into_iter().chain([counters]).map(Argument::U64);
        addresses.chain(sizes.words()).collect()
    }

    /// The kernel. If elements are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let head = format!(
            "struct {name}_arguments {{
    const void *in, *indices;
    void *out;
    u64 *counters;
    u32 lists, outer, size, each, inner;
}};
KERNEL({name}, {THREADS}, struct {name}_arguments) {{
"
        );
        let [begin, end] = match self.epilogue.is_counted() {
            true => ["    struct counts c0 = {0, 0, 0};\n", "    add_counts(c0, a.counters);\n"],
            false => ["", ""],
        };
        let body = if self.sums { self.summing() } else { self.copying() };
        let text = format!("{head}{begin}{body}{end}}}\n");
        let mut formats: BTreeSet<(Format, Overflow)> = self.epilogue.formats().collect();
        if let Elements::Codes(format) = self.from {
            formats.insert((format, Overflow::Saturate));
        }
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }

    /// C of the index at a place, counted from the begin, and inside the axis whatever it is.
    fn index(&self, place: &str) -> String {
        let width = self.indices.width();
        let bits = format!("get{width}((const u{width} *)a.indices + {place})");
        format!("inside((i32){}, a.size)", self.indices.number(&bits))
    }

    fn copying(&self) -> String {
        let (index, from, to) = (self.index("list * a.each + i"), self.from.width(), self.epilogue.elements.width());
        let element = self.epilogue.moved(self.from);
        format!(
            "    const u64 all = (u64)a.lists * a.outer * a.each * a.inner;
    for (u32 turn = 0; turn < {TURNS}; turn++) {{
        const u64 at = ((u64)BLOCK * {TURNS} + turn) * {THREADS} + THREAD;
        if (at >= all) break;
        const u64 row = at / a.inner, outer = row / a.each, list = outer / a.outer;
        const u32 column = (u32)(at - row * a.inner), i = (u32)(row - outer * a.each), e = 0, valid = 1; (void)valid;
        const u64 place = (outer * a.size + {index}) * a.inner + column;
        const u32 x[1] = {{get{from}((const u{from} *)a.in + place)}};
        u32 y0[1];
{element}        put{to}((u{to} *)a.out + at, (u{to})y0[0]);
    }}
"
        )
    }

    /// A warp sums the slices of one index, some columns at a time: it looks for the index in all of the list.
    fn summing(&self) -> String {
        let (index, from, to) =
            (self.index("(list * a.each + first + lane)"), self.from.width(), self.epilogue.elements.width());
        let number = self.from.number(&format!("get{from}((const u{from} *)a.in + place + column)"));
        let mut element = "            const float exact0 = sums[e];\n".to_string();
        self.epilogue.write(&mut element, "0");
        format!(
            "    const u32 lane = THREAD % 32, strips = (a.inner - 1) / {COLUMNS} + 1;
    const u64 warp = (u64)BLOCK * {WARPS} + THREAD / 32, row = warp / strips, outer = row / a.size;
    if (outer < (u64)a.lists * a.outer) {{
        const u32 begin = (u32)(warp - row * strips) * {COLUMNS}, wanted = (u32)(row - outer * a.size);
        const u64 list = outer / a.outer;
        float sums[4] = {{0, 0, 0, 0}};
        for (u32 first = 0; first < a.each; first += 32) {{
            u32 found = votes(first + lane < a.each && {index} == wanted);
            for (; found != 0; found &= found - 1) {{
                const u64 place = (outer * a.each + first + lowest(found)) * a.inner;
                UNROLL for (u32 e = 0; e < 4; e++) {{
                    const u32 column = begin + 32 * e + lane;
                    if (column < a.inner) sums[e] += {number};
                }}
            }}
        }}
        UNROLL for (u32 e = 0; e < 4; e++) {{
            const u32 column = begin + 32 * e + lane, valid = 4; (void)valid;
            if (column >= a.inner) continue;
            u32 y0[4];
{element}            put{to}((u{to} *)a.out + (row * a.inner + column), (u{to})y0[e]);
        }}
    }}
"
        )
    }
}

/// A kernel of the indices of the largest elements of each row, in descending order: whole numbers of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// How rows lie.
    pub from: Elements,
    /// How results lie.
    pub to: Elements,
    /// Whether of equal elements the last one comes first.
    pub last: bool,
}

impl Largest {
    /// How many blocks find them.
    pub fn blocks(rows: usize) -> u32 {
        rows.div_ceil(WARPS as usize) as u32
    }

    /// The arguments for `count` of each row.
    pub fn arguments([rows, length, count]: [usize; 3], addresses: [u64; 2]) -> Vec<Argument> {
        let sizes = [rows, length, count].map(|size| Argument::U32(size as u32));
        addresses.map(Argument::U64).into_iter().chain(sizes).collect()
    }

    /// The kernel: a warp looks for the largest element of a row that is behind the one before, `count` times.
    pub fn kernel(&self, name: &str) -> Kernel {
        let (from, to) = (self.from.width(), self.to.width());
        let number = self.from.number(&format!("get{from}((const u{from} *)a.in + (row * a.length + i))"));
        let bits = self.to.bits("(float)at", Overflow::Saturate);
        let prior = if self.last { "other_at > at" } else { "other_at < at" };
        let text = format!(
            "struct {name}_arguments {{
    const void *in;
    void *out;
    u32 rows, length, count;
}};
DEVICE int {name}_before(float other, u32 other_at, float x, u32 at) {{ return other > x || (other == x && {prior}); }}
KERNEL({name}, {THREADS}, struct {name}_arguments) {{
    const u32 lane = THREAD % 32;
    const u64 row = (u64)BLOCK * {WARPS} + THREAD / 32;
    if (row >= a.rows) return;
    float last = number_of(INFINITY_BITS);
    u32 last_at = {none};
    for (u32 k = 0; k < a.count; k++) {{
        float best = number_of(INFINITY_BITS | 0x80000000u);
        u32 at = {worst};
        for (u32 i = lane; i < a.length; i += 32) {{
            const float x = {number};
            if ({name}_before(x, i, best, at) && (k == 0 || {name}_before(last, last_at, x, i))) best = x, at = i;
        }}
        UNROLL for (u32 lanes = 16; lanes > 0; lanes >>= 1) {{
            const float other = number_of(shuffle_xor(bits_of(best), lanes));
            const u32 other_at = shuffle_xor(at, lanes);
            if ({name}_before(other, other_at, best, at)) best = other, at = other_at;
        }}
        last = best;
        last_at = at;
        if (at >= a.length) at = 0;
        if (lane == 0) put{to}((u{to} *)a.out + (row * a.count + k), (u{to}){bits});
    }}
}}
",
            none = if self.last { "0xffffffffu" } else { "0" },
            worst = if self.last { "0" } else { "0xffffffffu" },
        );
        let mut formats = BTreeSet::new();
        if let Elements::Codes(format) = self.from {
            formats.insert((format, Overflow::Saturate));
        }
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }
}
