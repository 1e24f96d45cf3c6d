//! Everything around a training step: learning rate, loss scale, promotion, metrics and checkpoints.
//!
//! It knows nothing about graphs, formats or devices; a tensor is a name, a shape
//! and its values.

pub mod checkpoint;
mod error;
pub mod learning_rate;
pub mod loss_scale;
pub mod metrics;
pub mod promotion;

pub use error::{Error, ErrorKind, Result};
