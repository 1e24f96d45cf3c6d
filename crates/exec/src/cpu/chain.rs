//! Elementwise operators, alone or several in one pass over their operands.

use super::elementwise::Elementwise;
use super::operands::{Operand, Operands, Place};
use super::part::BoundPart;
use crate::error::Fault;
use bitbudget_formats::Counts;
use bitbudget_ir::Op;
use bitbudget_kernels::{self as kernels, Function, Output};
use bitbudget_select::geometry::channels;

/// One part of an instruction in one step.
pub(super) struct Link<'t> {
    pub(super) op: &'t Op,
    pub(super) operands: Operands<'t>,
    /// That of the result.
    pub(super) shape: &'t [usize],
    pub(super) part: &'t BoundPart,
}

/// Whether an operator is skipped where its last operand is zero, which leaves its first one as it is.
fn can_be_skipped(op: &Op) -> bool {
    matches!(
        op,
        Op::SgdVelocity(_)
            | Op::SgdParameter(_)
            | Op::AdamFirstMoment(_)
            | Op::AdamSecondMoment(_)
            | Op::AdamwParameter(_)
    )
}

/// Elementwise parts for a kernel.
pub(super) struct Chain<'t> {
    /// How the kernel sees their shape.
    pub(super) layout: [usize; 3],
    pub(super) parts: Vec<kernels::Part<'t>>,
    /// Whether nothing would change.
    untouched: bool,
}

/// The chain of elementwise parts of a shape.
pub(super) fn parts<'t>(links: &[Link<'t>], shape: &[usize]) -> Result<Chain<'t>, Fault> {
    let mut parts = Vec::with_capacity(links.len());
    let mut untouched = true;
    for link in links {
        let function = link.part.elementwise.as_ref().map(Elementwise::function);
        let mut function = function.ok_or_else(|| Fault::Operands(format!("{} is no function", link.op.name())))?;
        let mut used = operands(link.op);
        if can_be_skipped(link.op) {
            used = link.operands.len().saturating_sub(1);
            if link.operands.scalar(used)? == 0.0 {
                (function, used) = (Function::Copy, 1);
                untouched &= matches!(link.operands.get(0)?.0, Operand::Output(i) if link.part.place == Some(i));
            } else {
                untouched = false;
            }
        } else {
            untouched = false;
        }
        let operands: Result<Vec<kernels::Operand<'_>>, Fault> =
            (0..used.min(link.operands.len())).map(|i| operand(&link.operands, i, shape)).collect();
        let BoundPart { rounding, place: output, .. } = *link.part;
        parts.push(kernels::Part { function, operands: operands?, rounding, output });
    }
    let by_channel = |part: &kernels::Part<'_>| part.operands.iter().any(|o| matches!(o, kernels::Operand::Channel(_)));
    let layout = match parts.iter().any(by_channel) {
        true => channels(shape),
        false => [1, 1, shape.iter().product()],
    };
    Ok(Chain { layout, parts, untouched })
}

/// Computes parts together; their counts.
pub(super) fn compute(links: &[Link<'_>], places: &mut [Place<'_>], shape: &[usize]) -> Result<Vec<Counts>, Fault> {
    let mut outputs: Vec<Output<'_>> = Vec::with_capacity(places.len());
    for place in places.iter_mut() {
        outputs.push(place.numbers()?.reborrow());
    }
    let Chain { layout, parts, untouched } = parts(links, shape)?;
    if untouched {
        return Ok(vec![Counts::default(); links.len()]);
    }
    Ok(kernels::chain(layout, &parts, &mut outputs)?)
}

/// How many operands an operator reads; of others it only needs the shape.
fn operands(op: &Op) -> usize {
    if let Op::RunningVariance(_) = op { 2 } else { usize::MAX }
}

fn operand<'t>(operands: &Operands<'t>, i: usize, shape: &[usize]) -> Result<kernels::Operand<'t>, Fault> {
    let (operand, own) = operands.get(i)?;
    Ok(match operand {
        Operand::Part(part) => kernels::Operand::Part(part),
        Operand::Output(output) => kernels::Operand::Output(output),
        // Where results are single numbers too, formulas still take scalars of the step, which are FP32, as such.
        Operand::Numbers(x) if own == shape && (!own.is_empty() || x.numbers().is_none()) => {
            kernels::Operand::Elements(x)
        }
        Operand::Numbers(_) if own.is_empty() => kernels::Operand::Scalar(operands.scalar(i)?),
        Operand::Numbers(x) => kernels::Operand::Channel(x),
        Operand::Indices(_) | Operand::Labels(_) => {
            return Err(Fault::Operands(format!("operand {i} must hold numbers")));
        }
    })
}
