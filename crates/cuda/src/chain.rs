//! Elementwise operators in one pass.

use crate::elements::{Elements, constants};
use crate::expression::{Names, Used, c, used};
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::Expression;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Threads of a block.
const THREADS: u32 = 256;

/// How many times a block's threads take four elements.
const TURNS: u32 = 8;

/// Elementwise operators that read each other's results, on tensors of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// What they read.
    pub inputs: Vec<ChainInput>,
    /// The operators, operands first.
    pub parts: Vec<ChainPart>,
}

/// A tensor that a chain reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainInput {
    /// How its elements lie.
    pub elements: Elements,
    /// Which of them belong to an element of the chain.
    pub read: ChainRead,
}

/// Which elements of a tensor belong to an element of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainRead {
    /// The one in the same place.
    Each,
    /// The one of its channel: in kernels of rows, of its place in the row.
    Channel,
    /// The one of its row, in kernels of rows.
    Row,
    /// The only one.
    Scalar,
}

/// An operand of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainOperand {
    /// A tensor that the chain reads.
    Input(usize),
    /// An earlier part's result.
    Part(usize),
}

/// The format to which numbers are rounded, what becomes of those that it cannot hold, and whether these are counted.
pub type Rounding = (Format, Overflow, bool);

/// An operator of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainPart {
    /// What it computes.
    pub expression: Expression,
    /// Its operands.
    pub operands: Vec<ChainOperand>,
    /// How results are rounded.
    pub rounding: Option<Rounding>,
    /// How its results lie in memory, if they are stored.
    pub stored: Option<Elements>,
}

impl ChainPart {
    fn used(&self) -> Used {
        let mut by = Used::default();
        used(&self.expression, &mut by);
        by
    }
}

