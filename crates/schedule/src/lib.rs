//! Orders the nodes of a graph, ends the lifetimes of its tensors, gives them places and states the peak in bytes.
//!
//! [`group`] makes steps, [`place`] finds places; what kernels need is asked between the two.
//!
//! The order is the graph's, except that rounded copies are made just before their first reader, and that a node which
//! frees more than it takes comes as early as it can. Elementwise nodes are joined to steps, inside which tensors need
//! no memory; what [`derivable`] names is computed by every step that reads it, in passing. A tensor that only shows another one (a reshape, or a cast that changes nothing) is an alias and shares its
//! storage; an elementwise result takes the place of an operand that ends with it. This crate knows nothing of devices
//! and does not choose formats.
//!
//! ```
//! use bitbudget_ir::Graph;
//! use bitbudget_schedule::{Setting, Storage, plan};
//!
//! let graph: Graph = r#"graph "g" {
//!   %0 = input {name="x"} : f32[N,4]
//!   %1 = reduce_sum(%0) {axes=[1], keep=true} : f32[N,1] output
//!   %2 = exp(%1) : f32[N,1] output
//!   %3 = relu(%2) : f32[N,1] output
//!   return "y" = %3
//! }"#.parse()?;
//! let setting = Setting { batch: 16, storage: Storage::Packed, alignment: 64 };
//! let schedule = plan(&graph, &setting);
//! assert_eq!(schedule.steps.len(), 2); // The exponential and the rectifier are one step, in the sum's place.
//! assert_eq!(schedule.arena, 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod derive;
mod fuse;
mod group;
mod lifetimes;
mod memory;
mod offsets;
mod order;
mod pack;
mod place;
mod random;
mod schedule;
mod setting;
mod tensors;
mod usage;

pub use derive::derivable;
pub use group::{group, one_by_one};
pub use memory::{Life, Memory, Use};
pub use place::{alive, inside, place, plan};
pub use schedule::{Place, Schedule, Step};
pub use setting::{Setting, Storage};
