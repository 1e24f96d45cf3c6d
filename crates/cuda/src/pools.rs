//! Pooling with channels last, and its gradients.

use crate::chain::{Chain, ChainRead, Divisor};
use crate::epilogue::Epilogue;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::ops::Window;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// What is computed of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The maximum, the number of the tap that has it, or both.
    Max {
        /// Whether the maximum is stored.
        maximum: bool,
        /// Whether the tap is stored, in a byte.
        tap: bool,
    },
    /// The gradient of the maximum, by the taps.
    MaxGrad,
    /// The mean.
    Average {
        /// Whether borders count.
        is_padded: bool,
    },
    /// The gradient of the mean.
    AverageGrad {
        /// Whether borders count.
        is_padded: bool,
    },
}

/// A kernel of pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// How numbers are computed from what is stored: those that are pooled, or the result's gradient.
    pub chain: Chain,
    /// What is computed.
    pub pooling: Pooling,
    /// What becomes of results; taps are bytes.
    pub epilogue: Epilogue,
    /// Whether channels are a multiple of four, which are read at once.
    pub is_aligned: bool,
}

/// The sizes of pooling of `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PoolSizes {
    pub batch: usize,
    pub channels: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub window: Window,
}

impl Pooling {
    fn is_grad(self) -> bool {
        matches!(self, Pooling::MaxGrad | Pooling::AverageGrad { .. })
    }
}

impl PoolSizes {
    /// The pixels of an image of the result, and those of the tensor that is read.
    pub(crate) fn images(&self, is_grad: bool) -> [[usize; 2]; 2] {
        match is_grad {
            true => [self.input, self.output],
            false => [self.output, self.input],
        }
    }

    fn threads(&self, pooling: Pooling) -> usize {
        let [[height, width], _] = self.images(pooling.is_grad());
        self.batch * height * width * self.channels.div_ceil(4)
    }

    /// How many blocks compute the results.
    pub fn blocks(&self, pooling: Pooling) -> u32 {
        self.threads(pooling).div_ceil(THREADS as usize) as u32
    }

    /// The arguments; addresses are those of the chain's tensors, of the taps that are read, and of the results: numbers, then taps.
    pub fn arguments(&self, pooling: Pooling, addresses: &[u64], counters: u64) -> Vec<Argument> {
        let addresses = addresses.iter().chain([&counters]).map(|&address| Argument::U64(address));
        let words = self.words(self.threads(pooling), self.images(pooling.is_grad()));
        addresses.chain(words.into_iter().map(|word| Argument::U32(word as u32))).collect()
    }

    /// The words of `struct pool`; of the result and of what is read the pixels of an image.
    pub(crate) fn words(&self, threads: usize, [result, read]: [[usize; 2]; 2]) -> Vec<usize> {
        let Window { kernel, strides, pads_begin, pads_end, dilations, .. } = self.window;
        let padded = [0, 1].map(|d| pads_begin[d] + self.input[d] + pads_end[d]);
        let mut words = vec![threads, self.channels];
        words.extend([self.input, padded, read, kernel, dilations, pads_begin].concat());
        for number in [self.channels.div_ceil(4), result[0] * result[1], result[1], strides[0], strides[1]] {
            let Divisor { magic, shift } = Divisor::new(number as u32);
            words.extend([number, magic as usize, shift as usize]);
        }
        words
    }
}

impl Pool {
    /// The kernel for sizes.
    pub fn new(chain: Chain, pooling: Pooling, epilogue: Epilogue, sizes: &PoolSizes) -> Pool {
        Pool { chain: chain.uncounted(), pooling, epilogue, is_aligned: sizes.channels.is_multiple_of(4) }
    }