impl Chain {
    /// The kernel that computes it. The parts whose overflows are counted have three counters each, in order.
    pub fn kernel(&self, name: &str) -> Kernel {
        let reads_channels = self.inputs.iter().any(|input| input.read == ChainRead::Channel);
        let mut text = String::new();
        let is_read = self.is_read();
        let _ = writeln!(text, "struct {name}_arguments {{");
        for i in 0..self.inputs.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        for (i, _) in self.stored() {
            let _ = writeln!(text, "    void *out{i};");
        }
        text += "    u64 *counters;\n    u64 elements;\n    u32 channels, inner, magic, shift;\n";
        for (part, position) in self.sizes() {
            let _ = writeln!(text, "    float size{part}_{position};");
        }
        text += "};\n";
        let _ = writeln!(text, "KERNEL({name}, {THREADS}, struct {name}_arguments) {{");
        for (i, _) in self.counted() {
            let _ = writeln!(text, "    struct counts c{i} = {{0, 0, 0}};");
        }
        text += &self.scalars();
        let _ = writeln!(text, "    for (u32 turn = 0; turn < {TURNS}; turn++) {{");
        let _ =
            writeln!(text, "        const u64 first = ((u64)BLOCK * {TURNS} + turn) * {} + 4 * THREAD;", 4 * THREADS);
        text += "        if (first >= a.elements) break;\n";
        text += "        const u32 valid = a.elements - first < 4 ? (u32)(a.elements - first) : 4;\n";
        if reads_channels {
            text += "        const u32 position = (u32)(first % ((u64)a.channels * a.inner));\n";
        }
        for (i, elements) in self.read(ChainRead::Each) {
            let width = elements.width();
            let _ = writeln!(text, "        u32 x{i}[4];\n        load_{width}(x{i}, a.in{i}, first, valid);");
        }
        for (i, _) in self.stored() {
            let _ = writeln!(text, "        u32 y{i}[4];");
        }
        text += "        UNROLL for (u32 e = 0; e < 4; e++) {\n";
        if reads_channels {
            text += "            u32 channel = divided(position + e, a.magic, a.shift);\n";
            text += "            while (channel >= a.channels) channel -= a.channels;\n";
        }
        self.parts(&mut text, &is_read, "a.", &|i| format!("x{i}[e]"));
        text += "        }\n";
        for (i, elements) in self.stored() {
            let _ = writeln!(text, "        store_{}(a.out{i}, first, valid, y{i});", elements.width());
        }
        text += "    }\n";
        for (nth, (i, _)) in self.counted().enumerate() {
            let _ = writeln!(text, "    add_counts(c{i}, a.counters + {});", 3 * nth);
        }
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS, formats: self.formats() }
    }

    /// The statements that read the tensors of one number.
    pub(crate) fn scalars(&self) -> String {
        let read = |(i, elements): (usize, Elements)| {
            let bits = format!("get{}(a.in{i})", elements.width());
            format!("    const float x{i} = {};\n", elements.number(&bits))
        };
        self.read(ChainRead::Scalar).map(read).collect()
    }

    /// The statements that compute the parts of an element; `arguments` begins the C of an argument, `bits` is that of its bits in an input.
    pub(crate) fn parts(&self, text: &mut String, is_read: &[bool], arguments: &str, bits: &dyn Fn(usize) -> String) {
        for (i, input) in self.inputs.iter().enumerate().filter(|(i, _)| is_read[*i]) {
            let bits = match input.read {
                ChainRead::Each => bits(i),
                ChainRead::Channel => {
                    let width = input.elements.width();
                    format!("get{width}((const u{width} *){arguments}in{i} + channel)")
                }
                ChainRead::Row => {
                    let width = input.elements.width();
                    format!("get{width}((const u{width} *){arguments}in{i} + row)")
                }
                ChainRead::Scalar => continue,
            };
            let _ = writeln!(text, "            const float v{i} = {};", input.elements.number(&bits));
        }
        for (i, part) in self.parts.iter().enumerate() {
            let operand = |operand: &ChainOperand| match *operand {
                ChainOperand::Part(part) => format!("p{part}"),
                ChainOperand::Input(input) if self.inputs[input].read == ChainRead::Scalar => format!("x{input}"),
                ChainOperand::Input(input) => format!("v{input}"),
            };
            let operands: Vec<String> = part.operands.iter().map(operand).collect();
            let per_channel = |position: usize| format!("{arguments}size{i}_{position}");
            let names = Names { operands: &operands, per_channel: &per_channel, place: "(first + e)" };
            let _ = writeln!(text, "            const float exact{i} = {};", c(&part.expression, &names));
            written(text, &i.to_string(), part.rounding, part.stored);
        }
    }

    /// The values of the kernel's arguments for tensors of a shape; addresses are those of the inputs, then of the stored results. `sizes` are
    /// those of [`Chain::sizes`].
    pub fn arguments(&self, shape: [usize; 3], addresses: &[u64], counters: u64, sizes: &[usize]) -> Vec<Argument> {
        let [batch, channels, inner] = shape;
        let divisor = Divisor::new(inner as u32);
        let mut arguments: Vec<Argument> = addresses.iter().map(|&address| Argument::U64(address)).collect();
        arguments.extend([Argument::U64(counters), Argument::U64((batch * channels * inner) as u64)]);
        arguments.extend([channels as u32, inner as u32, divisor.magic, divisor.shift].map(Argument::U32));
        arguments.extend(sizes.iter().map(|&size| Argument::F32(size as f32)));
        arguments
    }

    /// How many blocks compute so many elements.
    pub fn blocks(elements: usize) -> u32 {
        elements.div_ceil((4 * THREADS * TURNS) as usize).max(1) as u32
    }

    /// The chain without counters: where numbers are computed several times, another kernel counts them.
    pub(crate) fn uncounted(mut self) -> Chain {
        self.parts.iter_mut().filter_map(|part| part.rounding.as_mut()).for_each(|rounding| rounding.2 = false);
        self
    }

    /// Which tensors are read, not for their shape alone.
    pub(crate) fn is_read(&self) -> Vec<bool> {
        let mut is_read = vec![false; self.inputs.len()];
        for part in &self.parts {
            for position in part.used().numbers {
                if let Some(&ChainOperand::Input(input)) = part.operands.get(position) {
                    is_read[input] = true;
                }
            }
        }
        is_read
    }

    /// The operands, by part and position, of whose channels the kernel takes the number of elements.
    pub fn sizes(&self) -> Vec<(usize, usize)> {
        let of = |(i, part): (usize, &ChainPart)| part.used().sizes.into_iter().map(move |position| (i, position));
        self.parts.iter().enumerate().flat_map(of).collect()
    }

    /// The tensors that are read in a way, not for their shape alone.
    pub(crate) fn read(&self, how: ChainRead) -> impl Iterator<Item = (usize, Elements)> + '_ {
        let is_read = self.is_read();
        let of =
            move |(i, input): (usize, &ChainInput)| (is_read[i] && input.read == how).then_some((i, input.elements));
        self.inputs.iter().enumerate().filter_map(of)
    }

    fn stored(&self) -> impl Iterator<Item = (usize, Elements)> + '_ {
        self.parts.iter().enumerate().filter_map(|(i, part)| Some((i, part.stored?)))
    }

    fn counted(&self) -> impl Iterator<Item = (usize, Format)> + '_ {
        let counted = |(i, part): (usize, &ChainPart)| part.rounding.filter(|r| r.2).map(|(format, ..)| (i, format));
        self.parts.iter().enumerate().filter_map(counted)
    }

    /// All formats whose constants are needed.
    pub(crate) fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        let mut formats = BTreeSet::new();
        for input in &self.inputs {
            if let Elements::Codes(format) = input.elements {
                formats.insert((format, Overflow::Saturate));
            }
        }
        self.parts.iter().for_each(|part| formats.extend(result_formats(part.rounding, part.stored)));
        formats
    }
}

