//! Sums of two tensors of which one or both are normalised, and may be rectified then: residual connections.

use super::part::{ChainOperand, PlannedOperand, PlannedPart};
use crate::elementwise::function::Function;

/// The first parts of a chain.
pub(super) struct Residual {
    /// The part that adds.
    pub(super) at: usize,
    pub(super) sides: [Side; 2],
}

/// The added tensor.
#[derive(Clone, Copy)]
pub(super) struct Side {
    /// The part that normalises it, if one does.
    pub(super) normalized: Option<usize>,
    /// Whether it is rectified then.
    pub(super) rectified: bool,
}

impl Residual {
    /// None where the chain begins otherwise. The first side is normalised.
    pub(super) fn new(parts: &[PlannedPart]) -> Option<Residual> {
        let at = parts.iter().position(|part| matches!(part.function, Function::Add | Function::Sum))?;
        let [a, b] = parts[at].operands.as_slice() else { return None };
        // Sums of two do not depend on their order, but for a NaN's bits.
        let mut sides = [side(parts, a)?, side(parts, b)?];
        sides.sort_by_key(|side| side.normalized.is_none());
        let used: usize =
            sides.iter().map(|side| usize::from(side.normalized.is_some()) + usize::from(side.rectified)).sum();
        let apart = sides[0].normalized != sides[1].normalized;
        (sides[0].normalized.is_some() && apart && used == at).then_some(Residual { at, sides })
    }
}

fn side(parts: &[PlannedPart], operand: &PlannedOperand) -> Option<Side> {
    let ChainOperand::Part(i) = *operand else { return Some(Side { normalized: None, rectified: false }) };
    match (&parts[i].function, parts[i].operands.first()?) {
        (Function::Normalize { .. }, _) => Some(Side { normalized: Some(i), rectified: false }),
        (Function::Relu, &ChainOperand::Part(j)) => {
            let normalizes = matches!(parts[j].function, Function::Normalize { .. });
            let again = parts[j].rounding == parts[i].rounding;
            (normalizes && again).then_some(Side { normalized: Some(j), rectified: true })
        }
        _ => None,
    }
}
