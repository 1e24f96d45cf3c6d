//! The operands of products: where their numbers lie, and how they come into shared memory.

use crate::chain::{Chain, ChainOperand, ChainRead};
use crate::elements::Elements;
use crate::precision::Precision;
use crate::words::Words;
use bitbudget_formats::Format;
use bitbudget_ir::Expression;
use std::fmt::Write as _;

/// An operand of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Where its numbers lie.
    pub matrix: Matrix,
    /// How a number is computed from what is stored: it is that of the last part.
    pub chain: Chain,
    /// Whether eight numbers that lie side by side can be read at once.
    pub is_aligned: bool,
    /// Whether there are several products.
    pub is_batched: bool,
}

/// Matrices that tensors of a convolution are read as, all with channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// Pixels of the result by the window's taps and channels: the input.
    Pixels,
    /// Output channels by taps and channels: the weights, `[out channels, kernel height, kernel width, channels]`.
    Filters,
    /// Pixels of the input by taps and output channels: the output's gradient, where windows hold the pixel.
    Sources,
    /// Channels by taps and output channels: the weights.
    Channels,
    /// Output channels by pixels of the output: its gradient.
    Gradients,
    /// Taps and channels by pixels of the output: the input, where windows lie.
    Windows,
    /// Pixels by channels, of the input or of the output's gradient, where windows are one pixel each.
    Points,
    /// [`Matrix::Sources`] where windows lie at each pixel.
    Dense,
    /// [`Matrix::Channels`] where windows are one pixel each.
    PointChannels,
    /// [`Matrix::Windows`] where these are one pixel each.
    PointWindows,
}

impl Matrix {
    /// Whether what lies side by side in memory belongs to one index of the inner dimension.
    pub(crate) fn is_across(self) -> bool {
        match self {
            Matrix::Pixels | Matrix::Filters | Matrix::Sources | Matrix::Points | Matrix::Dense => false,
            Matrix::Channels | Matrix::Gradients | Matrix::Windows | Matrix::PointChannels | Matrix::PointWindows => {
                true
            }
        }
    }

    /// Whether the channels of several taps lie side by side.
    fn has_taps(self) -> bool {
        match self {
            Matrix::Pixels | Matrix::Sources | Matrix::Windows | Matrix::Dense => true,
            Matrix::Filters | Matrix::Channels | Matrix::Gradients => false,
            Matrix::Points | Matrix::PointChannels | Matrix::PointWindows => false,
        }
    }

    /// The beginning of the names of its functions in `product.h`.
    fn prefix(self) -> &'static str {
        match self {
            Matrix::Pixels => "pixels",
            Matrix::Filters => "filters",
            Matrix::Sources => "sources",
            Matrix::Channels => "channels",
            Matrix::Gradients => "gradients",
            Matrix::Windows => "windows",
            Matrix::Points => "points",
            Matrix::Dense => "dense",
            Matrix::PointChannels => "point_channels",
            Matrix::PointWindows => "point_windows",
        }
    }
}

impl Side {
    /// The tensors of which a number is read from the same place.
    fn each(&self) -> Vec<usize> {
        let is_read = self.chain.is_read();
        (0..is_read.len()).filter(|&i| is_read[i] && self.chain.inputs[i].read == ChainRead::Each).collect()
    }

    /// The format of its numbers if they are multiplied as they are stored.
    fn as_stored(&self) -> Option<Format> {
        let [part] = self.chain.parts.as_slice() else { return None };
        let input = part.operands.first().filter(|_| part.expression == Expression::Operand(0))?;
        match (input, part.rounding) {
            (ChainOperand::Input(input), None) => match self.chain.inputs[*input].elements {
                Elements::Codes(format) => Some(format),
                Elements::Fp32 => Some(Format::FP32),
                Elements::I32 | Elements::Bytes => None,
            },
            _ => None,
        }
    }

    /// How its codes become numbers eight at a time, if they do.
    pub(crate) fn words(&self, precision: Precision) -> Option<Words> {
        self.as_stored().and_then(|format| Words::new(format, precision))
    }

    /// Whether what is not there has to be made zero: as it is stored, it is.
    pub(crate) fn is_masked(&self) -> bool {
        self.as_stored().is_none()
    }

    fn reads_channels(&self) -> bool {
        self.chain.inputs.iter().any(|input| input.read == ChainRead::Channel)
    }

    /// C that declares what a thread holds of it: its two chunks as they are stored, which numbers are there, the channel of the first one.
    pub(crate) fn declaration(&self, side: &str) -> String {
        let raw: String = self.each().iter().map(|i| format!("    struct eight {side}{i}[2];\n")).collect();
        let channel = if self.reads_channels() { format!(", {side}_channel[2]") } else { String::new() };
        let inside = if self.is_masked() { format!("    u32 {side}_inside[2]{channel};\n") } else { String::new() };
        format!("    struct line {side}_lines[2];\n{raw}{inside}")
    }

    /// C that finds the lines of a thread's two chunks, from the first line of the tile on.
    pub(crate) fn begin(&self, side: &str, first: &str) -> String {
        let line = if self.matrix.is_across() { "THREAD % 16 * 8" } else { "THREAD / 4 + 64 * i" };
        let prefix = self.matrix.prefix();
        format!(
            "    UNROLL for (u32 i = 0; i < 2; i++) {side}_lines[i] = {prefix}_line(&a.window, {first} + {line});\n"
        )
    }

