//! Tensor types, operators, the graph, its text form, its verifier and a slow reference interpreter.
//!
//! A graph is a list of operators with one result each: *a tensor is a node*. The same graph type holds a forward
//! network, a whole training step (forward, loss, backward, update) and an evaluation step. This crate knows nothing
//! about files, devices, formats in bits, or search.
//!
//! ```
//! use bitbudget_ir::{Dim, Graph, TensorType, ops};
//!
//! let mut graph = Graph::new("tiny");
//! let x = graph.source(ops::Input { name: "x".into(), target: false }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
//! let w = graph.source(ops::Parameter { name: "w".into() }, TensorType::f32([Dim::fixed(2), Dim::fixed(3)]));
//! let y = graph.add(ops::Matmul { trans_a: false, trans_b: true }, &[x, w])?;
//! graph.set_output("y", y);
//! let text = graph.to_string();
//! assert!(text.contains("matmul(%0, %1)"));
//! assert_eq!(text.parse::<Graph>()?.to_string(), text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod array;
mod attribute;
mod dot;
mod error;
mod expression;
mod facts;
mod graph;
mod interpret;
mod layout;
mod loss;
mod names;
pub mod ops;
mod origin;
pub mod random;
mod recurrence;
mod role;
mod storage;
mod tensors;
mod text;
mod types;
mod unary_function;
mod verify;
mod window;

pub use array::{Array, Float};
pub use attribute::{Attribute, Attributes, Real};
pub use dot::Drawing;
pub use error::{GraphError, Reason};
pub use expression::Expression;
pub use facts::{Facts, Form, Numbers, Pass, Planes, Read, Reads, Run};
pub use graph::{Graph, Node};
pub use interpret::{Bindings, interpret};
pub use layout::Layout;
pub use loss::Loss;
pub use names::Names;
pub use ops::{Op, Operator, Precision, Sample, ScalarKind, Work};
pub use origin::{Origin, Stage, TrainingId};
pub use recurrence::{Activation, ActivationFunction, Activations, Cell, Direction};
pub use role::{NodeId, Role};
pub use storage::Stored;
pub use text::ParseError;
pub use types::{DType, Dim, Shape, TensorType};
pub use unary_function::UnaryFunction;
pub use verify::verify;

/// A graph with the values of its parameters, states and constants.
#[derive(Clone, Debug)]
pub struct Model {
    /// The graph.
    pub graph: Graph,
    /// FP32 values by the name of the parameter, state or constant; row-major.
    pub values: std::collections::BTreeMap<String, Vec<f32>>,
}
