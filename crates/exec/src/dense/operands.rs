//! Operands of dense operations, and vectors over their channels.

use crate::error::Fault;
use candle_core::Tensor;

/// The operand at a position.
pub(super) fn operand<'t>(operands: &[&'t Tensor], i: usize) -> Result<&'t Tensor, Fault> {
    operands.get(i).copied().ok_or_else(|| Fault::Operands(format!("operand {i} is missing")))
}

/// Elements per channel of `[N, C, …]`.
pub(super) fn per_channel(x: &Tensor) -> usize {
    x.elem_count() / x.dims().get(1).copied().unwrap_or(1).max(1)
}

/// A vector with one element per channel, shaped to broadcast against `[N, C, …]`.
pub(super) fn along_channels(vector: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    let mut along = vec![1; shape.len()];
    if let Some(channels) = along.get_mut(1) {
        *channels = vector.elem_count();
    }
    Ok(vector.reshape(along)?)
}
