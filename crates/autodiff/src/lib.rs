//! Extends a forward graph with loss, backward graph and optimizer update, and derives the evaluation graph.
//!
//! Gradients are emitted operator by operator; broadcasting, accumulation and roles are handled here, once. Which
//! forward values are kept for the backward pass follows from what the emitted nodes read. This crate knows nothing of
//! formats, files or devices.
//!
//! ```
//! use bitbudget_autodiff::{Optimizer, training};
//! use bitbudget_ir::Graph;
//!
//! let forward: Graph = r#"graph "linear" {
//!   %0 = input {name="x"} : f32[N,3]
//!   %1 = parameter {name="w"} : f32[2,3]
//!   %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,2] output "fc"
//!   return "y" = %2
//! }"#.parse()?;
//! let graph = training(&forward, &Optimizer::sgd())?;
//! assert!(graph.output("loss").is_some());
//! assert_eq!(graph.updates().len(), 2); // The weight and its velocity.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cross_entropy;
mod evaluation;
mod gradients;
mod loss;
mod optimizer;
mod scores;
mod targets;
mod training;

pub use cross_entropy::class_weights;
pub use evaluation::evaluation;
pub use gradients::gradients;
pub use optimizer::{Optimizer, Updates};
pub use scores::{Closing, closing_sigmoid, closing_softmax};
pub use training::{check_batch, training, training_with};
