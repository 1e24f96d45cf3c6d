//! Recurrent layers and their gradients: a block goes through the steps of one example in one direction.

mod activations;
mod backward;
mod steps;

use crate::elements::Elements;
use crate::epilogue::Epilogue;
use crate::expression::{Names, c};
use crate::source::{Argument, Kernel};
use activations::{slope, value};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::ops::{Recurrent, RecurrentGradient};
use bitbudget_ir::{Activation, Cell, Expression};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// The names of what a layer reads, in the order of its operands; the last two are read by the gradient only.
const NAMES: [&str; 10] = ["x", "w", "r", "bias", "lengths", "hidden", "cell", "peepholes", "dy", "y"];

/// A kernel of a layer, or of one of its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentLayer {
    /// The layer.
    pub op: Recurrent,
    /// Which gradient, if it is one.
    pub by: Option<RecurrentGradient>,
    /// How what is read lies, by [`RecurrentLayer::operands`].
    pub operands: [Option<Elements>; 10],
    /// What becomes of results.
    pub epilogue: Epilogue,
}

/// The sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RecurrentSizes {
    pub steps: usize,
    pub batch: usize,
    pub inputs: usize,
    pub hidden: usize,
}

impl RecurrentLayer {
    /// Where what a layer reads stands among the operands of an operator: x, W, R, biases, lengths, initial states, peepholes; the gradient and
    /// the states before them if it is a gradient.
    pub fn operands(op: &Recurrent, is_gradient: bool) -> [Option<usize>; 10] {
        let (at, skipped) = (op.operands(), if is_gradient { 2 } else { 0 });
        let own = [Some(0), Some(1), Some(2), at.bias, at.lengths, at.hidden, at.cell, at.peepholes];
        let mut all = [None; 10];
        all.iter_mut().zip(own).for_each(|(all, own)| *all = own.map(|position| position + skipped));
        if is_gradient {
            (all[8], all[9]) = (Some(0), Some(1));
        }
        all
    }

    /// How many blocks compute it.
    pub fn blocks(&self, sizes: &RecurrentSizes) -> u32 {
        (self.op.directions() * sizes.batch) as u32
    }

    /// Vectors of the hidden size that a block keeps between steps: states before and behind a step, what gates activate and give, a product;
    /// gradients of states, those that a step passes on, and those of the gates.
    fn vectors(&self) -> usize {
        4 + 2 * self.op.cell.gates() + 1 + 4 + self.op.gate_gradients()
    }

    /// Bytes that blocks keep between steps.
    pub fn workspace(&self, sizes: &RecurrentSizes) -> usize {
        4 * self.blocks(sizes) as usize * self.vectors() * sizes.hidden
    }

    /// The arguments; addresses are those of what is there of what it reads, 0 for what is not.
    pub fn arguments(
        &self,
        sizes: &RecurrentSizes,
        addresses: [u64; 10],
        result: u64,
        workspace: u64,
        counters: u64,
    ) -> Vec<Argument> {
        let RecurrentSizes { steps, batch, inputs, hidden } = *sizes;
        let addresses = addresses.into_iter().chain([result, workspace, counters]).map(Argument::U64);
        addresses.chain([steps, batch, inputs, hidden].map(|size| Argument::U32(size as u32))).collect()
    }

