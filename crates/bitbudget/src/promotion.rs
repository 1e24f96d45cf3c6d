//! Promotion of tensors that overflow in training.

use crate::fp32::{Remembered, bytes};
use crate::{Budget, Certificate, CompileError, Compiled};
use bitbudget_budget::{Network, Overflowed, Search, is_wider};
use bitbudget_formats::Format;
use bitbudget_ir::NodeId;
use bitbudget_precision::{Assignment, Level, Method, Setting};
use bitbudget_program::Footprint;

/// Seconds that a promotion may take at most, as a share of what the first assignment might.
const SHARE: f64 = 0.2;

/// How tensors that overflow are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promotion {
    /// They become high if that fits the budget, other tensors giving way; without a budget as in the paper.
    #[default]
    Fitting,
    /// They become high, as in the paper, even if that does not fit; but not those that are pinned.
    Paper,
}

/// The outcome of a tensor's overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The node of the training graph that overflowed, as it was given.
    pub tensor: u32,
    /// The node whose result it shows.
    pub node: NodeId,
    /// Its format before.
    pub from: Format,
    /// Its format now; the same if nothing wider fits the budget.
    pub to: Format,
    /// The peak in bytes with the format that it has now.
    pub peak: usize,
}

impl Compiled {
    /// Gives tensors (nodes of the training graph) that overflowed wider formats for good and lowers again; those that are
    /// pinned keep theirs.
    ///
    /// Under a budget the integer program is solved again without the formats that overflowed. Where that has no solution, the
    /// tensors that come last stay as they are, and are not tried again. Returns what became of those that could be promoted.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn promote(&mut self, tensors: &[u32], promotion: Promotion) -> Result<Vec<Promoted>, CompileError> {
        let mut before: Vec<(usize, Format)> = Vec::new();
        let mut given = Vec::new();
        for &tensor in tensors {
            let at = self.assignment.forward_tensor(&self.training, NodeId(tensor));
            if let Some(at) = at.filter(|&at| self.can_rise(at, promotion) && before.iter().all(|&(b, _)| b != at)) {
                before.push((at, self.assignment.chosen[at]));
                given.push(tensor);
            }
        }
        if before.is_empty() {
            return Ok(Vec::new());
        }
        match (promotion, self.budget.clone()) {
            (Promotion::Fitting, Some(budget)) => self.raise_within(&budget, &before)?,
            _ => {
                let nodes: Vec<NodeId> = before.iter().map(|&(at, _)| self.assignment.tensors[at].node).collect();
                let mut assignment = self.assignment.clone();
                assignment.promote(&self.training, &nodes);
                self.assign(assignment)?;
            }
        }
        let peak = self.step_bytes();
        if let Some(solved) = &mut self.solved {
            solved.peak = peak;
        }
        let outcome = |((at, from), tensor): ((usize, Format), u32)| {
            let (node, to) = (self.assignment.tensors[at].node, self.assignment.chosen[at]);
            Promoted { tensor, node, from, to, peak }
        };
        Ok(before.into_iter().zip(given).map(outcome).collect())
    }

    /// Whether an overflow can give any tensor a wider format.
    pub fn can_promote(&self, promotion: Promotion) -> bool {
        (0..self.assignment.tensors.len()).any(|at| self.can_rise(at, promotion))
    }

    /// Whether there is a wider format for a tensor, it is not pinned, and that was not found to be too large.
    fn can_rise(&self, at: usize, promotion: Promotion) -> bool {
        if self.refused.contains(&at) || self.pinned.contains_key(&at) {
            return false;
        }
        match (promotion, &self.budget) {
            (Promotion::Fitting, Some(budget)) if self.assignment.method == Method::Ilp => {
                self.wider(budget, at).is_some()
            }
            _ => self.assignment.levels[at] == Level::Low,
        }
    }

    /// The format of the fewest bits among those that are wider than a tensor's; of these the one of the most mantissa bits.
    fn wider(&self, budget: &Budget, at: usize) -> Option<Format> {
        let narrow = self.assignment.chosen[at];
        let wider = budget.forward.iter().copied().filter(|&format| is_wider(format, narrow));
        wider.min_by_key(|format| (format.bits(), format.exponent_bits()))
    }

    /// Raises as many of the tensors as fit, all of them if they do.
    fn raise_within(&mut self, budget: &Budget, tensors: &[(usize, Format)]) -> Result<(), CompileError> {
        let limit = self.solved.as_ref().map_or(usize::MAX, |solved| solved.budget);
        if self.raise(budget, tensors, limit)? {
            return Ok(());
        }
        for tensor in tensors {
            if !self.raise(budget, std::slice::from_ref(tensor), limit)? {
                self.refused.insert(tensor.0);
            }
        }
        Ok(())
    }

    /// Raises the tensors if that fits: as things are, or after other tensors gave way.
    fn raise(&mut self, budget: &Budget, tensors: &[(usize, Format)], limit: usize) -> Result<bool, CompileError> {
        let mut overflowed: Overflowed = self.overflowed.clone();
        overflowed.extend(tensors.iter().copied());
        let Assignment { batch, method, by_level, .. } = self.assignment;
        let mut raised = self.assignment.clone();
        if method == Method::Ilp {
            for &(at, _) in tensors {
                raised.chosen[at] = self.wider(budget, at).unwrap_or(raised.chosen[at]);
            }
            let (chosen, recomputed) = (raised.chosen, raised.recomputed);
            raised =
                Assignment::of_choices(&self.training, batch, &raised.tensors, method, by_level, chosen, recomputed)?;
        } else {
            let nodes: Vec<NodeId> = tensors.iter().map(|&(at, _)| raised.tensors[at].node).collect();
            raised.promote(&self.training, &nodes);
        }
        if bytes(&self.training, &raised, self.lowering)? > limit {
            if method != Method::Ilp {
                return Ok(false);
            }
            match self.searched(budget, &overflowed, limit) {
                Ok((assignment, certificate)) => {
                    raised = assignment;
                    if let Some(solved) = &mut self.solved {
                        solved.solver = Some(certificate);
                    }
                }
                Err(CompileError::Budget(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.overflowed = overflowed;
        self.assign(raised)?;
        Ok(true)
    }

    /// Another assignment that fits, without the formats that overflowed.
    fn searched(
        &mut self,
        budget: &Budget,
        overflowed: &Overflowed,
        limit: usize,
    ) -> Result<(Assignment, Certificate), CompileError> {
        let Assignment { method, batch, by_level: formats, .. } = self.assignment;
        let lowering = self.lowering;
        let step = self.fp32.step(&self.training, batch, lowering)?;
        let (training, tensors, pinned) = (&self.training, &self.assignment.tensors, &self.pinned);
        let remembered = Remembered::new(training, lowering);
        let taken = |assignment: &Assignment| remembered.taken(assignment);
        let network = Network { training, batch, tensors, pinned, taken: &taken };
        let setting = Setting { method, low_ratio: 0.0, seed: 0, formats };
        let search = Search::new(network, &step, setting, budget, overflowed);
        let (assignment, _, certificate) = search.solved(limit, SHARE)?;
        Ok((assignment, certificate))
    }

    /// Bytes that a training step takes at its peak.
    pub(crate) fn step_bytes(&self) -> usize {
        Footprint::predicted(&self.train, self.lowering.threads.max(1)).total()
    }
}
