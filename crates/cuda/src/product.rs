//! Products on tensor cores: convolutions and their gradients as products of matrices that are never written out, with channels last.

use crate::chain::Chain;
use crate::conv_sizes::ConvSizes;
use crate::elements::{Elements, constants};
use crate::epilogue::Epilogue;
use crate::pass::{CHAIN, Pass, TILE};
use crate::precision::Precision;
use crate::side::Side;
use crate::source::Kernel;
use bitbudget_formats::{Format, Overflow};
use std::fmt::Write as _;

/// As in `product.h`.
const THREADS: u32 = 256;
/// Numbers of an operand in shared memory.
const STAGED: u32 = 128 * 32;

/// A product's kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Which one.
    pub pass: Pass,
    /// The operands, in the pass's order.
    pub sides: [Side; 2],
    /// What is multiplied.
    pub precision: Precision,
    /// How the numbers lie that are added to columns, if there are such.
    pub bias: Option<Elements>,
    /// What becomes of results.
    pub epilogue: Epilogue,
    /// Whether a sum has more products than a tensor core may add.
    pub is_long: bool,
    /// Whether several blocks add to a tile, one after the other.
    pub in_parts: bool,
    /// Whether there are several products: of groups of channels, or of matrices that lie behind each other.
    pub is_batched: bool,
}

impl Product {
    /// The kernel of a pass that computes its operands' numbers so, for sizes.
    pub fn new(
        pass: Pass,
        operands: [Chain; 2],
        precision: Precision,
        epilogue: Epilogue,
        sizes: &ConvSizes,
    ) -> Product {
        let [left, right] = pass.matrices(sizes.lying());
        let [first, second] = operands;
        let is_batched = sizes.matrix_count() > 1;
        let side = |matrix, chain: Chain| Side {
            matrix,
            chain: chain.uncounted(),
            is_aligned: sizes.is_aligned(pass, matrix),
            is_batched,
        };
        Product {
            pass,
            sides: [side(left, first), side(right, second)],
            precision,
            bias: None,
            epilogue,
            is_long: sizes.is_long(pass),
            in_parts: sizes.parts(pass) > 1,
            is_batched,
        }
    }

    /// The same with numbers of each column that are added.
    pub fn with_bias(self, bias: Elements) -> Product {
        Product { bias: Some(bias), ..self }
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> u32 {
        (4 * self.staged()).max(TILE as u32 * self.result_row())
    }

    /// Bytes of an operand in shared memory.
    fn staged(&self) -> u32 {
        STAGED * self.precision.bytes()
    }

    /// Bytes from one row of results in shared memory to the next: 16 more than it has, so that rows begin in other banks.
    fn result_row(&self) -> u32 {
        TILE as u32 * self.epilogue.elements.width() / 8 + 16
    }

    /// The kernel that computes it. If results are counted, it has three counters. In parts it has a workspace of FP32
    /// tiles, and words for turns that are zero before and after it runs.
    pub fn kernel(&self, name: &str) -> Kernel {
        let [left, right] = &self.sides;
        let mut text = format!(
            "struct {name}_arguments {{\n{}{}{}    void *out;\n    u64 *counters;\n    float *sums;\n    u32 *turns;\n    u64 left_step, right_step, out_step;\n    struct window window;\n}};\n",
            left.arguments("left"),
            right.arguments("right"),
            if self.bias.is_some() { "    const void *bias;\n" } else { "" },
        );
        let pass = match self.pass {
            Pass::Forward => "forward",
            Pass::GradInput => "input",
            Pass::GradWeight => "weight",
        };
        let _ = writeln!(text, "KERNEL({name}, PRODUCT_THREADS, struct {name}_arguments) {{");
        self.begin(&mut text);
        text += &left.declaration("left");
        text += &right.declaration("right");
        text += &left.begin("left", "row");
        text += &right.begin("right", "column");
        text += "    struct sums sums = {{{{0}}}};\n";
        if self.is_long {
            text += "    struct sums total = {{{{0}}}};\n";
        }
        let _ = write!(text, "    {}    {}", left.load("left", "begin"), right.load("right", "begin"));
        let _ = write!(
            text,
            "    for (u32 k = begin, step = 0; k < end; k += DEPTH, step++) {{
        const u32 left = step % 2 * {staged}, right = 2 * {staged} + left;
        {}        {}        barrier();
        if (k + DEPTH < end) {{
        {}        {}        }}
        add_{pass}_{precision}(&sums, left, right, warp / 4 * 64, warp % 4 * 32);
",
            left.stage("left", "left", self.precision),
            right.stage("right", "right", self.precision),
            left.load("left", "k + DEPTH"),
            right.load("right", "k + DEPTH"),
            staged = self.staged(),
            precision = self.precision.suffix(),
        );
        if self.is_long {
            let steps = CHAIN / 32;
            let _ = writeln!(text, "        if (step % {steps} == {}) end_chain(&total, &sums);", steps - 1);
        }
        text += "    }\n";
        if self.is_long {
            text += "    end_chain(&total, &sums);\n";
        }
        match self.in_parts {
            true => self.add_parts(&mut text),
            false => text += "    barrier();\n",
        }
        self.results(&mut text);
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS, formats: self.formats() }
    }

