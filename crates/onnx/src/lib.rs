//! Reads an ONNX file into an `ir::Graph`, writes one back.
//!
//! Import decomposes (batch normalisation becomes mean, variance and normalisation), folds shape arithmetic away with the
//! batch size as a symbol, and makes parameters of the initializers. This crate is the only one that knows protobuf; it
//! knows nothing about gradients, formats in bits, or devices. `docs/onnx.md` lists the operators.
//!
//! The rooms, each of which knows only those before it:
//!
//! - `file`: bytes, external data, and tensors as they stand in a file;
//! - `inline`: functions, and the graphs within nodes;
//! - `analysis`: what a file shows as a whole: the order of its nodes, who exported it, which initializers are trained;
//! - `importer`: the graph in the making, the values of names, and what a row may do with them;
//! - `ops`: one row per operator of ONNX, and the table of all rows;
//! - `import`: the walk over the nodes, refusals, warnings;
//! - `export`: the way back.
//!
//! ```
//! use bitbudget_ir::{Dim, Graph, Model, TensorType, ops};
//!
//! let mut graph = Graph::new("tiny");
//! let x = graph.source(ops::Input { name: "x".into(), target: false }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
//! let w = graph.source(ops::Parameter { name: "w".into() }, TensorType::f32([Dim::fixed(2), Dim::fixed(3)]));
//! let y = graph.add_named(ops::Matmul { trans_a: false, trans_b: true }, &[x, w], "fc")?;
//! graph.set_onnx_type(y, "Gemm");
//! graph.set_output("y", y);
//! let model = Model { graph, values: [("w".to_string(), vec![0.5; 6])].into() };
//!
//! let bytes = bitbudget_onnx::export_bytes(&model)?;
//! let again = bitbudget_onnx::import_bytes(&bytes, None)?.model;
//! assert_eq!(again.graph.to_string(), model.graph.to_string());
//! assert_eq!(again.values, model.values);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod analysis;
mod batch;
mod dropout;
mod error;
mod export;
mod file;
mod import;
mod importer;
mod inline;
mod ops;
mod table;
mod warning;

pub use dropout::Dropout;
pub use error::{ExportError, ImportError, ImportProblem};
pub use export::{Annotations, export_annotated_bytes, export_bytes};
pub use file::beside::external_files;
pub use import::{ImportOptions, Imported, import, import_bytes, import_stated, import_with};
pub use ops::{OperatorRow, operator_table};
pub use table::operator_markdown;
pub use warning::{Warning, WarningKind};
