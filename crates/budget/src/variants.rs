//! How long a stored tensor may be alive: kept, or dropped and recomputed.

use crate::lives::{Apart, Side, Stored};
use bitbudget_ir::NodeId;
use std::collections::BTreeMap;

/// One way to have a tensor when it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variant {
    /// Steps through which it is alive: from when it is computed first, and from when it is computed again.
    pub(crate) alive: Vec<[usize; 2]>,
    /// The step before which it is computed again.
    pub(crate) again: Option<usize>,
    /// Whether this is for a rectifier's input and output in two formats.
    pub(crate) apart: bool,
}

impl Variant {
    /// Whether the tensor is there just before a step.
    pub(crate) fn is_there(&self, step: usize) -> bool {
        self.again == Some(step) || self.alive.iter().any(|&[first, last]| first <= step && step <= last)
    }
}

/// Steps at which one tensor may be recomputed at most, and the same where there are many tensors: more steps than the first that reads
/// it and the last that something else may need it at make large programs slower, not better.
const MOST: usize = 4;
const MOST_OF_MANY: usize = 2;
const MANY: usize = 4000;

/// The variants of every stored tensor; `offered` says which may be recomputed.
pub(crate) fn variants(stored: &[Stored], offered: &[bool]) -> Vec<Vec<Variant>> {
    let position: BTreeMap<NodeId, usize> = stored.iter().enumerate().map(|(at, s)| (s.node, at)).collect();
    // The steps at which what reads a tensor may be recomputed.
    let mut needed: Vec<Vec<usize>> = vec![Vec::new(); stored.len()];
    let mut variants = vec![Vec::new(); stored.len()];
    let most = if stored.len() > MANY { MOST_OF_MANY } else { MOST };
    for (at, tensor) in stored.iter().enumerate().rev() {
        let needed_at = std::mem::take(&mut needed[at]);
        let mut found = of(tensor, &needed_at, offered[at].then_some(most), false);
        match tensor.apart {
            Some(Apart { side: Side::Output, .. }) => {
                found.extend(of(tensor, &needed_at, offered[at].then_some(most), true))
            }
            // Beside an input that is kept the output need not be stored, whatever its format, unless they have none in common.
            Some(Apart { side: Side::Input, has_common, .. }) => {
                let apart = of(tensor, &needed_at, offered[at].then_some(most), true);
                found.extend(apart.into_iter().filter(|variant| !has_common || variant.again.is_some()));
            }
            None => {}
        }
        let steps: Vec<usize> = found.iter().filter_map(|variant| variant.again).collect();
        for input in &tensor.inputs {
            if let Some(&input) = position.get(input) {
                needed[input].extend(&steps);
            }
        }
        variants[at] = found;
    }
    variants
}

/// The variants of one that others may need at some steps.
fn of(tensor: &Stored, needed: &[usize], offered: Option<usize>, apart: bool) -> Vec<Variant> {
    let reads = tensor.reads(apart);
    let own = reads.map(|[first, _]| first);
    let last = reads.map_or(tensor.forward, |[_, last]| last.max(tensor.forward));
    let kept = |last: usize| Variant { alive: vec![[tensor.first, last]], again: None, apart };
    let again = |step: usize| {
        let last = reads.map_or(step, |[_, last]| last.max(step));
        Variant { alive: vec![[tensor.first, tensor.forward], [step, last]], again: Some(step), apart }
    };
    let is_early = |step: &usize| own.is_none_or(|own| *step <= own) && *step > tensor.forward + 1;
    let steps = needed.iter().copied().chain(own).filter(is_early).collect();
    let longer = needed.iter().copied().filter(|&step| step > last).collect();
    let mut found = vec![kept(last)];
    found.extend(latest(longer, MOST).into_iter().map(kept));
    if let Some(most) = offered {
        found.extend(latest(steps, most).into_iter().map(again));
    }
    found
}

/// The latest of some steps, in falling order.
fn latest(mut steps: Vec<usize>, most: usize) -> Vec<usize> {
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps.dedup();
    steps.truncate(most);
    steps
}
