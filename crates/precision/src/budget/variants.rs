//! How long a stored tensor may be alive: kept, or dropped and recomputed.

use super::lives::Stored;
use bitbudget_ir::NodeId;
use std::collections::BTreeMap;

/// One way to have a tensor when it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variant {
    /// Steps through which it is alive: from when it is computed first, and from when it is computed again.
    pub(crate) alive: Vec<[usize; 2]>,
    /// The step before which it is computed again.
    pub(crate) again: Option<usize>,
}

impl Variant {
    /// Whether the tensor is there just before a step.
    pub(crate) fn is_there(&self, step: usize) -> bool {
        self.again == Some(step) || self.alive.iter().any(|&[first, last]| first <= step && step <= last)
    }
}

/// Steps at which one tensor may be recomputed at most.
const MOST: usize = 4;

/// The variants of every stored tensor; `offered` says which may be recomputed.
pub(crate) fn variants(stored: &[Stored], offered: &[bool]) -> Vec<Vec<Variant>> {
    let position: BTreeMap<NodeId, usize> = stored.iter().enumerate().map(|(at, s)| (s.node, at)).collect();
    // The steps at which what reads a tensor may be recomputed, latest first.
    let mut needed: Vec<Vec<usize>> = vec![Vec::new(); stored.len()];
    let mut variants = vec![Vec::new(); stored.len()];
    for (at, tensor) in stored.iter().enumerate().rev() {
        let needed_at = std::mem::take(&mut needed[at]);
        let mut steps = needed_at.clone();
        let own = tensor.backward.map(|[first, _]| first);
        steps.extend(own);
        steps.retain(|&step| own.is_none_or(|own| step <= own) && step > tensor.forward + 1);
        let steps = if offered[at] { latest(steps) } else { Vec::new() };
        let mut found = vec![Variant { alive: vec![[tensor.first, tensor.last()]], again: None }];
        for step in latest(needed_at.into_iter().filter(|&step| step > tensor.last()).collect()) {
            found.push(Variant { alive: vec![[tensor.first, step]], again: None });
        }
        for &step in &steps {
            let last = tensor.backward.map_or(step, |[_, last]| last.max(step));
            found.push(Variant { alive: vec![[tensor.first, tensor.forward], [step, last]], again: Some(step) });
        }
        for input in &tensor.inputs {
            if let Some(&input) = position.get(input) {
                needed[input].extend(&steps);
            }
        }
        variants[at] = found;
    }
    variants
}

fn latest(mut steps: Vec<usize>) -> Vec<usize> {
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps.dedup();
    steps.truncate(MOST);
    steps
}
