//! The factors of normalisation by channel, in FP64 as on the CPU.

use crate::elements::Elements;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const THREADS: u32 = 256;

/// A kernel that computes what the channels of a normalisation have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Added to the variance.
    epsilon: f32,
    /// How the operands lie: variance and scale, of a gradient those of scale and bias too; of the reciprocal deviation the variance alone.
    elements: Vec<Elements>,
}

impl Factors {
    /// The reciprocal of the deviation.
    pub fn reciprocal(epsilon: f64, variance: Elements) -> Factors {
        Factors { epsilon: epsilon as f32, elements: vec![variance] }
    }

    /// What `x - mean` is multiplied by.
    pub fn normalize(epsilon: f64, variance: Elements, scale: Elements) -> Factors {
        Factors { epsilon: epsilon as f32, elements: vec![variance, scale] }
    }

    /// What the gradient and `x - mean` are multiplied by, and what is added; operands are variance, scale, and the gradients of scale and bias.
    pub fn gradient(epsilon: f64, elements: [Elements; 4]) -> Factors {
        Factors { epsilon: epsilon as f32, elements: elements.to_vec() }
    }

    /// How many tensors it reads.
    pub fn operands(&self) -> usize {
        self.elements.len()
    }

    /// How many FP32 numbers of each channel it computes.
    pub fn results(&self) -> usize {
        if self.elements.len() == 4 { 3 } else { 1 }
    }

    /// How many blocks compute them.
    pub fn blocks(channels: usize) -> u32 {
        channels.div_ceil(THREADS as usize) as u32
    }

    /// The arguments; `count` is how many elements a channel has.
    pub fn arguments(&self, operands: &[u64], results: &[u64], channels: usize, count: usize) -> Vec<Argument> {
        let addresses = operands.iter().chain(results).map(|&address| Argument::U64(address));
        addresses.chain([Argument::U64(count as u64), Argument::U32(channels as u32)]).collect()
    }

    /// The kernel.
    pub fn kernel(&self, name: &str) -> Kernel {
        const NAMES: [&str; 4] = ["variance", "scale", "dscale", "dbias"];
        let mut text = format!("struct {name}_arguments {{\n");
        for i in 0..self.elements.len() {
            let _ = writeln!(text, "    const void *in{i};");
        }
        for i in 0..self.results() {
            let _ = writeln!(text, "    float *out{i};");
        }
        let _ = write!(
            text,
            "    u64 count;
    u32 channels;
}};
KERNEL({name}, {THREADS}, struct {name}_arguments) {{
    const u32 channel = BLOCK * {THREADS} + THREAD;
    if (channel >= a.channels) return;\n"
        );
        for (i, elements) in self.elements.iter().enumerate() {
            let width = elements.width();
            let bits = format!("get{width}((const u{width} *)a.in{i} + channel)");
            let _ = writeln!(text, "    const double {} = {};", NAMES[i], elements.number(&bits));
        }
        let _ = writeln!(text, "    const double reciprocal = 1.0 / sqrt(variance + (double){:?}f);", self.epsilon);
        text += match self.elements.len() {
            1 => "    put32(a.out0 + channel, bits_of((float)reciprocal));\n",
            2 => "    put32(a.out0 + channel, bits_of((float)(scale * reciprocal)));\n",
            _ => {
                "    const double by_dy = scale * reciprocal;
    put32(a.out0 + channel, bits_of((float)by_dy));
    put32(a.out1 + channel, bits_of((float)(-by_dy * reciprocal * dscale / (double)a.count)));
    put32(a.out2 + channel, bits_of((float)(-by_dy * dbias / (double)a.count)));\n"
            }
        };
        text += "}\n";
        let code = |elements: &Elements| match *elements {
            Elements::Codes(format) => Some((format, Overflow::Saturate)),
            _ => None,
        };
        let formats: BTreeSet<(Format, Overflow)> = self.elements.iter().filter_map(code).collect();
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }
}
