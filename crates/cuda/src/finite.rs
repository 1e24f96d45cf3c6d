//! Whether numbers are finite.

use crate::elements::Elements;
use crate::source::{Argument, Kernel};
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;

const THREADS: u32 = 256;
/// Elements of a block.
const SHARE: usize = 8192;
/// The most tensors of a launch.
pub(crate) const MOST: usize = 128;

/// A kernel that sets a flag if any number of some tensors is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finite {
    /// How the numbers lie.
    pub elements: Elements,
}

impl Finite {
    /// How many blocks look at tensors, which are addresses with numbers of elements.
    pub fn blocks(tensors: &[(u64, usize)]) -> u32 {
        tensors.iter().map(|(_, elements)| elements.div_ceil(SHARE)).sum::<usize>() as u32
    }

    /// The arguments.
    pub fn arguments(tensors: &[(u64, usize)], flag: u64) -> Vec<Argument> {
        let all = |of: fn(&(u64, usize)) -> u64| (0..MOST).map(move |i| Argument::U64(tensors.get(i).map_or(0, of)));
        let counts = [tensors.len() as u32, 0].map(Argument::U32);
        [Argument::U64(flag)].into_iter().chain(all(|t| t.0)).chain(all(|t| t.1 as u64)).chain(counts).collect()
    }

    /// The kernel.
    pub fn kernel(&self, name: &str) -> Kernel {
        let width = self.elements.width();
        let text = format!(
            "struct {name}_arguments {{
    u32 *flag;
    const u{width} *tensors[{MOST}];
    u64 elements[{MOST}];
    u32 count, unused;
}};
KERNEL({name}, {THREADS}, struct {name}_arguments) {{
    u32 tensor = 0;
    u64 block = BLOCK;
    for (; tensor + 1 < a.count; tensor++) {{
        const u64 blocks = (a.elements[tensor] - 1) / {SHARE} + 1;
        if (block < blocks) break;
        block -= blocks;
    }}
    u32 found = 0;
    for (u32 turn = 0; turn < {turns}; turn++) {{
        const u64 at = block * {SHARE} + turn * {THREADS} + THREAD;
        if (at >= a.elements[tensor]) break;
        const float x = {};
        found |= (bits_of(x) & MAGNITUDE) >= INFINITY_BITS;
    }}
    if (votes(found) && THREAD % 32 == 0) or32(a.flag, 1);
}}\n",
            self.elements.number(&format!("get{width}(a.tensors[tensor] + at)")),
            turns = SHARE / THREADS as usize,
        );
        let formats: BTreeSet<(Format, Overflow)> = match self.elements {
            Elements::Codes(format) => BTreeSet::from([(format, Overflow::Saturate)]),
            _ => BTreeSet::new(),
        };
        Kernel { name: name.into(), text, threads: THREADS, formats }
    }

    /// The arguments of the kernel that makes a number of the flag.
    pub fn last_arguments(flag: u64, result: u64) -> Vec<Argument> {
        [flag, result].map(Argument::U64).to_vec()
    }

    /// That kernel: 1 where no flag is set, else 0.
    pub fn last(name: &str) -> Kernel {
        let text = format!(
            "struct {name}_arguments {{
    const u32 *flag;
    float *result;
}};
KERNEL({name}, 32, struct {name}_arguments) {{
    if (THREAD == 0) put32(a.result, bits_of(get32(a.flag) ? 0.0f : 1.0f));
}}\n"
        );
        Kernel { name: name.into(), text, threads: 32, formats: BTreeSet::new() }
    }
}
