//! Kernels as text, and their arguments.

use crate::elements::definition;
use bitbudget_formats::{Format, Overflow};
use std::collections::BTreeSet;

/// A kernel's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name of its function.
    pub name: String,
    /// Its C, without the files that it includes.
    pub text: String,
    /// Threads of a block.
    pub threads: u32,
    /// The formats whose constants it needs.
    pub formats: BTreeSet<(Format, Overflow)>,
}

/// An argument of a kernel, in the order of its struct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// An address, or a number of 64 bits.
    U64(u64),
    /// A number of 32 bits.
    U32(u32),
    /// A floating-point number.
    F32(f32),
}

impl Argument {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Argument::U64(_) => 8,
            Argument::U32(_) | Argument::F32(_) => 4,
        }
    }
}

/// The bytes of a struct of arguments, the wider ones first: its size is a multiple of 8.
pub fn packed(arguments: &[Argument]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in arguments {
        match argument {
            Argument::U64(x) => bytes.extend(x.to_ne_bytes()),
            Argument::U32(x) => bytes.extend(x.to_ne_bytes()),
            Argument::F32(x) => bytes.extend(x.to_ne_bytes()),
        }
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A file of kernels, which includes [`HEADERS`].
pub fn file(kernels: &[Kernel]) -> String {
    following(HEADERS.iter().map(|(name, _)| format!("#include \"{name}\"\n")).collect(), kernels)
}

/// A file of kernels with the text of [`HEADERS`] in it.
pub fn whole_file(kernels: &[Kernel]) -> String {
    let is_text = |line: &&str| !line.starts_with("#include \"") && !line.starts_with("#pragma once");
    let lines = HEADERS.iter().flat_map(|(_, text)| text.lines().filter(is_text));
    following(lines.flat_map(|line| [line, "\n"]).collect(), kernels)
}

/// A text, and behind it kernels with the constants of their formats.
fn following(head: String, kernels: &[Kernel]) -> String {
    let formats: BTreeSet<(Format, Overflow)> = kernels.iter().flat_map(|kernel| kernel.formats.clone()).collect();
    let constants = formats.into_iter().map(|(format, overflow)| definition(format, overflow));
    let head = constants.fold(head, |text, definition| text + "\n" + &definition);
    kernels.iter().fold(head, |text, kernel| text + "\n" + &kernel.text)
}

/// What kernels include: the names and texts of the files.
pub const HEADERS: &[(&str, &str)] = &[
    ("machine.h", include_str!("../device/machine.h")),
    ("formats.h", include_str!("../device/formats.h")),
    ("functions.h", include_str!("../device/functions.h")),
    ("elements.h", include_str!("../device/elements.h")),
    ("index.h", include_str!("../device/index.h")),
    ("moves.h", include_str!("../device/moves.h")),
    ("rows.h", include_str!("../device/rows.h")),
    ("pools.h", include_str!("../device/pools.h")),
    ("columns.h", include_str!("../device/columns.h")),
    ("product.h", include_str!("../device/product.h")),
];
