//! Everything around a training step: data and batches, learning rate, loss scale, promotion, metrics and checkpoints.
//!
//! [`run::train`] and [`evaluation::evaluate`] drive compiled programs. This crate knows nothing about graphs or how formats are
//! chosen: a batch is a set of named arrays, and a tensor is a name, a shape and its values. A program with data of its own gives any
//! iterator over batches to an evaluation, and implements [`examples::Examples`] to train.
//!
//! ```
//! use bitbudget_train::batches::{Batch, TrainBatches, TrainOptions};
//! use bitbudget_train::data::{self, Fitting, Network};
//!
//! let network = Network { input: "x".into(), shape: vec![3, 32, 32], labels: "labels".into(), classes: 10 };
//! let digits = data::load(&"digits".parse()?, &network, 0, None)?;
//! let digits = data::fit(digits, &network, Fitting::default())?;
//! assert_eq!(digits.shape, [3, 32, 32]);
//!
//! let options = TrainOptions { batch: 64, seed: 1, shuffle: true, augment: true };
//! let mut batches = TrainBatches::new(&digits, &options, 0)?;
//! let mut batch = Batch::default();
//! while batches.next_into(&mut batch) {
//!     assert_eq!(batch.arrays["x"].shape, [64, 3, 32, 32]);
//! }
//! # Ok::<(), bitbudget_train::Error>(())
//! ```

pub mod batches;
pub mod checkpoint;
pub mod data;
pub mod divergence;
mod error;
pub mod evaluation;
pub mod examples;
pub mod learning_rate;
pub mod loss_scale;
pub mod metrics;
pub mod promotion;
mod random;
pub mod run;
mod tally;
pub mod tensorboard;

pub use error::{Error, ErrorKind, Result};
