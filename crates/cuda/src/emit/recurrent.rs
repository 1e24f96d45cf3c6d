//! Recurrent layers.

use super::work::{EmitError, Work};
use crate::recurrent::{RecurrentLayer, RecurrentSizes};
use bitbudget_ir::Op;

/// A layer, or one of its gradients.
pub(super) fn layer(work: &mut Work<'_>, part: usize) -> Result<(), EmitError> {
    let of = &work.parts[part];
    let (op, by) = match &of.op {
        Op::Recurrent(op) => (op.clone(), None),
        Op::RecurrentGrad(op) => (op.forward(), Some(op.by)),
        _ => return Err(work.error(part, "it is no recurrent layer")),
    };
    let is_usable = |&id: &_| work.part_of(id, part).is_none() && work.order(id).is_by_rows();
    if let Some(id) = of.inputs.iter().chain([&of.output]).find(|&id| !is_usable(id)) {
        return Err(work.error(part, format!("{id} is computed in its own step, or does not lie by rows")));
    }
    let read = RecurrentLayer::operands(&op, by.is_some()).map(|position| Some(of.inputs[position?]));
    let shape = |position: usize| read[position].map_or(&[][..], |id| work.shape(id));
    let (&[steps, batch, inputs], &[.., hidden]) = (shape(0), shape(2)) else {
        return Err(work.error(part, "its input or its weights have other dimensions"));
    };
    let sizes = RecurrentSizes { steps, batch, inputs, hidden };
    let (operands, epilogue) = (read.map(|id| Some(work.elements(id?))), work.epilogue(part));
    let addresses = read.map(|id| id.map_or(0, |id| work.address(id)));
    let result = work.address(of.output);
    let layer = RecurrentLayer { op, by, operands, epilogue };
    let workspace = work.scratch(layer.workspace(&sizes));
    let counters = if epilogue.is_counted() { work.counters(&[part]) } else { 0 };
    let arguments = layer.arguments(&sizes, addresses, result, workspace, counters);
    work.launch("recurrent", &|name| layer.kernel(name), (layer.blocks(&sizes), 0), arguments);
    Ok(())
}
