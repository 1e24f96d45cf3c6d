//! Sums over all rows of `[rows, channels]`: gradients of scales and biases, means and variances of a batch.

use crate::chain::{Chain, ChainRead};
use crate::epilogue::Epilogue;
use crate::parts::{PartSizes, Parts, Statistic};
use crate::source::{Argument, Kernel};
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// Rows of a part, at least.
const PART_ROWS: usize = 512;

/// The kernel that sums parts of the rows; the last block that ends some channels' joins these parts in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// How numbers are computed from what is stored.
    pub chain: Chain,
    /// What is computed of them, and what becomes of it.
    pub ends: Parts,
    /// Whether channels are a multiple of four, which are read at once.
    pub is_aligned: bool,
}

/// The sizes of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ColumnSizes {
    pub rows: usize,
    pub channels: usize,
}

impl ColumnSizes {
    /// Threads that share a row, four channels each.
    fn lanes(&self) -> usize {
        self.channels.div_ceil(4).next_power_of_two().min(32)
    }

    /// How many parts the rows are cut into.
    fn parts(&self) -> usize {
        self.rows.div_ceil(PART_ROWS).max(1)
    }

    /// Channels that blocks sum together are a strip: so many there are.
    fn strips(&self) -> usize {
        self.channels.div_ceil(4 * self.lanes())
    }

    /// How many blocks sum them.
    pub fn blocks(&self) -> u32 {
        (self.parts() * self.strips()) as u32
    }

    /// Words by which the blocks of each strip find the last one.
    pub fn turns(&self) -> usize {
        if self.parts() == 1 { 0 } else { self.strips() }
    }

    /// The parts as they lie in the workspace.
    pub fn part_sizes(&self) -> PartSizes {
        PartSizes { rows: self.rows, part_rows: PART_ROWS, parts: self.parts(), channels: self.channels }
    }

    fn words(&self) -> [usize; 5] {
        [self.rows, self.channels, self.lanes(), PART_ROWS, self.parts()]
    }
}

