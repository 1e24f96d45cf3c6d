//! Functions of whole rows: softmax, layer normalisation, losses.

use crate::chain::{Chain, ChainRead};
use crate::epilogue::Epilogue;
use crate::expression::{Names, c};
use crate::row_function::{RowFunction, RowNumber};
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// How many times four elements a thread can hold.
const TURNS: usize = 8;

/// Threads of a row, and whether these hold its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// A warp, which holds them.
    Warp,
    /// A block, which holds them.
    Block,
    /// A block, which reads them for each number again.
    Far,
}

/// The kernel of a function of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// How numbers are computed from what is stored: the last parts are the function's operands.
    pub chain: Chain,
    /// What is computed of them.
    pub function: RowFunction,
    /// What becomes of results.
    pub epilogue: Epilogue,
    /// Threads of a row.
    pub reach: Reach,
    /// Whether rows are a multiple of four elements, which are read at once.
    pub is_aligned: bool,
}

/// The sizes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RowSizes {
    pub rows: usize,
    pub length: usize,
}

impl RowSizes {
    fn reach(&self) -> Reach {
        match self.length {
            0..=1024 => Reach::Warp,
            1025..=8192 => Reach::Block,
            _ => Reach::Far,
        }
    }

    /// How many blocks compute the rows.
    pub fn blocks(&self) -> u32 {
        match self.reach() {
            Reach::Warp => self.rows.div_ceil((THREADS / 32) as usize) as u32,
            Reach::Block | Reach::Far => self.rows as u32,
        }
    }

    /// The arguments; addresses are those of the chain's tensors, then of the result.
    pub fn arguments(&self, addresses: &[u64], counters: u64) -> Vec<Argument> {
        let addresses = addresses.iter().chain([&counters]).map(|&address| Argument::U64(address));
        addresses.chain([self.rows, self.length].map(|size| Argument::U32(size as u32))).collect()
    }
}

impl Rows {
    /// The kernel for sizes.
    pub fn new(chain: Chain, function: RowFunction, epilogue: Epilogue, sizes: &RowSizes) -> Rows {
        let is_aligned = sizes.length.is_multiple_of(4);
        Rows { chain: chain.uncounted(), function, epilogue, reach: sizes.reach(), is_aligned }
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> u32 {
        match self.reach {
            Reach::Warp => 0,
            Reach::Block | Reach::Far => THREADS / 32 * 4,
        }
    }

    /// The kernel. If results are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let is_counted = self.epilogue.is_counted();
        let mut text = self.begin(name);
        if is_counted {
            text += "    struct counts cy = {0, 0, 0};\n";
        }
        for (i, number) in self.function.numbers.iter().enumerate() {
            match number {
                RowNumber::Of(expression) => {
                    let number = self.c(expression, i);
                    let _ = writeln!(text, "    const float s{i} = {number};");
                }
                RowNumber::Sum(expression) => {
                    let add = format!("            all{i} += {};\n", self.c(expression, i));
                    self.joined(&mut text, i, "0", &add, "sum");
                }
                RowNumber::Largest(expression) => {
                    let join = format!("            all{i} = larger(all{i}, {});\n", self.c(expression, i));
                    self.joined(&mut text, i, "number_of(INFINITY_BITS | 0x80000000u)", &join, "largest");
                }
            }
        }
        self.result(&mut text);
        if is_counted {
            text += "    add_counts(cy, a.counters);\n";
        }
        text += "}\n";
        Kernel { name: name.into(), text, threads: THREADS, formats: self.formats() }
    }

    /// The kernel's beginning: arguments, the thread's row, and its elements if it holds them.
    fn begin(&self, name: &str) -> String {
        let mut text = format!("struct {name}_arguments {{\n");
        for i in 0..self.chain.inputs.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        text += "    void *out;\n    u64 *counters;\n    u32 rows, length;\n};\n";
        let _ = writeln!(text, "KERNEL({name}, ROWS_THREADS, struct {name}_arguments) {{");
        text += match self.reach {
            Reach::Warp => {
                "    const u32 row = BLOCK * (ROWS_THREADS / 32) + THREAD / 32, lane = THREAD % 32, lanes = 32;
    if (row >= a.rows) return;\n"
            }
            Reach::Block | Reach::Far => "    const u32 row = BLOCK, lane = THREAD, lanes = ROWS_THREADS;\n",
        };
        text += "    const u64 start = (u64)row * a.length;\n";
        text += &self.chain.scalars();
        if self.is_held() {
            for (i, _) in self.chain.read(ChainRead::Each) {
                let _ = writeln!(text, "    u32 x{i}[{TURNS}][4];");
            }
            let _ = writeln!(text, "    UNROLL for (u32 turn = 0; turn < {TURNS}; turn++) {{");
            text += "        const u32 at = (turn * lanes + lane) * 4, valid = rest_of(a.length, at);\n";
            text += "        if (valid == 0) break;\n";
            self.load(&mut text, "[turn]");
            text += "    }\n";
        }
        text
    }

