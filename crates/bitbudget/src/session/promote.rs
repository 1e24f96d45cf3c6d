//! Promotions while a run goes on.

use crate::{Compiled, Overflow, Promoted, Promotion, metrics};

/// Promotes tensors, with a record of each that could be.
pub(super) fn promote(
    compiled: &mut Compiled,
    over: &[Overflow],
    promotion: Promotion,
) -> Result<Vec<metrics::Promotion>, crate::CompileError> {
    let tensors: Vec<u32> = over.iter().map(|over| over.tensor).collect();
    let promoted = compiled.promote(&tensors, promotion)?;
    let record = |Promoted { tensor, node, from, to, peak }: Promoted| {
        let over = over.iter().find(|over| over.tensor == tensor)?;
        let name = &compiled.training.node(node).name;
        Some(metrics::Promotion {
            step: over.step,
            tensor: if name.is_empty() { node.to_string() } else { name.clone() },
            overflow: over.ratio,
            from: from.to_string(),
            to: to.to_string(),
            peak,
            low_ratio: compiled.assignment.low_ratio_elements(),
        })
    };
    Ok(promoted.into_iter().filter_map(record).collect())
}
