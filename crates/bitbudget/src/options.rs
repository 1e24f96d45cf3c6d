//! Compiler options.

use crate::build::Lowering;
use crate::exports::{Formats, Loss, Method, Optimizer, Pin, Rules, Storage, Updates};
use bitbudget_budget::Budget;
use bitbudget_precision::Setting;
use bitbudget_program::Machine;

/// Compiler options.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Examples per step.
    pub batch: usize,
    /// What is minimised.
    pub loss: Loss,
    /// How parameters are updated.
    pub optimizer: Optimizer,
    /// When parameters are updated.
    pub updates: Updates,
    /// How formats are chosen.
    pub method: Method,
    /// The share of elements to make low at least, for the methods that use it.
    pub low_ratio: f64,
    /// The seed of random choices.
    pub seed: u64,
    /// The formats of high and low precision.
    pub formats: Formats,
    /// Formats that are asked for, whatever the method would choose.
    pub pins: Vec<Pin>,
    /// How tensors are stored.
    pub storage: Storage,
    /// By which rules graphs are rewritten. Without, tensors that can be computed in passing are stored too.
    pub rewrite: Option<Rules>,
    /// Threads of the run where there is no budget, which has its own: each has scratch memory, which counts where a program is chosen
    /// for the memory that it takes. 0 leaves scratch memory out.
    pub threads: usize,
    /// The kind of machine that programs are made for.
    pub machine: Machine,
    /// The memory that the training step may take; `None` for as much as the method takes.
    pub budget: Option<Budget>,
}

impl Default for Options {
    /// The paper's setting: batch 128, cross-entropy, SGD, demotion of half of the elements.
    fn default() -> Self {
        let (optimizer, formats, storage) = (Optimizer::sgd(), Formats::PAPER, Storage::Packed);
        let (method, updates) = (Method::Demote, Updates::IfFinite);
        let (batch, low_ratio, seed, pins) = (128, 0.5, 0, Vec::new());
        Options {
            batch,
            loss: Loss::default(),
            optimizer,
            updates,
            method,
            low_ratio,
            seed,
            formats,
            pins,
            storage,
            rewrite: Some(Rules::Exact),
            threads: 0,
            machine: Machine::Cpu,
            budget: None,
        }
    }
}

impl Options {
    /// How the options have graphs lowered.
    pub fn lowering(&self) -> Lowering {
        let threads = self.budget.as_ref().map_or(self.threads, |budget| budget.threads);
        Lowering { storage: self.storage, rewrite: self.rewrite, threads, machine: self.machine }
    }

    /// How the options have formats chosen.
    pub(crate) fn setting(&self) -> Setting {
        let Options { method, low_ratio, seed, formats, .. } = *self;
        Setting { method, low_ratio, seed, formats }
    }
}