    /// C that reads a thread's two chunks, from an index of the inner dimension on.
    pub(crate) fn load(&self, side: &str, k: &str) -> String {
        let (prefix, each) = (self.matrix.prefix(), self.each());
        let k = match self.matrix.is_across() {
            true => format!("{k} + THREAD / 16 + 16 * i"),
            false => format!("{k} + THREAD % 4 * 8"),
        };
        let mut text = "UNROLL for (u32 i = 0; i < 2; i++) {
            u64 at = 0;
            u32 channel = 0;
            (void)channel;\n"
            .to_string();
        if self.is_masked() {
            let _ = writeln!(text, "            {side}_inside[i] = 0;");
        }
        if self.reads_channels() {
            let _ = writeln!(text, "            {side}_channel[i] = 0;");
        }
        for i in &each {
            let _ = writeln!(text, "            none({side}{i} + i);");
        }
        let width = |i: &usize| self.chain.inputs[*i].elements.width();
        let at = if self.is_batched { format!("({side}_base + at)") } else { "at".into() };
        if self.is_aligned {
            let _ =
                writeln!(text, "            if ({prefix}_find(&a.window, {side}_lines + i, {k}, &at, &channel)) {{");
            if self.is_masked() {
                let _ = writeln!(text, "                {side}_inside[i] = 0xff;");
            }
            if self.reads_channels() {
                let _ = writeln!(text, "                {side}_channel[i] = channel;");
            }
            for i in &each {
                let w = width(i);
                let _ =
                    writeln!(text, "                eight_{w}({side}{i} + i, (const u{w} *)a.{side}_in{i} + {at});");
            }
        } else {
            let (line, k) = match self.matrix.is_across() {
                true => (format!("{prefix}_line(&a.window, {side}_lines[i].index + e)"), k),
                false => (format!("{side}_lines[i]"), format!("{k} + e")),
            };
            let _ = writeln!(
                text,
                "            UNROLL for (u32 e = 0; e < 8; e++) {{\n                const struct line line = {line};"
            );
            let _ =
                writeln!(text, "                if (!{prefix}_find(&a.window, &line, {k}, &at, &channel)) continue;");
            if self.reads_channels() {
                // The channel of the first of the eight, whether that one is there or not.
                text += "                while (channel < e) channel += a.window.channels;\n";
                let _ = writeln!(text, "                {side}_channel[i] = channel - e;");
            }
            if self.is_masked() {
                let _ = writeln!(text, "                {side}_inside[i] |= 1u << e;");
            }
            for i in &each {
                let w = width(i);
                let _ =
                    writeln!(text, "                set_{w}({side}{i} + i, e, (const u{w} *)a.{side}_in{i} + {at});");
            }
        }
        text + "            }\n        }\n"
    }

    /// C that computes the numbers of a thread's two chunks and puts them into shared memory; what is not there is zero.
    pub(crate) fn stage(&self, side: &str, at: &str, precision: Precision) -> String {
        let is_read = self.chain.is_read();
        let [row, chunk] = match self.matrix.is_across() {
            true => ["THREAD / 16 + 16 * i", "THREAD % 16"],
            false => ["THREAD / 4 + 64 * i", "THREAD % 4"],
        };
        let place = if self.matrix.is_across() { "across_at" } else { "along_at" };
        if let Some(words) = self.words(precision) {
            let words = words.c(side, &format!("{at} + {place}({row}, {chunk})"));
            return format!("UNROLL for (u32 i = 0; i < 2; i++) {{\n{words}        }}\n");
        }
        let put = match precision {
            Precision::Bf16 => format!("stage_bf16({at} + {place}({row}, {chunk}), bits)"),
            Precision::Fp16 => format!("stage_fp16({at} + {place}({row}, {chunk}), bits)"),
            Precision::Tf32 | Precision::Split => format!(
                "stage_wide({at} + wide_{place}({row}, {chunk} * 2), {at} + wide_{place}({row}, {chunk} * 2 + 1), bits)"
            ),
        };
        let mut text = "UNROLL for (u32 i = 0; i < 2; i++) {
            u32 bits[8];
            UNROLL for (u32 e = 0; e < 8; e++) {\n"
            .to_string();
        for i in self.each() {
            let width = self.chain.inputs[i].elements.width();
            let _ = writeln!(text, "            const u32 b{i} = element_{width}({side}{i} + i, e);");
        }
        if self.reads_channels() {
            let _ = writeln!(text, "            u32 channel = {side}_inside[i] >> e & 1 ? {side}_channel[i] + e : 0;");
            if self.matrix.has_taps() {
                // Behind the last channel comes the first one, of the next tap.
                text += "            while (channel >= a.window.channels) channel -= a.window.channels;\n";
            }
            if self.is_batched {
                text += "            channel += matrix * a.window.channel_step;\n";
            }
        }
        self.chain.parts(&mut text, &is_read, &format!("a.{side}_"), &|i| format!("b{i}"));
        let last = self.chain.parts.len().saturating_sub(1);
        let there = if self.is_masked() {
            format!("{side}_inside[i] >> e & 1 ? bits_of(p{last}) : 0")
        } else {
            format!("bits_of(p{last})")
        };
        let _ = write!(
            text,
            "            bits[e] = {there};
            }}
            {put};
        }}\n"
        );
        text
    }

    /// C that declares the kernel's arguments for it.
    pub(crate) fn arguments(&self, side: &str) -> String {
        (0..self.chain.inputs.len()).map(|i| format!("    const void *{side}_in{i};\n")).collect()
    }
}
