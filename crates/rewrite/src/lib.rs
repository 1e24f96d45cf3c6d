//! Replaces operators of a training graph by equal ones that need less memory under an assignment.
//!
//! Node ids stay what they are; what nothing reads any more stays as a dead node. Every rule gives the same bits:
//!
//! - The gradient of a rectifier or of clipping reads the output in place of the input, where both have one format and
//!   the bounds are numbers of it: then the same elements are at a bound.
//! - A sum of gradients that were laid into zeros side by side, as those of a split are, is their concatenation. (A
//!   negative zero stays one.)
//!
//! [`derive`] gives every step copies of its own of what is stored nowhere, [`recompute`] the backward pass copies of tensors that
//! the forward pass need not keep.
//!
//! This crate knows nothing of schedules and devices.
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::Graph;
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = relu(%0) : f32[N,4] output
//!   %2 = relu_grad(%1, %0) : f32[N,4] gradient of %0
//!   return "dx" = %2
//! }"#.parse()?;
//! let (graph, _) = bitbudget_rewrite::rewrite(&graph, &[Format::FP32; 3])?;
//! assert!(graph.to_string().contains("relu_grad(%1, %1)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derive;
mod outputs;
mod recompute;
mod splits;
mod writing;

use bitbudget_formats::Format;
use bitbudget_ir::{Graph, GraphError};

pub use derive::derive;
pub use recompute::recompute;
pub use writing::{Copied, Origin};

/// The graph with all rules applied where they hold, and the formats of its tensors.
///
/// # Errors
/// If a rule made a graph that is not well formed, which would be a fault of the rule.
pub fn rewrite(graph: &Graph, formats: &[Format]) -> Result<(Graph, Vec<Format>), GraphError> {
    let (mut graph, mut formats) = (graph.clone(), formats.to_vec());
    outputs::apply(&mut graph, &formats)?;
    splits::apply(&mut graph, &mut formats)?;
    Ok((graph, formats))
}
