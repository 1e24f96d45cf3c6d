//! Numbers of parts, joined in their order: what sums over many blocks end with.

use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;
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
        let mut text = format!(
            "struct {name}_arguments {{
    const float *parts;
{}    u32 rows, channels, part_rows, count;
}};
KERNEL({name}, COLUMNS_THREADS, struct {name}_arguments) {{
    const u32 rows = a.rows, channels = a.channels, part_rows = a.part_rows, count = a.count;
    const u32 channel = BLOCK * COLUMNS_THREADS + THREAD, valid = channel < channels;
    (void)rows, (void)part_rows;\n",
            self.arguments()
        );
        self.join(&mut text);
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS, formats: self.formats() }
    }

    /// C that declares the arguments of the results.
    pub(crate) fn arguments(&self) -> String {
        let outs: String = (0..self.results.len()).map(|i| format!("    void *out{i};\n")).collect();
        format!("{outs}    u64 *counters;\n")
    }

    /// The formats of the results.
    pub(crate) fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        self.results.iter().flat_map(|epilogue| epilogue.formats()).collect()
    }

    /// C that joins the `count` parts of a `channel`, if it is a `valid` one, and writes the results; for all threads of a block.
    pub(crate) fn join(&self, text: &mut String) {
        let results = self.statistic.results();
        *text += "    const u32 e = 0; (void)e;\n";
        for i in self.counted() {
            let _ = writeln!(text, "    struct counts c{i} = {{0, 0, 0}};");
        }
        *text += "    if (valid) {\n";
        match self.statistic {
            Statistic::Sums(_) => {
                for s in 0..results {
                    let _ = write!(
                        text,
                        "    float exact{s} = 0;
    for (u32 part = 0; part < count; part++) exact{s} += number_of(get32(a.parts + ((u64)part * {results} + {s}) * channels + channel));\n"
                    );
                }
            }
            Statistic::Moments => {
                *text += "    struct moments all = {0, 0, 0};
    for (u32 part = 0; part < count; part++) {
        const u32 rest = rows - part * part_rows;
        const float *of = a.parts + (u64)part * 2 * channels + channel;
        const struct moments of_part = {(float)(rest < part_rows ? rest : part_rows), number_of(get32(of)), number_of(get32(of + channels))};
        all = joined(all, of_part);
    }
    const float exact0 = all.mean, exact1 = all.squares / all.count;\n";
            }
        }
        for (i, epilogue) in self.results.iter().enumerate() {
            let _ = writeln!(text, "    u32 y{i}[1];");
            epilogue.write(text, &i.to_string());
            let width = epilogue.elements.width();
            let _ = writeln!(text, "    put{width}((u{width} *)a.out{i} + channel, (u{width})y{i}[0]);");
        }
        *text += "    }\n";
        for (nth, i) in self.counted().enumerate() {
            let _ = writeln!(text, "    add_counts(c{i}, a.counters + {});", 3 * nth);
        }
    }

    fn counted(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.results.len()).filter(|&i| self.results[i].is_counted())
    }
}