impl Columns {
    /// The kernel for sizes; results are what becomes of each number of a channel.
    pub fn new(chain: Chain, statistic: Statistic, results: Vec<Epilogue>, sizes: &ColumnSizes) -> Columns {
        let ends = Parts { statistic, results };
        Columns { chain: chain.uncounted(), ends, is_aligned: sizes.channels.is_multiple_of(4) }
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> u32 {
        THREADS * 16 * self.ends.statistic.results() as u32
    }

    /// The arguments: addresses of the chain's tensors, of the results, of their counters, of a workspace for parts, and of turns.
    pub fn arguments(
        &self,
        sizes: &ColumnSizes,
        [inputs, results]: [&[u64]; 2],
        [counters, workspace, turns]: [u64; 3],
    ) -> Vec<Argument> {
        let addresses = inputs.iter().chain(results).copied().chain([counters, workspace, turns]).map(Argument::U64);
        addresses.chain(sizes.words().map(|word| Argument::U32(word as u32))).collect()
    }

    /// The kernel. Results that are counted have three counters each, in order.
    pub fn kernel(&self, name: &str) -> Kernel {
        let (is_read, results) = (self.chain.is_read(), self.ends.statistic.results());
        let mut text = format!("struct {name}_arguments {{\n");
        for i in 0..self.chain.inputs.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        text += &self.ends.arguments();
        let _ = write!(
            text,
            "    float *parts;
    u32 *turns;
    struct columns columns;
}};
KERNEL({name}, COLUMNS_THREADS, struct {name}_arguments) {{
    const struct columns c = a.columns;
    const u32 strips = (c.channels - 1) / (4 * c.lanes) + 1, part = BLOCK / strips, lines = COLUMNS_THREADS / c.lanes;
    const u32 line = THREAD / c.lanes, first_channel = (BLOCK % strips * c.lanes + THREAD % c.lanes) * 4;
    const u32 begin = part * c.part_rows, rows = c.rows - begin < c.part_rows ? c.rows - begin : c.part_rows;
    const u32 valid = first_channel >= c.channels ? 0 : c.channels - first_channel < 4 ? c.channels - first_channel : 4;
    float sums[{results}][4] = {{{{0}}}};
"
        );
        if self.ends.statistic == Statistic::Moments {
            text += "    float shift[4] = {0};\n";
        }
        text += &self.chain.scalars();
        text += "    for (u32 row = line; valid > 0 && row < rows; row += lines) {\n";
        text += "        const u64 first = (u64)(begin + row) * c.channels + first_channel;\n";
        let load = if self.is_aligned { "load" } else { "load_each" };
        for (i, elements) in self.chain.read(ChainRead::Each) {
            let width = elements.width();
            let _ = writeln!(text, "        u32 x{i}[4];\n        {load}_{width}(x{i}, a.in{i}, first, valid);");
        }
        text += "        UNROLL for (u32 e = 0; e < 4; e++) {\n            if (e >= valid) continue;\n";
        text += "            const u32 channel = first_channel + e; (void)channel;\n";
        self.chain.parts(&mut text, &is_read, "a.", &|i| format!("x{i}[e]"));
        text += &self.add();
        text += "        }\n    }\n";
        text += &self.part(results);
        text += "    if (c.parts > 1) {
        barrier();
        if (THREAD == 0) shared_put32(0, is_last(a.turns + BLOCK % strips, c.parts));
        barrier();
        if (!shared_get32(0)) return;
    }
    {
    const u32 rows = c.rows, channels = c.channels, part_rows = c.part_rows, count = c.parts, valid = has_channel;
    (void)rows, (void)part_rows;\n";
        self.ends.join(&mut text);
        text += "    }\n}\n";
        let formats = self.chain.formats().into_iter().chain(self.ends.formats());
        Kernel { name: name.into(), text, threads: THREADS, formats: formats.collect() }
    }

    /// The statements that add an element's numbers.
    fn add(&self) -> String {
        let last = self.chain.parts.len().saturating_sub(1);
        match self.ends.statistic {
            Statistic::Sums(count) => {
                (0..count).map(|s| format!("            sums[{s}][e] += p{};\n", last + 1 + s - count)).collect()
            }
            // Differences from the first number, so that large means take no digits.
            Statistic::Moments => format!(
                "            if (row == line) shift[e] = p{last};
            const float apart = p{last} - shift[e];
            sums[0][e] += apart;
            sums[1][e] += apart * apart;\n"
            ),
        }
    }

    /// The statements that join the lines of a block, in their order, and write its part.
    fn part(&self, results: usize) -> String {
        let mut text = String::new();
        if self.ends.statistic == Statistic::Moments {
            text += "    UNROLL for (u32 e = 0; e < 4; e++) {
        const struct moments m = shifted(rows_of(rows, line, lines), shift[e], sums[0][e], sums[1][e]);
        sums[0][e] = m.mean;
        sums[1][e] = m.squares;
    }\n";
        }
        let _ = write!(
            text,
            "    UNROLL for (u32 s = 0; s < {results}; s++) {{
        const struct quad q = {{{{bits_of(sums[s][0]), bits_of(sums[s][1]), bits_of(sums[s][2]), bits_of(sums[s][3])}}}};
        shared_put128((s * COLUMNS_THREADS + THREAD) * 16, q);
    }}
    barrier();
    const u32 channel = BLOCK % strips * c.lanes * 4 + THREAD, has_channel = THREAD < 4 * c.lanes && channel < c.channels;
    if (has_channel) {{
"
        );
        text += &match self.ends.statistic {
            Statistic::Sums(_) => format!(
                "    UNROLL for (u32 s = 0; s < {results}; s++) {{
        float sum = 0;
        for (u32 l = 0; l < lines; l++) sum += number_of(shared_get32((s * COLUMNS_THREADS + l * c.lanes) * 16 + THREAD * 4));
        put32(a.parts + ((u64)part * {results} + s) * c.channels + channel, bits_of(sum));
    }}
    }}\n"
            ),
            Statistic::Moments => "    struct moments all = {0, 0, 0};
    for (u32 l = 0; l < lines; l++) {
        const float mean = number_of(shared_get32(l * c.lanes * 16 + THREAD * 4));
        const float squares = number_of(shared_get32((COLUMNS_THREADS + l * c.lanes) * 16 + THREAD * 4));
        const struct moments of_line = {(float)rows_of(rows, l, lines), mean, squares};
        all = joined(all, of_line);
    }
    put32(a.parts + (u64)part * 2 * c.channels + channel, bits_of(all.mean));
    put32(a.parts + ((u64)part * 2 + 1) * c.channels + channel, bits_of(all.squares));
    }\n"
                .into(),
        };
        text
    }
}
