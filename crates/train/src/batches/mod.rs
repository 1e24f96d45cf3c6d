//! Batches of named arrays: those of a data set, with normalised examples. A compiled program has a fixed batch size, so every
//! batch is full.

mod arrays;
mod augmentation;
mod batch;
mod evaluation;
mod reader;
mod sequence;
mod training;

pub use arrays::{ArrayEpochs, array_batches};
pub use batch::{Array, Batch, Numbers};
pub use evaluation::EvalBatches;
pub use sequence::Batches;
pub use training::{TrainBatches, TrainOptions};
