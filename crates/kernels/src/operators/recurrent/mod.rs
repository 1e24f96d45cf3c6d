//! Recurrent layers: LSTM, GRU and RNN, step by step.
//!
//! The products with weights are those of `matmul`, of all examples of a step, or of several steps where the input alone
//! decides; what lies between them goes example by example. Neither depends on the number of threads.

mod activation;
mod backward;
mod cells;
mod forward;
mod geometry;
mod layer;

pub use activation::Activation;
pub use backward::{recurrent_grad, recurrent_grad_workspace};
pub use forward::{recurrent, recurrent_workspace};
pub use geometry::{Recurrent, RecurrentCell, RecurrentGradient, RecurrentOperands, recurrent_scratch};
