//! Reads an ONNX file into an `ir::Graph`.
//!
//! Import decomposes (batch normalisation becomes mean, variance and normalisation), folds shape arithmetic away with the
//! batch size as a symbol, and makes parameters of the initializers. This crate is the only one that knows protobuf; it
//! knows nothing about gradients, formats in bits, or devices. `docs/onnx.md` lists the operators.
//!
//! ```
//! let error = bitbudget_onnx::import_bytes(b"", None).unwrap_err();
//! assert!(error.to_string().contains("the file is empty"));
//! ```

mod constant;
mod error;
mod external;
mod folded;
mod import;
mod importer;
mod node;
mod ops;
mod order;
mod tensor;
mod wire;

pub use error::ImportError;
pub use import::{Imported, import, import_bytes};
pub use ops::{OperatorRow, operator_table};
