//! Chooses the format in which each tensor of a training graph is stored: tensor groups, baselines, demotion.
//!
//! The method is that of Lee, Sharma and Aiken, "Training with Mixed-Precision Floating-Point Assignments", TMLR 2023
//! ("the paper"). An operator has up to four kinds of tensors: parameters P, output Y, and their gradients GP and GY. Each
//! tensor gets a level, high or low; level and kind determine its format. This crate knows nothing about memory plans,
//! training, devices or files.
//!
//! ```
//! use bitbudget_autodiff::{Optimizer, training};
//! use bitbudget_precision::{Formats, Method, assign};
//! use bitbudget_zoo::{Network, Spec, build};
//!
//! let spec = Spec { network: Network::SqueezeNet, width: 0.25, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
//! let graph = training(&build(&spec)?.graph, &Optimizer::sgd())?;
//! let assignment = assign(&graph, 128, Method::Demote, 0.5, 0, Formats::PAPER)?;
//! assert!(assignment.low_ratio_elements() >= 0.5);
//! assert_eq!(assignment.formats.len(), graph.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Requirements on a training graph
//!
//! - Operators in the paper's sense are the inputs and those forward operators (role [`Role::Output`]) that do more than
//!   relabel.
//! - Parameters are the rounded copies (role [`Role::Parameter`]) that operators read, directly or relabelled.
//! - A gradient's role names the tensor it belongs to.
//!
//! [`Role::Output`]: bitbudget_ir::Role::Output
//! [`Role::Parameter`]: bitbudget_ir::Role::Parameter

mod assign;
mod demote;
mod groups;
mod kind;
mod method;
mod operators;
mod pins;
pub mod summary;
mod tensors;

pub use assign::{AssignError, Assignment, Setting, assign, assign_with};
pub use groups::{Group, groups};
pub use kind::Kind;
pub use method::{Method, ParseMethodError, Uses};
pub use pins::{Pin, PinError, PinFormats, Pinned, may_have, pins_of};
pub use tensors::{Formats, Level, Tensor, node_names, stays_exact, tensors};
