//! Convolutions of each channel by itself, with channels last, and their gradients.

use crate::chain::{Chain, ChainRead};
use crate::epilogue::Epilogue;
use crate::parts::PartSizes;
use crate::pass::Pass;
use crate::pools::PoolSizes;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: usize = 256;
/// How many pixels a thread takes.
const TURNS: usize = 8;
/// Taps whose sums a thread holds, as in `pools.h`.
const HELD_TAPS: usize = 9;
/// Pixels of a part of a weight's gradient.
const PART_PIXELS: usize = 512;
/// Bytes of shared memory for weights.
const WEIGHTS: usize = 48 << 10;

/// A kernel of such a convolution; `Parts` end the gradient of the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    /// Which product.
    pub pass: Pass,
    /// How the numbers are computed whose pixels are read by windows: the input; of the input's gradient the output's.
    pub chain: Chain,
    /// How those are computed that meet them: the weights, one by one; of the weights' gradient the output's.
    pub other: Chain,
    /// What becomes of results; of the weights' gradient [`crate::Parts`] have one.
    pub epilogue: Epilogue,
    /// Whether channels are a multiple of four, which are read at once.
    pub is_aligned: bool,
}

/// The sizes of a convolution of each channel by itself: the window and its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthwiseSizes(pub PoolSizes);

impl DepthwiseSizes {
    fn taps(&self) -> usize {
        self.0.window.kernel[0] * self.0.window.kernel[1]
    }

    /// Threads that share a pixel, four channels each; none if even one's weights are too many for shared memory.
    fn lanes(&self, pass: Pass) -> Option<usize> {
        let wanted = self.0.channels.div_ceil(4).next_power_of_two().min(32);
        match pass {
            Pass::GradWeight => Some(wanted),
            Pass::Forward | Pass::GradInput => {
                let fits = |lanes: &usize| self.taps() * 16 * lanes <= WEIGHTS;
                [32, 16, 8, 4, 2, 1].into_iter().filter(|&lanes| lanes <= wanted).find(fits)
            }
        }
    }

    /// Whether there is a kernel for them.
    pub fn is_possible(&self) -> bool {
        self.lanes(Pass::Forward).is_some()
    }

    fn pixels(&self, pass: Pass) -> usize {
        let [[height, width], _] = self.images(pass);
        self.0.batch * height * width
    }

    /// The pixels of an image that threads take, and those that windows read.
    fn images(&self, pass: Pass) -> [[usize; 2]; 2] {
        self.0.images(pass == Pass::GradInput)
    }

    fn strips(&self, pass: Pass) -> usize {
        self.0.channels.div_ceil(4 * self.lanes(pass).unwrap_or(1))
    }

    /// The parts of a weight's gradient as they lie in the workspace.
    pub fn part_sizes(&self) -> PartSizes {
        let rows = self.pixels(Pass::GradWeight);
        let channels = self.0.channels * self.taps();
        PartSizes { rows, part_rows: PART_PIXELS, parts: rows.div_ceil(PART_PIXELS).max(1), channels }
    }

    /// How many blocks compute a pass.
    pub fn blocks(&self, pass: Pass) -> u32 {
        let lines = THREADS / self.lanes(pass).unwrap_or(1);
        let blocks = match pass {
            Pass::Forward | Pass::GradInput => self.pixels(pass).div_ceil(lines * TURNS),
            Pass::GradWeight => self.part_sizes().parts * self.taps().div_ceil(HELD_TAPS),
        };
        (blocks * self.strips(pass)) as u32
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self, pass: Pass) -> u32 {
        match pass {
            Pass::Forward | Pass::GradInput => (self.taps() * 16 * self.lanes(pass).unwrap_or(1)) as u32,
            Pass::GradWeight => (THREADS * 16) as u32,
        }
    }

    /// The arguments; addresses are those of the chains' tensors, and of the result: of the weights' gradient the workspace.
    pub fn arguments(&self, pass: Pass, addresses: &[u64], counters: u64) -> Vec<Argument> {
        let mut words = self.0.words(self.pixels(pass), self.images(pass));
        words.extend([self.lanes(pass).unwrap_or(1), self.strips(pass), self.taps()]);
        words.extend([PART_PIXELS, self.taps().div_ceil(HELD_TAPS)]);
        let addresses = addresses.iter().chain([&counters]).map(|&address| Argument::U64(address));
        addresses.chain(words.into_iter().map(|word| Argument::U32(word as u32))).collect()
    }
}