    /// The kernel. If results are counted, it has three counters.
    pub fn kernel(&self, name: &str) -> Kernel {
        let mut text = self.reading();
        text += &self.functions(name);
        let pointers = NAMES.join(", *");
        let _ = write!(
            text,
            "struct {name}_arguments {{
    const void *{pointers};
    void *out;
    u32 *work;
    u64 *counters;
    u32 steps, batch, inputs, size;
}};
DEVICE float {name}_input(const struct {name}_arguments a, u32 d, u32 n, u32 t, u32 row) {{
    const u64 gates = (u64)d * {gates} * a.size + row;
    float sum = 0;
    for (u32 k = 0; k < a.inputs; k++) sum += READ_x(((u64)t * a.batch + n) * a.inputs + k) * READ_w(gates * a.inputs + k);
    return sum + READ_bias((u64)d * 2 * {gates} * a.size + row);
}}
DEVICE float {name}_product(const struct {name}_arguments a, u32 d, u32 row, const u32 *state) {{
    float sum = 0;
    for (u32 k = 0; k < a.size; k++) sum += number_of(get32(state + k)) * READ_r(((u64)d * {gates} * a.size + row) * a.size + k);
    return sum;
}}
",
            gates = self.op.cell.gates()
        );
        if self.by.is_some() {
            text += &self.transposed(name);
        }
        text += &self.body(name);
        let mut formats: BTreeSet<(Format, Overflow)> = self.epilogue.formats().collect();
        for elements in self.operands.into_iter().flatten() {
            if let Elements::Codes(format) = elements {
                formats.insert((format, Overflow::Saturate));
            }
        }
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }

    /// The product of a gate's gradient with a column of R.
    fn transposed(&self, name: &str) -> String {
        format!(
            "DEVICE float {name}_transposed(const struct {name}_arguments a, u32 d, u32 gate, u32 column, const u32 *gradient) {{
    float sum = 0;
    for (u32 k = 0; k < a.size; k++) {{
        sum += number_of(get32(gradient + k)) * READ_r((((u64)d * {gates} + gate) * a.size + k) * a.size + column);
    }}
    return sum;
}}
",
            gates = self.op.cell.gates()
        )
    }

    /// How numbers of operands are read; those of an operand that is not there are 0.
    fn reading(&self) -> String {
        let read = |(name, elements): (&&str, Option<Elements>)| {
            let number = match elements {
                Some(elements) => {
                    let width = elements.width();
                    elements.number(&format!("get{width}((const u{width} *)a.{name} + (at))"))
                }
                None => "0.0f".into(),
            };
            format!("#undef READ_{name}\n#define READ_{name}(at) {number}\n")
        };
        NAMES.iter().zip(self.operands).map(read).collect()
    }

    /// The activations of each direction, behind the clip, and their derivatives.
    fn functions(&self, name: &str) -> String {
        let positions = self.op.cell.standard_activations().len();
        let clip = self.op.clip.0 as f32;
        let mut text = String::new();
        let kinds = [("value", value as fn(Activation) -> Expression), ("slope", slope)];
        for (kind, of) in kinds.into_iter().take(if self.by.is_some() { 2 } else { 1 }) {
            let _ = writeln!(text, "DEVICE float {name}_{kind}(u32 d, u32 position, float x) {{");
            for direction in 0..self.op.directions() {
                for (position, &activation) in self.op.activations_of(direction).iter().enumerate().take(positions) {
                    let names = Names { operands: &["x".to_string()], per_channel: &|_| "0.0f".into(), place: "0" };
                    let function = c(&of(activation), &names);
                    let _ = writeln!(text, "    if (d == {direction} && position == {position}) return {function};");
                }
            }
            text += "    return 0;\n}\n";
        }
        let (clipped, outside) = match clip > 0.0 {
            true => (
                format!("x < -{clip:?}f ? -{clip:?}f : x > {clip:?}f ? {clip:?}f : x"),
                format!("magnitude(x) > {clip:?}f ? 0 : "),
            ),
            false => ("x".into(), String::new()),
        };
        let _ = writeln!(
            text,
            "DEVICE float {name}_gate(u32 d, u32 position, float x) {{ return {name}_value(d, position, {clipped}); }}"
        );
        if self.by.is_some() {
            let _ = writeln!(
                text,
                "DEVICE float {name}_gate_slope(u32 d, u32 position, float x) {{ return {outside}{name}_slope(d, position, x); }}"
            );
        }
        text
    }

    fn body(&self, name: &str) -> String {
        let (gates, vectors) = (self.op.cell.gates(), self.vectors());
        let is_reversed = self.op.direction.is_reversed();
        let reversed = match is_reversed {
            [one] => u32::from(*one).to_string(),
            _ => "d == 1".into(),
        };
        let length = match self.op.lengths {
            true => "READ_lengths(n)",
            false => "(float)a.steps",
        };
        let [begin, end] = match self.epilogue.is_counted() {
            true => ["    struct counts cy = {0, 0, 0};\n", "    add_counts(cy, a.counters);\n"],
            false => ["", ""],
        };
        let mut text = format!(
            "#undef FOR_EACH
#define FOR_EACH for (u32 i = THREAD; i < size; i += {THREADS})
#undef OF
#define OF(vector, i) number_of(get32((vector) + (i)))
#undef SET
#define SET(vector, i, x) put32((vector) + (i), bits_of(x))
KERNEL({name}, {THREADS}, struct {name}_arguments) {{
{begin}    const u32 size = a.size, d = BLOCK / a.batch, n = BLOCK - d * a.batch, directions = {directions};
    u32 *const state = a.work + (u64)BLOCK * {vectors} * size, *const cell = state + size;
    u32 *const next = cell + size, *const next_cell = next + size, *const before = next_cell + size;
    u32 *const gates = before + {gates} * size, *const product = gates + {gates} * size;
    u32 *const d_state = product + size, *const d_cell = d_state + size, *const p_state = d_cell + size;
    u32 *const p_cell = p_state + size, *const passed = p_cell + size;
    const float wanted = {length};
    const u32 length = wanted < (float)a.steps ? (u32)wanted : a.steps;
    (void)product; (void)p_cell; (void)passed; (void)d_cell; (void)directions;
",
            directions = self.op.directions(),
        );
        match self.by {
            None => self.forward(&mut text, name, &reversed),
            Some(by) => self.backward(&mut text, name, &reversed, by),
        }
        text + end + "}\n"
    }

    fn forward(&self, text: &mut String, name: &str, reversed: &str) {
        let cleared = if self.op.cell == Cell::Gru { "FOR_EACH SET(next_cell, i, 0.0f);" } else { "" };
        let kept = if self.op.cell == Cell::Gru { "" } else { "SET(next_cell, i, OF(cell, i)); " };
        let _ = write!(
            text,
            "    FOR_EACH {{
        SET(state, i, READ_hidden(((u64)d * a.batch + n) * size + i));
        SET(cell, i, READ_cell(((u64)d * a.batch + n) * size + i));
    }}
    barrier();
    for (u32 k = 0; k < a.steps; k++) {{
        const u32 t = {reversed} ? a.steps - 1 - k : k;
        if (t < length) {{
{}        }} else {{
            FOR_EACH {{ SET(next, i, OF(state, i)); {kept}}}
            {cleared}
        }}
        barrier();
        FOR_EACH {{
            SET(state, i, OF(next, i));
            SET(cell, i, OF(next_cell, i));
",
            self.step(name)
        );
        for (part, vector) in ["next", "next_cell"].into_iter().enumerate().take(self.op.states()) {
            let place = format!("((({part} * (u64)a.steps + t) * directions + d) * a.batch + n) * size + i");
            self.put(text, &format!("OF({vector}, i)"), &place);
        }
        text.push_str("        }\n        barrier();\n    }\n");
    }

    /// The statements that write a result.
    fn put(&self, text: &mut String, number: &str, place: &str) {
        let width = self.epilogue.elements.width();
        let _ = write!(
            text,
            "            {{
            const u32 e = 0, valid = 1; (void)valid;
            const float exacty = {number};
            u32 yy[1];
"
        );
        self.epilogue.write(text, "y");
        let _ =
            writeln!(text, "            put{width}((u{width} *)a.out + ({place}), (u{width})yy[e]);\n            }}");
    }
}
