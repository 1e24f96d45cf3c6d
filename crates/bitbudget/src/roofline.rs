//! The least time of a step on a card, from published peaks; the card need not be there.

use crate::{Compiled, ExecError, instruction_work};
use bitbudget_exec::{DeviceWork, device_work};
use std::str::FromStr;

/// Seconds of a launch within a recorded step.
const LAUNCH: f64 = 3e-6;

/// The published peaks of a card, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// Its name, as options take it.
    pub name: &'static str,
    /// Bytes of its memory that are read or written.
    pub bytes: f64,
    /// Operations of tensor cores on BF16 and FP16 numbers with FP32 sums, none of them zero by structure.
    pub narrow: f64,
    /// The same on TF32 numbers.
    pub wide: f64,
    /// Instructions that its schedulers issue: four a multiprocessor and cycle.
    pub slots: f64,
}

impl Card {
    /// Those that are known: NVIDIA's data sheets of the SXM boards and of the GeForce card; cycles are those of tensor cores' peaks.
    pub const ALL: [Card; 4] = [
        Card { name: "a100", bytes: 2.039e12, narrow: 312e12, wide: 156e12, slots: 4.0 * 108.0 * 1.41e9 },
        Card { name: "h100", bytes: 3.35e12, narrow: 989.4e12, wide: 494.7e12, slots: 4.0 * 132.0 * 1.83e9 },
        Card { name: "h200", bytes: 4.8e12, narrow: 989.4e12, wide: 494.7e12, slots: 4.0 * 132.0 * 1.83e9 },
        Card { name: "rtx4090", bytes: 1.008e12, narrow: 165.2e12, wide: 82.6e12, slots: 4.0 * 128.0 * 2.52e9 },
    ];
}

impl FromStr for Card {
    type Err = String;

    fn from_str(text: &str) -> Result<Card, String> {
        let names: Vec<&str> = Card::ALL.iter().map(|card| card.name).collect();
        let found = Card::ALL.into_iter().find(|card| card.name.eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("known cards are {}", names.join(", ")))
    }
}

/// What bounds an instruction: the largest of these seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct InstructionBound {
    /// The names of what it computes, as [`InstructionWork`](crate::InstructionWork) has them.
    pub kind: String,
    /// Seconds of reading and writing its tensors once.
    pub bytes: f64,
    /// Seconds of its products on tensor cores.
    pub products: f64,
    /// Seconds of issuing its instructions, as estimated.
    pub slots: f64,
}

impl InstructionBound {
    /// The seconds that it takes at least.
    pub fn seconds(&self) -> f64 {
        self.bytes.max(self.products).max(self.slots)
    }
}

/// The bounds of a step on a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    /// Of each instruction that computes something, in order.
    pub instructions: Vec<InstructionBound>,
    /// The launches of the step.
    pub launches: usize,
}

impl Roofline {
    /// Seconds of the launches.
    pub fn launching(&self) -> f64 {
        self.launches as f64 * LAUNCH
    }

    /// Seconds of the step: of each instruction what bounds it, and of the launches.
    pub fn seconds(&self) -> f64 {
        self.instructions.iter().map(InstructionBound::seconds).sum::<f64>() + self.launching()
    }
}

impl Compiled {
    /// The least time of a training step on a card, if it was lowered for CUDA devices.
    ///
    /// # Errors
    /// If it was lowered for the CPU, or an operator has no kernel on CUDA devices.
    pub fn roofline(&self, card: &Card) -> Result<Roofline, ExecError> {
        let DeviceWork { launches, efforts } = device_work(&self.train)?;
        let bounds = instruction_work(&self.train).into_iter().zip(efforts).filter_map(|(work, effort)| {
            let work = work?;
            let products = effort.narrow / card.narrow + effort.wide / card.wide;
            Some(InstructionBound {
                kind: work.kind,
                bytes: work.bytes / card.bytes,
                products,
                slots: effort.slots / card.slots,
            })
        });
        Ok(Roofline { instructions: bounds.collect(), launches })
    }
}
