//! Products on tensor cores: convolutions as products of matrices that are never written out, with channels last.

use crate::chain::{Chain, ChainRead, Divisor};
use crate::elements::{Elements, constants};
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::fmt::Write as _;

/// As in `product.h`.
const TILE: usize = 128;
const THREADS: u32 = 256;
const STAGED: u32 = 128 * 32 * 2;

/// The most products that a tensor core adds to one sum, which it cuts off: 64 steps of 32.
const CHAIN: usize = 2048;

/// A convolution's kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// How a number of the input is computed from what is stored; it is that of the last part, which BF16 has to hold.
    pub input: Chain,
    /// How weights lie, `[out channels, kernel height, kernel width, channels]`; BF16 has to hold them.
    pub weights: Elements,
    /// The format to which results are rounded, what becomes of those that it cannot hold, and whether these are counted.
    pub rounding: Option<(Format, Overflow, bool)>,
    /// How results lie.
    pub stored: Elements,
    /// Whether channels are a multiple of 8, so that eight numbers are read at once.
    pub is_aligned: bool,
    /// Whether a sum has more products than a tensor core may add.
    pub is_long: bool,
}

/// The sizes of a convolution of `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConvSizes {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// Rows above and columns to the left of the input.
    pub pads: [usize; 2],
}

impl ConvSizes {
    fn rows(&self) -> usize {
        self.batch * self.out_height * self.out_width
    }

    fn inner(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// How many blocks compute it.
    pub fn blocks(&self) -> u32 {
        (self.rows().div_ceil(TILE) * self.out_channels.div_ceil(TILE)) as u32
    }

    /// Whether a kernel for aligned channels can compute it.
    pub fn is_aligned(&self) -> bool {
        self.channels.is_multiple_of(8)
    }

    /// Whether its sums are long.
    pub fn is_long(&self) -> bool {
        self.inner() > CHAIN
    }

    /// The kernel's arguments; addresses are those of the input's tensors, of the weights and the result.
    pub fn arguments(&self, addresses: &[u64], counters: u64) -> Vec<Argument> {
        let pixels = self.out_height * self.out_width;
        let mut words = vec![self.rows(), self.out_channels, self.inner(), self.height, self.width, self.channels];
        let divisor = |words: &mut Vec<usize>, d: usize| {
            let Divisor { magic, shift } = Divisor::new(d as u32);
            words.extend([magic as usize, shift as usize]);
        };
        words.push(pixels);
        divisor(&mut words, pixels);
        words.push(self.out_width);
        divisor(&mut words, self.out_width);
        divisor(&mut words, self.channels);
        words.push(self.kernel[1]);
        divisor(&mut words, self.kernel[1]);
        words.extend([self.strides, self.dilations, self.pads].concat());
        let mut arguments: Vec<Argument> = addresses.iter().map(|&address| Argument::U64(address)).collect();
        arguments.push(Argument::U64(counters));
        arguments.extend(words.into_iter().map(|word| Argument::U32(word as u32)));
        arguments
    }
}

impl Product {
    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> u32 {
        (4 * STAGED).max(TILE as u32 * self.result_row())
    }

    /// Bytes from one row of results in shared memory to the next: 16 more than it has, so that rows begin in other banks.
    fn result_row(&self) -> u32 {
        TILE as u32 * self.stored.width() / 8 + 16
    }