/// The formats of a result, with what becomes of numbers that they cannot hold.
pub(crate) fn result_formats(
    rounding: Option<Rounding>,
    stored: Option<Elements>,
) -> impl Iterator<Item = (Format, Overflow)> {
    let overflow = rounding.map_or(Overflow::Saturate, |(_, overflow, _)| overflow);
    let codes = match stored {
        Some(Elements::Codes(format)) => Some((format, overflow)),
        _ => None,
    };
    rounding.map(|(format, overflow, _)| (format, overflow)).into_iter().chain(codes)
}

/// The statements that round the number `exact{tag}` to `p{tag}`, count it in `c{tag}`, and write its bits to `y{tag}[e]`.
pub(crate) fn written(text: &mut String, tag: &str, rounding: Option<Rounding>, stored: Option<Elements>) {
    let overflow = rounding.map_or(Overflow::Saturate, |(_, overflow, _)| overflow);
    match rounding {
        None => {
            let _ = writeln!(text, "            const float p{tag} = exact{tag}; (void)p{tag};");
        }
        Some((format, overflow, is_counted)) => {
            let f = constants(format, overflow);
            if is_counted {
                let _ = writeln!(text, "            if (e < valid) count_number({f}, bits_of(exact{tag}), &c{tag});");
            }
            let _ = writeln!(
                text,
                "            const float p{tag} = number_of(rounded({f}, bits_of(exact{tag}))); (void)p{tag};"
            );
        }
    }
    if let Some(elements) = stored {
        // Codes are made of the exact number; others hold the rounded one.
        let from = if matches!(elements, Elements::Codes(_)) { format!("exact{tag}") } else { format!("p{tag}") };
        let _ = writeln!(text, "            y{tag}[e] = {};", elements.bits(&from, overflow));
    }
}

/// Division by a number as a multiplication and a shift, exact for dividends below 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    /// The factor.
    pub magic: u32,
    /// By how many bits the product is shifted down.
    pub shift: u32,
}

impl Divisor {
    /// Division by `d`, which is not zero. With `l` bits of `d - 1` the factor is `2^(31 + l) / d`, rounded up: it is too large by less than
    /// `2^l / d`, which changes no quotient of numbers below 2^31.
    pub fn new(d: u32) -> Divisor {
        let shift = 31 + (u32::BITS - d.saturating_sub(1).leading_zeros());
        Divisor { magic: (1u64 << shift).div_ceil(u64::from(d.max(1))) as u32, shift }
    }
}
