//! Re-exports of the crates below, by subject.

/// Graphs, operators and types: what a program needs that builds a network by hand, reads a graph or writes a rule.
pub use bitbudget_ir as ir;
/// ONNX files: from bytes to a network with warnings, and back.
pub use bitbudget_onnx as onnx;
/// The networks that are known by name.
pub use bitbudget_zoo as zoo;

// Networks.
pub use bitbudget_ir::{Graph, GraphError, Model};
pub use bitbudget_onnx::{ExportError, ImportError};

// How formats are chosen, and what an assignment comes to.
pub use bitbudget_autodiff::{Optimizer, Updates};
pub use bitbudget_formats::{Format, FormatError, ParseFormatError};
pub use bitbudget_ir::Loss;
pub use bitbudget_precision::{
    AssignError, Assignment, Formats, Kind, Method, ParseMethodError, Pin, PinFormats, Uses, summary,
};

// Rewriting rules, and what a program needs to write its own.
pub use bitbudget_rewrite::{Rules, custom as rules, rule};

// Programs and memory.
pub use bitbudget_program::{Machine, Program, Progress};
pub use bitbudget_schedule::{Memory, Storage};

// Steps: where they run, what they read, and the memory that they take.
pub use bitbudget_exec::{
    Array, Ceilings, Driver, DriverError, ExecError, Executor, Footprint, Inputs, Numbers, Target, Values, ceilings,
};

// Training: examples in batches, settings, records, and how a run ends.
pub use bitbudget_train::batches::{self, Batch, Batches, EvalBatches, TrainBatches, TrainOptions};
pub use bitbudget_train::data::{self, DataSpec, Dataset};
pub use bitbudget_train::divergence::{Divergence, Ended};
pub use bitbudget_train::evaluation::Evaluation;
pub use bitbudget_train::examples::{Epochs, Examples};
pub use bitbudget_train::learning_rate::LearningRate;
pub use bitbudget_train::loss_scale::{LossScaler, LossScaling};
pub use bitbudget_train::metrics::{self, FinalRecord, Record};
pub use bitbudget_train::run::{Length, Overflow, Settings};

// Profiles: what rounding each tensor to each format would cost.
pub use bitbudget_profile::{Profile, ProfileError, Settings as ProfileSettings, TensorProfile, fingerprint};
