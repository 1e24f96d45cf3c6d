//! Tests of searches with true peaks, in the compiler's own parts: the crate `budget` with the compiler's function. Tests of what a
//! program sees of budgets are in `tests/budgets.rs`.

mod brute_force;
mod predicted;
mod recomputed;

use crate::fp32::{Kept, taken};
use crate::{Budget, Lowering, Rules, Storage};
use bitbudget_budget::{Failure, Fp32, Network, Overflowed, Search, Taken};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, TrainingId};
use bitbudget_precision::{Assignment, Formats, Method, Pinned, Setting, Tensor, tensors};
use bitbudget_program::Machine;
use std::sync::Arc;

/// The bytes of a step under an assignment.
type Peaks<'a> = Box<dyn Fn(&Assignment) -> Result<Taken, Failure> + Sync + 'a>;

/// A training graph with all that a search of it borrows.
struct Subject<'a> {
    training: &'a Graph,
    batch: usize,
    lowering: Lowering,
    tensors: Vec<Tensor>,
    pinned: &'a Pinned,
    fp32: Arc<Fp32>,
    taken: Peaks<'a>,
}

impl<'a> Subject<'a> {
    fn new(training: &'a Graph, batch: usize, threads: usize, pinned: &'a Pinned) -> Subject<'a> {
        let lowering =
            Lowering { storage: Storage::Packed, rewrite: Some(Rules::Exact), threads, machine: Machine::Cpu };
        let fp32 = Kept::default().step(training, batch, lowering).unwrap();
        let taken = Box::new(move |assignment: &Assignment| taken(training, assignment, lowering));
        Subject { training, batch, lowering, tensors: tensors(training, batch), pinned, fp32, taken }
    }

    fn search<'b>(&'b self, budget: &'b Budget) -> Search<'b> {
        let Subject { training, batch, tensors, pinned, fp32, taken, .. } = self;
        let network = Network { training, batch: *batch, tensors, pinned, taken };
        let setting = Setting { method: Method::Ilp, low_ratio: 0.0, seed: 0, formats: Formats::PAPER };
        Search::new(network, fp32, setting, budget, &Overflowed::new())
    }

    fn assigned(&self, formats: Vec<Format>, recomputed: Vec<TrainingId>) -> Assignment {
        let Subject { training, batch, tensors, .. } = self;
        Assignment::of_choices(training, *batch, tensors, Method::Ilp, Formats::PAPER, formats, recomputed).unwrap()
    }

    fn peak(&self, assignment: &Assignment) -> usize {
        (self.taken)(assignment).unwrap().peak
    }

    /// The peak of FP32.
    fn exact_peak(&self) -> usize {
        self.peak(&self.assigned(vec![Format::FP32; self.tensors.len()], Vec::new()))
    }
}
