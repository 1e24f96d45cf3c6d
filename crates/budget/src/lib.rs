//! Chooses formats and recomputation together so that a step's peak fits a budget.
//!
//! [`fit`] gets a training graph's step in FP32 as plain data ([`Fp32`]), makes an integer program of it and has it solved. Only a
//! compiler knows the true peak of a choice, so the caller gives a function that builds it (`taken` in [`Network`]); the search asks
//! that for every solution, and leaves some memory free where the peak is above the budget. This crate knows no pass, no device
//! and no file.
//!
//! ```
//! use bitbudget_autodiff::{Optimizer, training};
//! use bitbudget_budget::{Budget, Fp32, Fp32Step, Limit, Network, Taken, Where, fit};
//! use bitbudget_ir::Graph;
//! use bitbudget_precision::{Assignment, Formats, Method, Pinned, Setting, tensors};
//!
//! let forward: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,512]
//!   %1 = parameter {name="w"} : f32[4,512]
//!   %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,4] output "fc"
//!   return "y" = %2
//! }"#.parse()?;
//! let training = training(&forward, &Optimizer::sgd())?;
//! let tensors = tensors(&training, 8);
//! // Every node is a step of its own, and everything but sources is stored.
//! let computed: Vec<_> = training.ids().filter(|&id| training.op(id).source_name().is_none()).collect();
//! let place = |id| if training.op(id).source_name().is_none() { Where::Own } else { Where::Nowhere };
//! let step = Fp32Step {
//!     graph: training.clone(),
//!     computes: computed.iter().map(|&id| training.op(id).name().to_string()).collect(),
//!     places: training.ids().map(place).collect(),
//!     replaced: vec![None; training.len()],
//!     workspace: vec![0; computed.len()],
//!     workspace_least: vec![0; computed.len()],
//!     steps: computed.into_iter().map(|id| vec![id]).collect(),
//!     beside: 0, beside_least: 0, beside_least_in_form: 0, kept: 0, peak: 1 << 20, alignment: 64,
//! };
//! let fp32 = Fp32 { step, others: Vec::new(), base: 1 << 15, seconds: vec![1e-3; training.len()] };
//! // A compiler would build the step; this one adds up all tensors.
//! let bytes = |assignment: &Assignment| {
//!     let bytes = |(tensor, format): (&bitbudget_precision::Tensor, &bitbudget_formats::Format)| {
//!         tensor.elements as usize * format.bytes()
//!     };
//!     let peak = assignment.tensors.iter().zip(&assignment.chosen).map(bytes).sum();
//!     Ok(Taken { peak, kernels: 0 })
//! };
//! let pinned = Pinned::new();
//! let network = Network { training: &training, batch: 8, tensors: &tensors, pinned: &pinned, taken: &bytes };
//! let setting = Setting { method: Method::Demote, low_ratio: 0.0, seed: 0, formats: Formats::PAPER };
//! let (assignment, solved) = fit(network, &fp32, &setting, &Budget::new(Limit::Share(0.5), 1))?;
//! assert!(solved.peak <= solved.budget && !assignment.demoted.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The integer program
//!
//! Time is the steps of a schedule in which every tensor is FP32; order and steps are the same for all formats. Every
//! stored tensor has options: a format, and whether it is kept from the step that computes it to its last reader, or
//! dropped after its last reader in the forward pass and computed again just before the backward pass needs it. One
//! memory row per step says that what is alive then fits. Links say that what a recomputation reads is there: kept, or
//! recomputed before. Two neighbouring tensors of one format may share their place: a saving, linked to both formats.
//!
//! Each tensor is rounded at one cost wherever it lies, so formats are chosen per class: tensors that must have one format so that
//! the rewriting holds; with [`Granularity::Group`] all forward tensors of a group, and all its gradients.
//!
//! A rectifier's gradient has two terms, and the program chooses one for each rectifier whose input is stored and has no other reason
//! for a format. It reads the output if that has the input's format; the output then repeats the rounding of its input, so only one of
//! them costs. Or the output has a narrower format at its own cost, and the gradient reads the input, which is computed again; kept, it
//! would take the memory that a wider output takes.
//!
//! The formulation is conservative: a schedule may need less, where it joins steps or frees an operand early.

mod allowed;
mod available;
mod classes;
mod costs;
mod demote;
mod error;
mod fit;
mod harm;
mod least;
mod limit;
mod lives;
mod network;
mod others;
mod outcome;
mod program;
mod search;
mod setting;
mod statistics;
mod step;
mod variants;

pub use bitbudget_solver::{Engine, SolverError};

pub use allowed::{Overflowed, is_wider};
pub use available::{Available, MemoryError};
pub use costs::Costs;
pub use error::{BudgetError, Failure, Shortage};
pub use fit::fit;
pub use limit::{Limit, ParseLimitError};
pub use network::{Network, Taken};
pub use others::Others;
pub use outcome::{Certificate, Demoted, Solved};
pub use program::{Choices, Priced, Program};
pub use search::Search;
pub use setting::{Budget, Granularity, LARGEST_TIME_WEIGHT, LONGEST_SEARCH, Measured, ParseGranularityError};
pub use step::{Fp32, Fp32Step, Where};
