//! Launches of one kernel on several tensors as a single launch.

use crate::emit::Launch;
use crate::source::{Argument, Kernel, packed};

/// Bytes that the arguments of a launch may have in every version of CUDA.
const BYTES: usize = 4096;
/// So many launches become one at most: each block looks for its own among them.
const MOST: usize = 32;

/// What launches do that have no order among them, with fewer: those of the same kernel are joined.
///
/// Kernels with shared memory stay as they are, since their blocks may take turns.
pub fn together(launches: &[&Launch]) -> Vec<Launch> {
    let mut all: Vec<Vec<&Launch>> = Vec::new();
    for &launch in launches {
        let is_same = |others: &&mut Vec<&Launch>| match (others.first(), launch) {
            (Some(Launch::Kernel { kernel, shared: 0, .. }), Launch::Kernel { kernel: other, shared: 0, .. }) => {
                kernel.name == other.name
            }
            _ => false,
        };
        match all.iter_mut().find(is_same) {
            Some(others) => others.push(launch),
            None => all.push(vec![launch]),
        }
    }
    all.iter().flat_map(|launches| joined(launches)).collect()
}

/// Launches of one kernel as few.
fn joined(launches: &[&Launch]) -> Vec<Launch> {
    let most = match launches {
        [Launch::Kernel { arguments, .. }, _, ..] => most(packed(arguments).len()),
        _ => 1,
    };
    let chunks = launches.chunks(most);
    chunks.map(|some| one(some, most).unwrap_or_else(|| some[0].clone())).collect()
}

/// How many launches with so many bytes of arguments become one; an even number, so that arguments begin at multiples of 8 bytes.
fn most(bytes: usize) -> usize {
    match (BYTES / (bytes + size_of::<u32>())).min(MOST) & !1 {
        0 => 1,
        most => most,
    }
}

/// One launch for several ones of a kernel.
fn one(launches: &[&Launch], most: usize) -> Option<Launch> {
    let [Launch::Kernel { kernel, arguments, .. }, _, ..] = launches else { return None };
    let bytes = packed(arguments).len();
    let (mut end, mut ends, mut of_each) = (0, Vec::new(), Vec::new());
    for launch in launches {
        let Launch::Kernel { blocks, arguments, .. } = launch else { return None };
        end += blocks;
        ends.push(Argument::U32(end));
        of_each.extend(arguments);
        let own: usize = arguments.iter().map(Argument::bytes).sum();
        of_each.extend((own..bytes).step_by(4).map(|_| Argument::U32(0)));
    }
    ends.resize(most, Argument::U32(end));
    let left = (most - launches.len()) * bytes / size_of::<u64>();
    let arguments = [ends, of_each, vec![Argument::U64(0); left]].concat();
    Some(Launch::Kernel { kernel: each(kernel, most), blocks: end, shared: 0, arguments })
}

/// The kernel on several tensors.
fn each(kernel: &Kernel, most: usize) -> Kernel {
    let name = format!("{}_each", kernel.name);
    let text = kernel.text.replace(&kernel.name, &name).replacen("KERNEL(", "EACH(", 1);
    let text = text.replacen("_arguments) {", &format!("_arguments, {most}) {{"), 1);
    let text = format!("#undef BLOCK\n#define BLOCK each_block\n{text}#undef BLOCK\n#define BLOCK LAUNCHED_BLOCK\n");
    Kernel { name, text, ..kernel.clone() }
}
