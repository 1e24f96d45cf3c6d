//! The allowed choices.

use crate::network::Network;
use crate::setting::{Budget, Granularity};
use bitbudget_formats::{Format, PROMOTION_THRESHOLD};
use bitbudget_precision::{Tensor, stays_exact};
use std::collections::BTreeMap;

/// The formats in which tensors (in the order of [`bitbudget_precision::tensors`]) overflowed, so that they need wider ones.
pub type Overflowed = BTreeMap<usize, Format>;

/// The allowed choices.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    /// The formats of each tensor, in the order of [`bitbudget_precision::tensors`]; never empty.
    pub(crate) formats: Vec<Vec<Format>>,
    /// Whether tensors may be recomputed.
    pub(crate) recompute: bool,
    /// The unit that has a format of its own.
    pub(crate) granularity: Granularity,
}

/// Whether a tensor that overflowed in one format may get another instead: it holds larger numbers, and small ones as before.
///
/// As from the paper's low to its high format, range is gained, never moved or traded for mantissa bits: at an equal width, 1-4-3
/// with its bias shift ends just below 1-3-4, whose smallest number is far larger.
pub fn is_wider(format: Format, narrow: Format) -> bool {
    format.max_finite() > narrow.max_finite()
        && format.exponent_bits() >= narrow.exponent_bits()
        && format.min_normal() <= narrow.min_normal()
}

/// The formats that each tensor may have; a pinned one only what it is pinned to.
///
/// A parameter or output gets none that overflowed, or would in the profile: promotion would take it away at once.
/// Gradients are protected by the loss scale.
pub(crate) fn allowed(network: &Network<'_>, budget: &Budget, overflowed: &Overflowed) -> Vec<Vec<Format>> {
    let Network { training, tensors, pinned, .. } = *network;
    let of = |(at, tensor): (usize, &Tensor)| {
        if let Some(&format) = pinned.get(&at) {
            return vec![format];
        }
        if stays_exact(training, tensor) {
            return vec![Format::FP32];
        }
        let formats = budget.formats(tensor.kind);
        if tensor.kind.is_gradient() {
            return formats.to_vec();
        }
        let profile = budget.profile().and_then(|p| p.tensor(tensor.kind, tensor.node));
        let overflows = |format: &Format| {
            let of = profile.and_then(|tensor| tensor.formats.iter().find(|f| f.format == *format));
            of.is_some_and(|of| of.overflow >= PROMOTION_THRESHOLD)
                || overflowed.get(&at).is_some_and(|&narrow| !is_wider(*format, narrow))
        };
        let fit: Vec<Format> = formats.iter().copied().filter(|format| !overflows(format)).collect();
        let widest = || formats.iter().copied().max_by(|a, b| a.max_finite().total_cmp(&b.max_finite()));
        if fit.is_empty() { widest().into_iter().collect() } else { fit }
    };
    tensors.iter().enumerate().map(of).collect()
}
