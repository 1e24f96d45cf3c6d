//! Replaces operators of a training graph by equal ones that need less memory under an assignment.
//!
//! [`alternatives`] puts the training graph into an e-graph, as operators in FP32 and roundings, and applies rules until none
//! finds anything new: equations that hold bit for bit, and by [`Rules::Reassociating`] those of real numbers too (`src/rules`;
//! `docs/write-a-rule.md` tells how to add one). It gives classes of terms that compute the same tensor, as plain data.
//! [`extract`] takes one term of each class that is needed, so that little is kept for the backward pass, and makes a graph
//! of them. [`rewrite`] does both:
//!
//! ```
//! use bitbudget_formats::Format;
//! use bitbudget_ir::{Graph, NodeId, TrainingId};
//! use bitbudget_rewrite::{Rules, rewrite};
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = exp(%0) : f32[N,4] output
//!   %2 = relu(%1) : f32[N,4] output
//!   %3 = scalar {kind="loss_scale"} : f32[]
//!   %4 = mul(%2, %3) : f32[N,4] gradient of %2
//!   %5 = relu_grad(%4, %1) : f32[N,4] gradient of %1
//!   return "dx" = %5
//! }"#.parse()?;
//!
//! // The output tells as much as the input if it is rounded to the same format, and is kept anyway.
//! let found = rewrite(&graph, Rules::Exact)?;
//! assert!(found.to_string().contains("relu_grad(%4, %2)"));
//! assert_eq!(found.origin(NodeId(5)), Some(TrainingId(5)));
//!
//! let mut narrow = graph;
//! narrow.set_format(NodeId(2), Format::PAPER_LOW_FORWARD);
//! let found = rewrite(&narrow, Rules::Exact)?;
//! assert!(found.to_string().contains("relu_grad(%4, %1)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`derive()`] gives every step copies of its own of what is stored nowhere, [`recompute`] the backward pass copies of tensors that
//! the forward pass need not keep.
//!
//! This crate knows nothing of schedules and devices.

mod alternatives;
mod classes;
mod derive;
mod egraph;
mod emit;
mod exact;
mod extract;
mod lay_out;
mod recompute;
mod rule;
mod rules;
mod term;
mod writing;

use bitbudget_ir::{Graph, GraphError};

/// Rules of a program's own: [`rule!`] makes one, [`Rules::With`] takes them.
///
/// ```
/// use bitbudget_rewrite::custom::Rule;
/// use bitbudget_rewrite::{Rules, rewrite, rule};
///
/// // relu(relu(x)) == relu(x)
/// const OWN: &[&Rule] = &[rule!("relu-of-relu": |g| Relu(_)[y]; y: Relu(_)[_x]; => y)];
///
/// let graph: bitbudget_ir::Graph = r#"graph "g" {
///   %0 = input {name="x"} : f32[N,4]
///   %1 = relu(%0) : f32[N,4] output
///   %2 = relu(%1) : f32[N,4] output
///   %3 = exp(%2) : f32[N,4] output
///   return "y" = %3
/// }"#.parse()?;
/// assert!(rewrite(&graph, Rules::With(OWN))?.to_string().contains("exp(%1)"));
/// assert!(rewrite(&graph, Rules::Exact)?.to_string().contains("exp(%2)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod custom {
    pub use crate::classes::Classes;
    pub use crate::rule;
    pub use crate::rule::{Equations, Rule};
    pub use crate::term::{Expr, Head, Term, op, round};
    pub use bitbudget_ir::Op;
    pub use egg::Id;
}

pub use alternatives::{Alternatives, Class, ClassId, Computes, Term, alternatives, alternatives_without};
pub use derive::derive;
pub use egraph::Limits;
pub use lay_out::lay_out;
pub use recompute::recompute;
pub use rules::Rules;

/// The graph with the operators that keep least, given the formats of its tensors.
///
/// # Errors
/// If a rule made a graph that is not well formed, which would be a fault of the rule.
pub fn rewrite(graph: &Graph, rules: Rules) -> Result<Graph, GraphError> {
    extract(graph, &alternatives(graph, rules, &Limits::default()))
}

/// The graph of the alternatives that cost least: bytes that are kept for the backward pass, bytes that are stored, work.
///
/// # Errors
/// If a rule made a term that is not well typed, which would be a fault of the rule.
pub fn extract(graph: &Graph, alternatives: &Alternatives) -> Result<Graph, GraphError> {
    emit::emit(graph, alternatives, &extract::select(graph, alternatives))
}
