//! Numbers of parts, one after the other: what sums over many blocks end with.

use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// What is computed of a column's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The sum of the numbers of each of these many last parts of the chain.
    Sums(usize),
    /// Mean and variance (divided by the count) of the last part's numbers, read once.
    Moments,
}

impl Statistic {
    /// Numbers of a channel.
    pub(crate) fn results(self) -> usize {
        match self {
            Statistic::Sums(count) => count,
            Statistic::Moments => 2,
        }
    }
}

/// A kernel that joins the numbers of parts in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What they are.
    pub statistic: Statistic,
    /// What becomes of each result.
    pub results: Vec<Epilogue>,
}

/// The sizes of parts: of each one the numbers of all channels lie behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSizes {
    /// All rows.
    pub rows: usize,
    /// Those of a part; the last one may have fewer.
    pub part_rows: usize,
    /// How many there are.
    pub parts: usize,
    /// How many channels.
    pub channels: usize,
}

impl PartSizes {
    /// How many blocks join them.
    pub fn blocks(&self) -> u32 {
        self.channels.div_ceil(THREADS as usize) as u32
    }

    /// Bytes of all parts.
    pub fn workspace(&self, statistic: Statistic) -> usize {
        self.parts * statistic.results() * self.channels * size_of::<f32>()
    }

    /// The arguments.
    pub fn arguments(&self, workspace: u64, results: &[u64], counters: u64) -> Vec<Argument> {
        let addresses = [workspace].into_iter().chain(results.iter().copied()).chain([counters]).map(Argument::U64);
        let words = [self.rows, self.channels, self.part_rows, self.parts];
        addresses.chain(words.map(|word| Argument::U32(word as u32))).collect()
    }
}

impl Parts {
    /// The kernel. Results that are counted have three counters each, in order.
    pub fn kernel(&self, name: &str) -> Kernel {
        let count = self.statistic.results();
        let outs: String = (0..count).map(|i| format!("    void *out{i};\n")).collect();
        let mut text = format!(
            "struct {name}_arguments {{
    const float *parts;
{outs}    u64 *counters;
    u32 rows, channels, part_rows, count;
}};
KERNEL({name}, COLUMNS_THREADS, struct {name}_arguments) {{
    const u32 channel = BLOCK * COLUMNS_THREADS + THREAD, e = 0, valid = channel < a.channels; (void)e;\n"
        );
        for i in self.counted() {
            let _ = writeln!(text, "    struct counts c{i} = {{0, 0, 0}};");
        }
        text += "    if (valid) {\n";
        match self.statistic {
            Statistic::Sums(_) => {
                for s in 0..count {
                    let _ = write!(
                        text,
                        "    float exact{s} = 0;
    for (u32 part = 0; part < a.count; part++) exact{s} += number_of(get32(a.parts + ((u64)part * {count} + {s}) * a.channels + channel));\n"
                    );
                }
            }
            Statistic::Moments => {
                text += "    struct moments all = {0, 0, 0};
    for (u32 part = 0; part < a.count; part++) {
        const u32 begin = part * a.part_rows, rows = a.rows - begin < a.part_rows ? a.rows - begin : a.part_rows;
        const float *of = a.parts + (u64)part * 2 * a.channels + channel;
        const struct moments of_part = {(float)rows, number_of(get32(of)), number_of(get32(of + a.channels))};
        all = joined(all, of_part);
    }
    const float exact0 = all.mean, exact1 = all.squares / all.count;\n";
            }
        }
        for (i, epilogue) in self.results.iter().enumerate() {
            let _ = writeln!(text, "    u32 y{i}[1];");
            epilogue.write(&mut text, &i.to_string());
            let width = epilogue.elements.width();
            let _ = writeln!(text, "    put{width}((u{width} *)a.out{i} + channel, (u{width})y{i}[0]);");
        }
        text += "    }\n";
        for (nth, i) in self.counted().enumerate() {
            let _ = writeln!(text, "    add_counts(c{i}, a.counters + {});", 3 * nth);
        }
        text += "}\n";
        let formats = self.results.iter().flat_map(|epilogue| epilogue.formats());
        Kernel { name: name.into(), text, threads: THREADS, formats: formats.collect() }
    }

    fn counted(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.results.len()).filter(|&i| self.results[i].is_counted())
    }
}
