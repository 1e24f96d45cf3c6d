//! Measures, over a few batches in FP32, what rounding each tensor to each format would cost.
//!
//! A [`Profile`] is plain data: range, overflow and underflow ratios, and one cost per tensor and format, so that one
//! measurement serves every memory budget. [`Profile::read`] needs no executor; [`measure`] makes one, with programs that
//! its caller compiles from the graphs of a [`Probe`]. This crate knows which tensors get formats, but nothing of how these are
//! chosen, of passes and of what is done with costs.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_precision::Kind;
//! use bitbudget_profile::{FormatProfile, TensorProfile};
//!
//! let row = FormatProfile { format: Format::BF16, overflow: 0.0, underflow: 0.0, cost: 1e-6 };
//! let tensor = TensorProfile {
//!     kind: Kind::Output, node: 3, name: "conv1".into(), elements: 4, min: -1.0, max: 2.0, mean_abs: 0.5, formats: vec![row],
//! };
//! assert_eq!(tensor.cost(Format::BF16), Some(1e-6));
//! assert_eq!(tensor.cost(Format::FP32), Some(0.0));
//! assert_eq!(tensor.cost(Format::FP16), None);
//! ```
//!
//! # The cost
//!
//! Rounding changes a tensor by `d = round(x) - x`, saturating. To first order the loss changes by a sum over its elements
//! of `e_i d_i`; what `e` is depends on the kind:
//!
//! - **P, Y.** `L(x + d) = L(x) + sum g_i d_i`, with `g` the whole gradient of the loss: `e = g`.
//! - **GY.** An error `d` in the gradient of `y` reaches the parameters `w` in front of `y` as an error `J^T d` of their
//!   gradients, with `J = dy/dw`. A step `w' = w - r (grad + J^T d)` at learning rate `r` then gives a loss that
//!   differs, to first order, by `-r <grad, J^T d> = -<r J grad, d>`. And `r J grad` is the change `y(w) - y(w - r grad)`
//!   that the step makes to `y`: exactly `r` times a tangent for small `r`. So `e = y(w) - y(w - r grad)`, up to a sign
//!   that the square does not see, and a second forward pass gives it for all tensors at once.
//! - **GP.** The same with `y = w`: `e = r grad`.
//!
//! The cost is the second moment of that change, averaged over the batches: `(sum e_i d_i)^2 + sum (e_i d_i)^2`. The first
//! term is what the errors did together; the second is the variance that they would have if they were independent with
//! zero mean, so that a sum that happens to vanish on a few batches does not look free. It has the unit of the loss squared.
//!
//! Gradients are rounded as in training: times the loss scale, each reader's contribution by itself. They saturate here,
//! unlike in training, where they become infinite and the step is skipped: their overflow ratio stands beside the cost.
//! Tensors that nothing reads for the loss and its gradient (the loss itself) cost nothing, nor do gradients that training
//! does not compute (the gradient of the network's input).
//!
//! This leaves out: second order; the joint effect of errors of several tensors; that a rounded output which is kept
//! for the backward pass changes gradients as well; and momentum. For FP32's own rounding errors `e` of an output's gradient has
//! about seven digits less those that `y(w)` and `y(w')` have in common.
//!
//! # Where it comes from
//!
//! Theirs: a product of a gradient and a change of a tensor as its importance, `|g_w w|` for connections that pruning would
//! remove (SNIP: Lee, Ajanthan and Torr, ICLR 2019). A tensor's sensitivity to compression from gradients measured on a few
//! batches, and bits chosen by it under a memory limit (GACT: Liu et al., ICML 2022, for activations kept for the
//! backward pass, by the variance that they add to the gradient). One additive cost per layer and format that an integer
//! program minimises (HAWQ-V3: Yao et al., ICML 2021, from second-order information). A tensor's second moment under
//! rounding taken as a bias and a variance term is common in the literature on quantisation.
//!
//! Ours: one scale, the loss, for all four kinds of tensors, by pricing errors of gradients by the loss after the step that
//! they change; and the second forward pass that gives `e` for all gradients without any product with a Jacobian.

mod cost;
mod error;
mod file;
mod measure;
mod probe;

pub use error::ProfileError;
pub use file::{FormatProfile, NodeSeconds, Profile, Seconds, Settings, TensorProfile, VERSION, fingerprint};
pub use measure::{Programs, measure};
pub use probe::{Probe, result};