impl Depthwise {
    /// The kernel of a pass for sizes.
    pub fn new(pass: Pass, [chain, other]: [Chain; 2], epilogue: Epilogue, sizes: &DepthwiseSizes) -> Depthwise {
        let is_aligned = sizes.0.channels.is_multiple_of(4);
        Depthwise { pass, chain: chain.uncounted(), other: other.uncounted(), epilogue, is_aligned }
    }

    /// The kernel. If results are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let inputs = |chain: &Chain, prefix: &str| -> String {
            (0..chain.inputs.len()).map(|i| format!("    const void *{prefix}in{i};\n")).collect()
        };
        let mut text = format!(
            "struct {name}_arguments {{
{}{}    void *out;
    u64 *counters;
    struct pool pool;
    u32 lanes, strips, taps, part_pixels, chunks;
}};
KERNEL({name}, POOL_THREADS, struct {name}_arguments) {{
    const struct pool *p = &a.pool;
    const u32 lane = THREAD % a.lanes, line = THREAD / a.lanes, lines = POOL_THREADS / a.lanes, strip = BLOCK % a.strips;
    const u32 strip_channel = strip * 4 * a.lanes, first_channel = strip_channel + 4 * lane;
    const u32 valid = first_channel >= p->channels ? 0 : p->channels - first_channel < 4 ? p->channels - first_channel : 4;
",
            inputs(&self.chain, ""),
            inputs(&self.other, "other_"),
        );
        text += &self.chain.scalars();
        match self.pass {
            Pass::Forward | Pass::GradInput => self.weighted(&mut text),
            Pass::GradWeight => self.weights(&mut text),
        }
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS as u32, formats: self.formats() }
    }

    /// Sums of a window's numbers by their weights.
    fn weighted(&self, text: &mut String) {
        let is_counted = self.epilogue.is_counted();
        let last = self.other.parts.len().saturating_sub(1);
        // The weights of a strip lie behind each other; of each tap those of all channels come to lie so.
        text.push_str(
            "    for (u32 at = THREAD; at < 4 * a.lanes * a.taps; at += POOL_THREADS) {
        const u32 of = at / a.taps, tap = at % a.taps, e = 0, valid = strip_channel + of < p->channels; (void)e;
        if (!valid) { shared_put32((tap * 4 * a.lanes + of) * 4, 0); continue; }\n",
        );
        let bits = |i: usize| {
            let width = self.other.inputs[i].elements.width();
            format!("get{width}((const u{width} *)a.other_in{i} + (u64)strip_channel * a.taps + at)")
        };
        self.other.parts(text, &self.other.is_read(), "a.other_", &bits);
        let _ = writeln!(text, "        shared_put32((tap * 4 * a.lanes + of) * 4, bits_of(p{last}));\n    }}");
        text.push_str("    barrier();\n");
        if is_counted {
            text.push_str("    struct counts cy = {0, 0, 0};\n");
        }
        let find = if self.pass == Pass::GradInput { "window_of_tap" } else { "place_of_tap" };
        let _ = write!(
            text,
            "    for (u32 turn = 0; turn < {TURNS}; turn++) {{
        const u32 index = (BLOCK / a.strips * {TURNS} + turn) * lines + line;
        if (index >= p->threads || valid == 0) break;
        const struct pixel x = pixel_at(p, index, first_channel);
        float so_far[4] = {{0, 0, 0, 0}};
        for (u32 row = 0; row < p->kernel[0]; row++) {{
            u32 place[2];
            if (!{find}(p, 0, x.place[0], row, &place[0])) continue;
            for (u32 column = 0; column < p->kernel[1]; column++) {{
            if (!{find}(p, 1, x.place[1], column, &place[1])) continue;
            const u64 first = first_of(p, &x, place);
            const struct quad w = shared_get128(((row * p->kernel[1] + column) * a.lanes + lane) * 16);
"
        );
        self.numbers(text);
        let last = self.chain.parts.len().saturating_sub(1);
        let _ = writeln!(text, "            so_far[e] = fused(p{last}, number_of(w.word[e]), so_far[e]);");
        text.push_str("            }\n            }\n        }\n");
        let store = if self.is_aligned { "store" } else { "store_each" };
        text.push_str("        u32 yy[4];\n        UNROLL for (u32 e = 0; e < 4; e++) {\n");
        text.push_str("            const float exacty = so_far[e];\n");
        self.epilogue.write(text, "y");
        let _ = writeln!(
            text,
            "        }}
        {store}_{}(a.out, (u64)index * p->channels + first_channel, valid, yy);
    }}",
            self.epilogue.elements.width()
        );
        if is_counted {
            text.push_str("    add_counts(cy, a.counters);\n");
        }
    }

    /// Sums over the pixels of a part of the products of the output's gradient with the taps of its windows.
    fn weights(&self, text: &mut String) {
        let load = self.load();
        text.push_str(
            "    const u32 chunk = BLOCK / a.strips % a.chunks, part = BLOCK / a.strips / a.chunks;
    const u32 first_tap = chunk * HELD_TAPS, begin = part * a.part_pixels;
    const u32 rest = p->threads - begin, pixels = rest < a.part_pixels ? rest : a.part_pixels;
    float sums[HELD_TAPS][4] = {{0}};
    for (u32 i = line; valid > 0 && i < pixels; i += lines) {
        const u32 index = begin + i;
        const struct pixel x = pixel_at(p, index, first_channel);
        float dy[4] = {0, 0, 0, 0};
        {
        const u64 first = (u64)index * p->channels + first_channel;\n",
        );
        for (i, elements) in self.other.read(ChainRead::Each) {
            let width = elements.width();
            let _ = writeln!(text, "        u32 x{i}[4];\n        {load}_{width}(x{i}, a.other_in{i}, first, valid);");
        }
        text.push_str("        UNROLL for (u32 e = 0; e < 4; e++) {\n            if (e >= valid) continue;\n");
        text.push_str("            const u32 channel = first_channel + e; (void)channel;\n");
        self.other.parts(text, &self.other.is_read(), "a.other_", &|i| format!("x{i}[e]"));
        let last = self.other.parts.len().saturating_sub(1);
        let _ = write!(
            text,
            "            dy[e] = p{last};
        }}
        }}
        UNROLL for (u32 t = 0; t < HELD_TAPS; t++) {{
            const u32 tap = first_tap + t, row = tap / p->kernel[1], column = tap % p->kernel[1];
            u32 place[2];
            if (tap >= a.taps) break;
            if (!place_of_tap(p, 0, x.place[0], row, &place[0]) || !place_of_tap(p, 1, x.place[1], column, &place[1])) continue;
            const u64 first = first_of(p, &x, place);
"
        );
        self.numbers(text);
        let last = self.chain.parts.len().saturating_sub(1);
        let _ = write!(
            text,
            "            sums[t][e] = fused(dy[e], p{last}, sums[t][e]);
            }}
        }}
    }}
    for (u32 t = 0; t < HELD_TAPS && first_tap + t < a.taps; t++) {{
        const struct quad q = {{{{bits_of(sums[t][0]), bits_of(sums[t][1]), bits_of(sums[t][2]), bits_of(sums[t][3])}}}};
        shared_put128(THREAD * 16, q);
        barrier();
        const u32 channel = strip_channel + THREAD;
        if (THREAD < 4 * a.lanes && channel < p->channels) {{
            float sum = 0;
            for (u32 l = 0; l < lines; l++) sum += number_of(shared_get32(l * a.lanes * 16 + THREAD * 4));
            put32((float *)a.out + ((u64)part * p->channels + channel) * a.taps + first_tap + t, bits_of(sum));
        }}
        barrier();
    }}\n"
        );
    }

    /// The statements that read four channels of a place, and begin to compute each one's number.
    fn numbers(&self, text: &mut String) {
        let load = self.load();
        for (i, elements) in self.chain.read(ChainRead::Each) {
            let width = elements.width();
            let _ =
                writeln!(text, "            u32 x{i}[4];\n            {load}_{width}(x{i}, a.in{i}, first, valid);");
        }
        text.push_str("            UNROLL for (u32 e = 0; e < 4; e++) {\n            if (e >= valid) continue;\n");
        text.push_str("            const u32 channel = first_channel + e; (void)channel;\n");
        self.chain.parts(text, &self.chain.is_read(), "a.", &|i| format!("x{i}[e]"));
    }

    fn load(&self) -> &'static str {
        if self.is_aligned { "load" } else { "load_each" }
    }

    fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        let mut formats = self.chain.formats();
        formats.extend(self.other.formats());
        formats.extend(self.epilogue.formats());
        formats
    }
}