    /// The kernel that computes it. If results are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let is_read = self.input.is_read();
        let each: Vec<usize> =
            (0..is_read.len()).filter(|&i| is_read[i] && self.input.inputs[i].read == ChainRead::Each).collect();
        let mut text = String::new();
        let _ = writeln!(text, "struct {name}_arguments {{");
        for i in 0..self.input.inputs.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        text += "    const void *weights;\n    void *out;\n    u64 *counters;\n    struct window window;\n};\n";
        self.load_input(&mut text, name, &each);
        self.stage_input(&mut text, name, &each, &is_read);
        self.weights(&mut text, name);
        let raw: String = each.iter().map(|i| format!(" r{i}[2],")).collect();
        let raws: String = each.iter().map(|i| format!(", r{i}")).collect();
        let _ = write!(
            text,
            "KERNEL({name}, PRODUCT_THREADS, struct {name}_arguments) {{
    const u32 t = THREAD, warp = t / 32, tiles = (a.window.columns + TILE - 1) / TILE;
    const u32 row = BLOCK / tiles * TILE, column = BLOCK % tiles * TILE;
    // A thread stages a chunk of two rows of each operand.
    struct pixel pixels[2];
    UNROLL for (u32 i = 0; i < 2; i++) pixels[i] = pixel_of(&a.window, row + t / 4 + 64 * i);
    struct eight{raw} w[2];
    u32 inside[2];
    struct sums sums = {{{{{{{{0}}}}}}}};
{total}    {name}_load(&a, pixels, t % 4 * 8, inside{raws});
    {name}_load_weights(&a, column + t / 4, t % 4 * 8, w);
    for (u32 k = 0, turn = 0; k < a.window.inner; k += DEPTH, turn++) {{
        const u32 left = turn % 2 * STAGED, right = 2 * STAGED + left;
        {name}_stage(&a, k + t % 4 * 8, left, inside{raws});
        {name}_stage_weights(right, w);
        barrier();
        if (k + DEPTH < a.window.inner) {{
            {name}_load(&a, pixels, k + DEPTH + t % 4 * 8, inside{raws});
            {name}_load_weights(&a, column + t / 4, k + DEPTH + t % 4 * 8, w);
        }}
        add_products(&sums, left, right, warp / 4 * 64, warp % 4 * 32);
{chain}    }}
{end}    barrier();
",
            total = if self.is_long { "    struct sums total = {{{{0}}}};\n" } else { "" },
            chain = match self.is_long {
                true => format!("        if (turn % {} == {}) end_chain(&total, &sums);\n", CHAIN / 32, CHAIN / 32 - 1),
                false => String::new(),
            },
            end = if self.is_long { "    end_chain(&total, &sums);\n" } else { "" },
        );
        self.results(&mut text, name);
        text += "}\n";
        let mut formats = self.input.formats();
        let overflow = self.overflow();
        formats.extend(self.rounding.map(|(format, overflow, _)| (format, overflow)));
        for (elements, overflow) in [(self.weights, Overflow::Saturate), (self.stored, overflow)] {
            if let Elements::Codes(format) = elements {
                formats.insert((format, overflow));
            }
        }
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }

    fn overflow(&self) -> Overflow {
        self.rounding.map_or(Overflow::Saturate, |(_, overflow, _)| overflow)
    }

    /// A function that reads what a thread's two chunks of the input are made of.
    fn load_input(&self, text: &mut String, name: &str, each: &[usize]) {
        let raws: String = each.iter().map(|i| format!(", struct eight r{i}[2]")).collect();
        let _ = writeln!(
            text,
            "DEVICE void {name}_load(const struct {name}_arguments *a, const struct pixel pixels[2], u32 k, u32 inside[2]{raws}) {{
    UNROLL for (u32 i = 0; i < 2; i++) {{
        u64 at;
        u32 channel;
        inside[i] = 0;"
        );
        for i in each {
            let _ = writeln!(text, "        none(r{i} + i);");
        }
        let width = |i: &usize| self.input.inputs[*i].elements.width();
        if self.is_aligned {
            text.push_str(
                "        if (input_of(&a->window, pixels + i, k, &at, &channel)) {\n            inside[i] = 0xff;\n",
            );
            for i in each {
                let w = width(i);
                let _ = writeln!(text, "            eight_{w}(r{i} + i, (const u{w} *)a->in{i} + at);");
            }
            text.push_str("        }\n");
        } else {
            text.push_str("        UNROLL for (u32 e = 0; e < 8; e++)\n            if (input_of(&a->window, pixels + i, k + e, &at, &channel)) {\n                inside[i] |= 1u << e;\n");
            for i in each {
                let w = width(i);
                let _ = writeln!(text, "                set_{w}(r{i} + i, e, (const u{w} *)a->in{i} + at);");
            }
            text.push_str("            }\n");
        }
        text.push_str("    }\n}\n");
    }

    /// A function that computes the numbers of two chunks and puts them into shared memory. What lies outside the input is zero.
    fn stage_input(&self, text: &mut String, name: &str, each: &[usize], is_read: &[bool]) {
        let raws: String = each.iter().map(|i| format!(", const struct eight r{i}[2]")).collect();
        let reads_channels = self.input.inputs.iter().any(|input| input.read == ChainRead::Channel);
        let _ = writeln!(
            text,
            "DEVICE void {name}_stage(const struct {name}_arguments *arguments, u32 k, u32 at, const u32 inside[2]{raws}) {{
    const struct {name}_arguments a = *arguments; (void)a; (void)k;
    UNROLL for (u32 i = 0; i < 2; i++) {{
        u32 bits[8];
        UNROLL for (u32 e = 0; e < 8; e++) {{"
        );
        for i in each {
            let width = self.input.inputs[*i].elements.width();
            let _ = writeln!(text, "            const u32 b{i} = element_{width}(r{i} + i, e);");
        }
        if reads_channels {
            text.push_str("            const u32 index = inside[i] >> e & 1 ? k + e : 0;\n");
            text.push_str("            const u32 channel = index - divided(index, a.window.channels_magic, a.window.channels_shift) * a.window.channels;\n");
        }
        self.input.parts(text, is_read, &|i| format!("b{i}"));
        let last = self.input.parts.len().saturating_sub(1);
        let _ = writeln!(
            text,
            "            bits[e] = inside[i] >> e & 1 ? bits_of(p{last}) : 0;
        }}
        struct quad q;
        UNROLL for (u32 w = 0; w < 4; w++) q.word[w] = bf16_pair(bits[2 * w], bits[2 * w + 1]);
        shared_put128(at + chunk_at(THREAD / 4 + 64 * i, THREAD % 4), q);
    }}
}}"
        );
    }