    /// The statements that find the block's tile, and its part of what is summed over.
    fn begin(&self, text: &mut String) {
        *text += "    const u32 t = THREAD, warp = t / 32, tiles = (a.window.columns + TILE - 1) / TILE;\n";
        *text += match self.in_parts {
            // Parts begin in the order in which they add.
            true => {
                "    if (t == 0) {
        const u32 drawn = take_ticket(a.turns);
        if (drawn + 1 == BLOCKS) pass_turn(a.turns, 0);
        shared_put32(0, drawn);
    }
    barrier();
    const u32 ticket = shared_get32(0);
    barrier();
    const u32 tile = ticket / a.window.parts, part = ticket % a.window.parts;
    const u32 begin = part * a.window.part_steps * DEPTH, after = begin + a.window.part_steps * DEPTH;
    const u32 end = after < a.window.inner ? after : a.window.inner;
"
            }
            false => "    const u32 tile = BLOCK, begin = 0, end = a.window.inner;\n",
        };
        *text += match self.is_batched {
            true => {
                "    const u32 of_matrix = tiles * ((a.window.rows + TILE - 1) / TILE), matrix = tile / of_matrix;
    const u32 in_matrix = tile - matrix * of_matrix, row = in_matrix / tiles * TILE, column = in_matrix % tiles * TILE;
    const u64 left_base = matrix * a.left_step, right_base = matrix * a.right_step, out_base = matrix * a.out_step;\n"
            }
            false => "    const u32 row = tile / tiles * TILE, column = tile % tiles * TILE;\n",
        };
    }

    /// The name of the sums of a block.
    fn sums(&self) -> &'static str {
        if self.is_long { "total" } else { "sums" }
    }

    /// The statements that add a part's sums to those of the parts before it. Only the last part goes on.
    fn add_parts(&self, text: &mut String) {
        let sums = self.sums();
        let _ = write!(
            text,
            "    if (t == 0) wait_turn(a.turns + 1 + tile, part);
    barrier();
    float *so_far = a.sums + (u64)tile * TILE * TILE + t;
    UNROLL for (u32 n = 0; n < 64; n++) {{
        float *sum = &{sums}.of[n / 16][n / 4 % 4][n % 4];
        if (part > 0) *sum = number_of(get32(so_far + n * PRODUCT_THREADS)) + *sum;
        if (part + 1 < a.window.parts) put32(so_far + n * PRODUCT_THREADS, bits_of(*sum));
    }}
    barrier();
    if (t == 0) pass_turn(a.turns + 1 + tile, part + 1 < a.window.parts ? part + 1 : 0);
    if (part + 1 < a.window.parts) return;
"
        );
    }

    /// The statements that round a tile of results and write them, row by row, through shared memory.
    fn results(&self, text: &mut String) {
        let (width, row) = (self.epilogue.elements.width(), self.result_row());
        let number = format!("{}.of[i][j][2 * half + e]", self.sums());
        let number = if self.bias.is_some() { format!("({number} + bias[j][e])") } else { number };
        let counted = self.epilogue.rounding.filter(|r| r.2).map(|(format, overflow, _)| constants(format, overflow));
        if counted.is_some() {
            *text += "    struct counts counts = {0, 0, 0};\n";
        }
        let bits = match (self.epilogue.elements, self.epilogue.rounding) {
            (Elements::Codes(_), _) | (_, None) => self.epilogue.elements.bits(&number, self.epilogue.overflow()),
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
        text.push_str("    const u32 lane = t % 32;\n");
        if let Some(bias) = self.bias {
            self.read_bias(text, bias);
        }
        let _ = writeln!(
            text,
            "    UNROLL for (u32 i = 0; i < 4; i++)
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
    const u32 vector = {vector}, chunks = TILE / vector, wide = {wide};
    for (u32 i = t; i < TILE * chunks; i += PRODUCT_THREADS) {{
        const u32 of = i / chunks, first = i % chunks * vector;
        if (row + of >= a.window.rows || column + first >= a.window.columns) continue;
        u{width} *to = (u{width} *)a.out + {base}(u64)(row + of) * a.window.result_pitch + column + first;
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
            base = if self.is_batched { "out_base + " } else { "" },
            wide = match self.is_batched {
                true => "(a.window.columns | a.window.result_pitch | (u32)a.out_step) % vector == 0",
                false => "a.window.columns % vector == 0",
            },
        );
        if counted.is_some() {
            *text += "    add_counts(counts, a.counters);\n";
        }
    }

    /// The statements that read what is added to the columns of a thread.
    fn read_bias(&self, text: &mut String, bias: Elements) {
        let width = bias.width();
        let first = if self.is_batched { "matrix * a.window.bias_step + " } else { "" };
        let _ = writeln!(
            text,
            "    float bias[4][2];
    UNROLL for (u32 j = 0; j < 4; j++)
        UNROLL for (u32 e = 0; e < 2; e++) {{
            const u32 of = column + warp % 4 * 32 + 8 * j + lane % 4 * 2 + e;
            if (of < a.window.columns) bias[j][e] = {};
            else bias[j][e] = 0;
        }}",
            bias.number(&format!("get{width}((const u{width} *)a.bias + ({first}of))"))
        );
    }

    /// All formats whose constants are needed.
    fn formats(&self) -> std::collections::BTreeSet<(Format, Overflow)> {
        let [left, right] = &self.sides;
        let mut formats = left.chain.formats();
        formats.extend(right.chain.formats());
        formats.extend(self.epilogue.formats());
        if let Some(Elements::Codes(format)) = self.bias {
            formats.insert((format, Overflow::Saturate));
        }
        formats
    }
}