    fn load(&self, text: &mut String, turn: &str) {
        let load = if self.is_aligned { "load" } else { "load_each" };
        for (i, elements) in self.chain.read(ChainRead::Each) {
            let _ = writeln!(text, "        {load}_{}(x{i}{turn}, a.in{i}, start + at, valid);", elements.width());
        }
    }

    /// The statements for every four elements of a thread: `each` for one, then `behind` for all four.
    fn elements(&self, text: &mut String, each: &str, behind: &str) {
        if self.is_held() {
            let _ = writeln!(text, "    UNROLL for (u32 turn = 0; turn < {TURNS}; turn++) {{");
            text.push_str("        const u32 at = (turn * lanes + lane) * 4, valid = rest_of(a.length, at);\n");
            text.push_str("        if (valid == 0) break;\n");
        } else {
            text.push_str("    for (u32 at = 4 * lane; at < a.length; at += 4 * lanes) {\n");
            text.push_str("        const u32 valid = rest_of(a.length, at);\n");
            for (i, _) in self.chain.read(ChainRead::Each) {
                let _ = writeln!(text, "        u32 x{i}[4];");
            }
            self.load(text, "");
        }
        let turn = if self.is_held() { "[turn]" } else { "" };
        if !behind.is_empty() {
            text.push_str("        u32 yy[4];\n");
        }
        text.push_str("        const u64 first = start + at; (void)first;\n");
        text.push_str("        UNROLL for (u32 e = 0; e < 4; e++) {\n            if (e >= valid) continue;\n");
        text.push_str("            const u32 channel = at + e; (void)channel;\n");
        self.chain.parts(text, &self.chain.is_read(), "a.", &|i| format!("x{i}{turn}[e]"));
        text.push_str(each);
        text.push_str("        }\n");
        text.push_str(behind);
        text.push_str("    }\n");
    }

    /// The statements that compute the row's number `i` of all its elements.
    fn joined(&self, text: &mut String, i: usize, first: &str, each: &str, join: &str) {
        let _ = writeln!(text, "    float all{i} = {first};");
        self.elements(text, each, "");
        let of = if self.reach == Reach::Warp { "warp" } else { "block" };
        let _ = writeln!(text, "    const float s{i} = {join}_of_{of}(all{i});");
    }

    /// The statements that compute the results.
    fn result(&self, text: &mut String) {
        let exact = self.c(&self.function.result, self.function.numbers.len());
        if self.function.is_number {
            let _ = write!(text, "    if (lane == 0) {{\n        const float exact = {exact};\n");
            let _ = writeln!(text, "        put32((u32 *)a.out + row, bits_of(exact));\n    }}");
            return;
        }
        let mut each = format!("            const float exacty = {exact};\n");
        self.epilogue.write(&mut each, "y");
        let store = if self.is_aligned { "store" } else { "store_each" };
        let behind = format!("        {store}_{}(a.out, first, valid, yy);\n", self.epilogue.elements.width());
        self.elements(text, &each, &behind);
    }

    /// C of a number of the row or an element, which may use the first `known` numbers of the row.
    fn c(&self, expression: &bitbudget_ir::Expression, known: usize) -> String {
        let parts = self.chain.parts.len();
        let operands = (parts - self.function.operands.min(parts)..parts).map(|part| format!("p{part}"));
        let numbers = (0..known).map(|i| format!("s{i}"));
        let nothing = (known..self.function.numbers.len()).map(|_| "0.0f".to_string());
        let names: Vec<String> = operands.chain(numbers).chain(nothing).chain(["(float)channel".to_string()]).collect();
        let length = |_: usize| "(float)a.length".to_string();
        c(expression, &Names { operands: &names, per_channel: &length, place: "(first + e)" })
    }

    fn is_held(&self) -> bool {
        self.reach != Reach::Far
    }

    fn formats(&self) -> BTreeSet<(Format, Overflow)> {
        let mut formats = self.chain.formats();
        formats.extend(self.epilogue.formats());
        formats
    }
}