    /// The kernel. If results are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let is_counted = self.epilogue.is_counted();
        let mut text = format!("struct {name}_arguments {{\n");
        for i in 0..self.chain.inputs.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        for result in self.tensors() {
            let _ = writeln!(text, "    void *{result};");
        }
        text += "    u64 *counters;\n    struct pool pool;\n};\n";
        let _ = writeln!(text, "KERNEL({name}, POOL_THREADS, struct {name}_arguments) {{");
        text += "    const u32 index = BLOCK * POOL_THREADS + THREAD;\n";
        if is_counted {
            text += "    struct counts cy = {0, 0, 0};\n";
        }
        text += "    if (index < a.pool.threads) {\n";
        self.thread(&mut text);
        text += "    }\n";
        if is_counted {
            text += "    add_counts(cy, a.counters);\n";
        }
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS, formats: self.formats() }
    }

    /// The tensors beside those of the chain.
    fn tensors(&self) -> Vec<&'static str> {
        match self.pooling {
            Pooling::Max { maximum, tap } => {
                [maximum.then_some("out"), tap.then_some("taps")].into_iter().flatten().collect()
            }
            Pooling::MaxGrad => vec!["taps", "out"],
            Pooling::Average { .. } | Pooling::AverageGrad { .. } => vec!["out"],
        }
    }

    /// The statements for four channels of a pixel.
    fn thread(&self, text: &mut String) {
        text.push_str(
            "        const struct pool *p = &a.pool;
        const u32 of = divided(index, p->groups.magic, p->groups.shift);
        const struct pixel x = pixel_at(p, of, 4 * (index - of * p->groups.number));
        const u32 valid = p->channels - x.channel < 4 ? p->channels - x.channel : 4;
        float so_far[4] = {0, 0, 0, 0};\n",
        );
        if let Pooling::Max { .. } = self.pooling {
            text.push_str("        u32 best[4] = {NO_TAP, NO_TAP, NO_TAP, NO_TAP};\n");
        }
        text.push_str(&self.chain.scalars());
        let find = if self.pooling.is_grad() { "window_of_tap" } else { "place_of_tap" };
        let load = self.load();
        let _ = writeln!(
            text,
            "        for (u32 row = 0, tap = 0; row < p->kernel[0]; row++) {{
            u32 place[2];
            if (!{find}(p, 0, x.place[0], row, &place[0])) {{ tap += p->kernel[1]; continue; }}
            for (u32 column = 0; column < p->kernel[1]; column++, tap++) {{
            if (!{find}(p, 1, x.place[1], column, &place[1])) continue;
            const u64 first = first_of(p, &x, place);"
        );
        for (i, elements) in self.chain.read(ChainRead::Each) {
            let width = elements.width();
            let _ =
                writeln!(text, "            u32 x{i}[4];\n            {load}_{width}(x{i}, a.in{i}, first, valid);");
        }
        self.window(text, load);
        text.push_str("            UNROLL for (u32 e = 0; e < 4; e++) {\n            if (e >= valid) continue;\n");
        text.push_str("            const u32 channel = x.channel + e; (void)channel;\n");
        self.chain.parts(text, &self.chain.is_read(), "a.", &|i| format!("x{i}[e]"));
        self.join(text);
        text.push_str("            }\n            }\n        }\n");
        self.results(text);
    }

    /// The statements that find what a window says to all of its places.
    fn window(&self, text: &mut String, load: &str) {
        match self.pooling {
            Pooling::MaxGrad => {
                let _ = writeln!(text, "            u32 taps[4];\n            {load}_8(taps, a.taps, first, valid);");
            }
            Pooling::AverageGrad { is_padded } => {
                let _ = writeln!(
                    text,
                    "            const float taps = taps_of_window(p, place, {});",
                    u32::from(is_padded)
                );
            }
            Pooling::Max { .. } | Pooling::Average { .. } => {}
        }
    }

    /// The statements that join an element to those before it.
    fn join(&self, text: &mut String) {
        let last = self.chain.parts.len().saturating_sub(1);
        match self.pooling {
            Pooling::Max { .. } => {
                // Of several maxima the first; what is not a number wins.
                let _ = writeln!(
                    text,
                    "            const int is_better = p{last} > so_far[e] || p{last} != p{last};
            if (best[e] == NO_TAP || (so_far[e] == so_far[e] && is_better)) {{ so_far[e] = p{last}; best[e] = tap; }}"
                );
            }
            Pooling::MaxGrad => {
                let _ = writeln!(text, "            if (taps[e] == tap) so_far[e] += p{last};");
            }
            Pooling::Average { .. } => {
                let _ = writeln!(text, "            so_far[e] += p{last};");
            }
            Pooling::AverageGrad { .. } => {
                let _ = writeln!(text, "            so_far[e] += p{last} / taps;");
            }
        }
    }

    /// The statements that write four results.
    fn results(&self, text: &mut String) {
        let store = if self.is_aligned { "store" } else { "store_each" };
        text.push_str("        const u64 to = (u64)of * p->channels + x.channel;\n");
        if let Pooling::Average { is_padded } = self.pooling {
            let _ = writeln!(text, "        const float taps = taps_of_window(p, x.place, {});", u32::from(is_padded));
        }
        let exact = match self.pooling {
            Pooling::Average { .. } => "so_far[e] / taps",
            _ => "so_far[e]",
        };
        if !matches!(self.pooling, Pooling::Max { maximum: false, .. }) {
            text.push_str("        u32 yy[4];\n        UNROLL for (u32 e = 0; e < 4; e++) {\n");
            let _ = writeln!(text, "            const float exacty = {exact};");
            self.epilogue.write(text, "y");
            let _ =
                writeln!(text, "        }}\n        {store}_{}(a.out, to, valid, yy);", self.epilogue.elements.width());
        }
        if let Pooling::Max { tap: true, .. } = self.pooling {
            let _ = writeln!(text, "        {store}_8(a.taps, to, valid, best);");
        }
    }

    fn load(&self) -> &'static str {
        if self.is_aligned { "load" } else { "load_each" }
    }

    fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        let mut formats = self.chain.formats();
        formats.extend(self.epilogue.formats());
        formats
    }
}
