//! The part of a gradient that a kink behind a normalisation lets through, without computing the kink's result.
//!
//! The kink's result is flat below one normalised number and from another one on, and which these are is found by trying: so
//! rounding on the way needs no computing either. Overflows on the way are not counted.

use bitbudget_formats::{Format, Overflow, round_slice};

use super::part::{ChainOperand, PlannedOperand, PlannedPart};
use crate::elementwise::function::Function;
use crate::tensors::elements::Bounds;

/// The first parts of a chain: a normalisation, what clamps it, and what passes on a gradient where that is not flat.
pub(super) struct Masked {
    /// The part that passes the gradient on.
    pub(super) at: usize,
    pub(super) bounds: Bounds,
}

impl Masked {
    /// None where the chain begins otherwise.
    pub(super) fn new(parts: &[PlannedPart]) -> Option<Masked> {
        let (first, rest) = parts.split_first()?;
        let Function::Normalize { .. } = first.function else { return None };
        let follows = |part: &PlannedPart, k: usize, i: usize| matches!(part.operands.get(k), Some(ChainOperand::Part(j)) if *j == i);
        let kink = match rest.first()? {
            part if matches!(part.function, Function::Relu | Function::Clip { .. }) && follows(part, 0, 0) => {
                Some(part)
            }
            _ => None,
        };
        let at = 1 + usize::from(kink.is_some());
        let gradient = parts.get(at).filter(|part| follows(part, 1, at - 1))?;
        let before = &parts[..at];
        let read_elsewhere = |part: &PlannedPart| {
            part.operands.iter().any(|operand| matches!(operand, ChainOperand::Part(j) if *j < at))
        };
        if before.iter().any(|part| part.output.is_some() || part.rounding != first.rounding)
            || matches!(gradient.operands.first(), Some(ChainOperand::Part(_)))
            || parts[at + 1..].iter().any(read_elsewhere)
            || first.rounding.is_some_and(|(_, overflow)| overflow != Overflow::Saturate)
        {
            return None;
        }
        let bounds = bounds(kink.map(|kink| &kink.function), &gradient.function, first.rounding)?;
        Some(Masked { at, bounds })
    }

    /// The chain with one part in place of these.
    pub(super) fn shorter(&self, parts: &[PlannedPart]) -> Option<Vec<PlannedPart>> {
        let (first, gradient) = (parts.first()?, parts.get(self.at)?);
        let Function::Normalize { epsilon } = first.function else { return None };
        let Bounds { low, high } = self.bounds;
        let operands = gradient.operands.iter().take(1).chain(&first.operands).copied().collect();
        let masked =
            PlannedPart { function: Function::NormalizeMask { epsilon, low, high }, operands, ..gradient.clone() };
        let moved = |operand: &PlannedOperand| match *operand {
            ChainOperand::Part(j) => ChainOperand::Part(j - self.at),
            other => other,
        };
        let rest = parts[self.at + 1..]
            .iter()
            .map(|part| PlannedPart { operands: part.operands.iter().map(moved).collect(), ..part.clone() });
        Some(std::iter::once(masked).chain(rest).collect())
    }
}

/// Between which numbers a kink's gradient passes; none if some negative ones are, or NaN is not.
fn bounds(kink: Option<&Function>, gradient: &Function, rounding: Option<(Format, Overflow)>) -> Option<Bounds> {
    let rounded = |x: f32| {
        let mut x = [x];
        if let Some((format, overflow)) = rounding {
            round_slice(format, overflow, &mut x);
        }
        x[0]
    };
    let kinked = |x: f32| match kink {
        Some(Function::Relu) => rounded(if x <= 0.0 { 0.0 } else { x }),
        Some(Function::Clip { min, max }) => rounded(crate::elementwise::math::clamp(x, *min, *max)),
        _ => x,
    };
    let result = |x: f32| kinked(rounded(x));
    let (min, max) = match *gradient {
        Function::ReluGrad => (0.0, f32::NAN),
        Function::ClipGrad { min, max } => (min, max),
        _ => return None,
    };
    let nan = result(f32::NAN);
    if result(0.0) > min || nan <= min || nan >= max {
        return None;
    }
    let low = first(|x| result(x) > min)?;
    Some(Bounds { low, high: first(|x| result(x) >= max).unwrap_or(f32::NAN) })
}

/// The first of the positive numbers, infinity included, of which something holds, if it holds of all above it.
fn first(holds: impl Fn(f32) -> bool) -> Option<f32> {
    let (mut below, mut at) = (0, f32::INFINITY.to_bits());
    if !holds(f32::INFINITY) {
        return None;
    }
    while at - below > 1 {
        let middle = below + (at - below) / 2;
        match holds(f32::from_bits(middle)) {
            true => at = middle,
            false => below = middle,
        }
    }
    Some(f32::from_bits(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SATURATE: Overflow = Overflow::Saturate;

    #[test]
    fn bounds_are_where_results_change() {
        let relu = Some(&Function::Relu);
        let smallest = f32::from_bits(1);
        let found = bounds(relu, &Function::ReluGrad, None).map(|bounds| (bounds.low, bounds.high.is_nan()));
        assert_eq!(found, Some((smallest, true)));
        let (clip, gradient) = (Function::Clip { min: 0.0, max: 6.0 }, Function::ClipGrad { min: 0.0, max: 6.0 });
        assert_eq!(bounds(Some(&clip), &gradient, None), Some(Bounds { low: smallest, high: 6.0 }));
        let format = Format::PAPER_LOW_FORWARD;
        let round = |x: f32| {
            let mut x = [x];
            round_slice(format, SATURATE, &mut x);
            x[0]
        };
        let found = bounds(Some(&clip), &gradient, Some((format, SATURATE))).unwrap();
        assert!(round(found.low) > 0.0 && round(found.low.next_down()) == 0.0, "{found:?}");
        // The neighbour of 6 below it is 5.5.
        assert_eq!(found.high, 5.75);
        let below = Function::ClipGrad { min: -1.0, max: 1.0 };
        assert_eq!(bounds(None, &below, None), None);
        assert_eq!(bounds(relu, &Function::LeakyReluGrad { alpha: 0.1 }, None), None);
    }
}
