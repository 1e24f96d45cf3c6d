//! Writes the CUDA C of a program's kernels, and says what running them asks of a driver; no device.
//!
//! Kernels are C that nvcc, NVRTC and the host's compiler take alike. What they use of the machine are the functions of `machine.h`, each with
//! a body for the device and one for the emulator. Formats and functions are constants of a kernel, sizes are arguments, so that the kernels of
//! a network are few.
//!
//! ```
//! use bitbudget_cuda::{Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Elements};
//! use bitbudget_formats::{Format, Overflow};
//! use bitbudget_ir::Expression;
//!
//! let square = Expression::Mul(Box::new([Expression::Operand(0), Expression::Operand(0)]));
//! let chain = Chain {
//!     inputs: vec![ChainInput { elements: Elements::Fp32, read: ChainRead::Each }],
//!     parts: vec![ChainPart {
//!         expression: square,
//!         operands: vec![ChainOperand::Input(0)],
//!         rounding: Some((Format::BF16, Overflow::Saturate, false)),
//!         stored: Some(Elements::Codes(Format::BF16)),
//!     }],
//! };
//! assert!(chain.kernel("squares").text.contains("(v0 * v0)"));
//! ```

mod chain;
mod columns;
mod conv_sizes;
mod depthwise;
mod driver;
mod effort;
mod elements;
mod emit;
mod epilogue;
mod expression;
mod factors;
mod finite;
mod index;
mod moves;
mod parts;
mod pass;
mod pools;
mod precision;
mod product;
mod recurrent;
mod row_function;
mod rows;
mod side;
mod source;
mod together;
mod words;

pub use chain::{Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Divisor, Rounding};
pub use columns::{ColumnSizes, Columns};
pub use conv_sizes::ConvSizes;
pub use depthwise::{Depthwise, DepthwiseSizes};
pub use driver::{Driver, DriverError, Recording};
pub use effort::Effort;
pub use elements::Elements;
pub use emit::{Addresses, EmitError, Emitted, Launch, emit};
pub use epilogue::Epilogue;
pub use factors::Factors;
pub use finite::Finite;
pub use index::{IndexSizes, Indexed, Largest};
pub use moves::{Move, MoveAxis, Moved, Way, moved};
pub use parts::{PartSizes, Parts, Statistic};
pub use pass::Pass;
pub use pools::{Pool, PoolSizes, Pooling};
pub use precision::Precision;
pub use product::Product;
pub use recurrent::{RecurrentLayer, RecurrentSizes};
pub use row_function::{RowFunction, RowNumber};
pub use rows::{Reach, RowSizes, Rows};
pub use side::{Matrix, Side};
pub use source::{Argument, HEADERS, Kernel, file, packed, whole_file};
pub use together::together;
