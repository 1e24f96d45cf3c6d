//! The meaning of a program's options, and of a solution.

use crate::classes::Class;
use crate::lives::Stored;
use crate::variants::Variant;
use bitbudget_formats::Format;
use bitbudget_ir::TrainingId;
use bitbudget_solver::{Pick, Problem};
use std::collections::BTreeSet;
use std::ops::Range;

/// An integer program, and what its options stand for.
#[derive(Clone, Debug)]
pub struct Program {
    /// One row per step of the schedule, then one for the time if that is bounded.
    pub problem: Problem,
    /// The cost of choices that are left to no item.
    pub fixed_cost: f64,
    /// Bytes in FP32 of the tensors that are too small to be chosen for; no choice for them saves more.
    pub spare: usize,
    pub(super) meanings: Vec<Vec<Meaning>>,
    pub(super) classes: Vec<Class>,
    pub(super) fixed: Vec<Format>,
    pub(super) stored: Vec<Stored>,
    pub(super) steps: usize,
    /// The links that say which choices for a rectifier's output go with which for its input.
    pub(super) rectifying: Range<usize>,
}

/// The meaning of an option.
#[derive(Clone, Debug, Default)]
pub(super) struct Meaning {
    /// A class and the format that it gets.
    pub(super) format: Option<(usize, Format)>,
    /// A stored tensor and how it is kept.
    pub(super) variant: Option<(usize, Variant)>,
}

/// The meaning of a solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The format of each tensor, in the order of [`bitbudget_precision::tensors`].
    pub formats: Vec<Format>,
    /// The nodes that are computed again, in order of ids.
    pub recomputed: Vec<TrainingId>,
}

pub(super) fn pick(item: usize, option: usize) -> Pick {
    Pick { item: item as u32, option: option as u32 }
}

impl Program {
    /// The rows that stand for the memory at the steps.
    pub fn memory_rows(&self) -> std::ops::Range<u32> {
        0..self.steps as u32
    }

    /// The meaning of a solution: an option for each item.
    pub fn choices(&self, picks: &[u32]) -> Choices {
        let mut by_class = self.fixed.clone();
        let mut recomputed = BTreeSet::new();
        for (meanings, &pick) in self.meanings.iter().zip(picks) {
            let Some(Meaning { format, variant }) = meanings.get(pick as usize) else { continue };
            if let Some((class, format)) = format {
                by_class[*class] = *format;
            }
            if let Some((at, Variant { again: Some(_), .. })) = variant {
                recomputed.extend(self.stored[*at].closure.iter().copied());
            }
        }
        let tensors = self.classes.iter().map(|class| class.tensors.iter().max().map_or(0, |&t| t + 1)).max();
        let mut formats = vec![Format::FP32; tensors.unwrap_or(0)];
        for (class, format) in self.classes.iter().zip(by_class) {
            class.tensors.iter().for_each(|&tensor| formats[tensor] = format);
        }
        Choices { formats, recomputed: recomputed.into_iter().collect() }
    }
}