    /// Functions that read and stage a thread's two chunks of the weights.
    fn weights(&self, text: &mut String, name: &str) {
        let width = self.weights.width();
        let _ = writeln!(
            text,
            "DEVICE void {name}_load_weights(const struct {name}_arguments *a, u32 column, u32 k, struct eight w[2]) {{
    UNROLL for (u32 i = 0; i < 2; i++) {{
        const u32 of = column + 64 * i;
        const u{width} *from = (const u{width} *)a->weights + (u64)of * a->window.inner + k;
        none(w + i);"
        );
        text.push_str(&match self.is_aligned {
            true => format!("        if (of < a->window.columns && k < a->window.inner) eight_{width}(w + i, from);\n"),
            false => format!(
                "        UNROLL for (u32 e = 0; e < 8; e++)\n            if (of < a->window.columns && k + e < a->window.inner) set_{width}(w + i, e, from + e);\n"
            ),
        });
        let number = self.weights.number(&format!("element_{width}(w + i, e)"));
        let _ = writeln!(
            text,
            "    }}
}}
DEVICE void {name}_stage_weights(u32 at, const struct eight w[2]) {{
    UNROLL for (u32 i = 0; i < 2; i++) {{
        u32 bits[8];
        UNROLL for (u32 e = 0; e < 8; e++) bits[e] = bits_of({number});
        struct quad q;
        UNROLL for (u32 word = 0; word < 4; word++) q.word[word] = bf16_pair(bits[2 * word], bits[2 * word + 1]);
        shared_put128(at + chunk_at(THREAD / 4 + 64 * i, THREAD % 4), q);
    }}
}}"
        );
    }

    /// The statements that round a tile of results and write them, row by row, through shared memory.
    fn results(&self, text: &mut String, _name: &str) {
        let (width, row) = (self.stored.width(), self.result_row());
        let from = if self.is_long { "total" } else { "sums" };
        let number = format!("{from}.of[i][j][2 * half + e]");
        let counted = self.rounding.filter(|r| r.2).map(|(format, overflow, _)| constants(format, overflow));
        if counted.is_some() {
            text.push_str("    struct counts counts = {0, 0, 0};\n");
        }
        let bits = match (self.stored, self.rounding) {
            (Elements::Codes(_), _) | (_, None) => self.stored.bits(&number, self.overflow()),
            (_, Some((format, overflow, _))) => format!("rounded({}, bits_of({number}))", constants(format, overflow)),
        };
        let put = match width {
            8 => "shared_put16(at, (u16)(x[0] | x[1] << 8))",
            16 => "shared_put32(at, x[0] | x[1] << 16)",
            _ => "struct pair pair = {{x[0], x[1]}}; shared_put64(at, pair)",
        };
        let count = counted
            .as_ref()
            .map_or(String::new(), |f| format!("                    count_number({f}, bits_of({number}), &counts);\n"));
        let _ = writeln!(
            text,
            "    const u32 lane = t % 32;
    UNROLL for (u32 i = 0; i < 4; i++)
        UNROLL for (u32 j = 0; j < 4; j++)
            UNROLL for (u32 half = 0; half < 2; half++) {{
                u32 x[2];
                UNROLL for (u32 e = 0; e < 2; e++) {{
                    x[e] = {bits};
{count}                }}
                const u32 of = warp / 4 * 64 + 16 * i + 8 * half + lane / 4;
                const u32 at = of * {row} + (warp % 4 * 32 + 8 * j + lane % 4 * 2) * {bytes};
                {put};
            }}
    barrier();
    // Sixteen bytes at a time where rows begin at multiples of that.
    const u32 vector = {vector}, chunks = TILE / vector, wide = a.window.columns % vector == 0;
    for (u32 i = t; i < TILE * chunks; i += PRODUCT_THREADS) {{
        const u32 of = i / chunks, first = i % chunks * vector;
        if (row + of >= a.window.rows || column + first >= a.window.columns) continue;
        u{width} *to = (u{width} *)a.out + (u64)(row + of) * a.window.columns + column + first;
        const struct quad q = shared_get128(of * {row} + 16 * (i % chunks));
        if (wide) {{
            put128(to, q);
        }} else {{
            UNROLL for (u32 e = 0; e < vector; e++)
                if (column + first + e < a.window.columns) put{width}(to + e, (u{width})(q.word[e * {bytes} / 4] >> {width} * e % 32));
        }}
    }}",
            bytes = width / 8,
            vector = 128 / width,
        );
        if counted.is_some() {
            text.push_str("    add_counts(counts, a.counters);\n");
        }
    }
}
