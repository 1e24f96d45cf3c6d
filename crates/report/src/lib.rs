//! Makes pages that people look at, from plain data; knows no graphs and no compiler.
//!
//! A page is one file without anything that has to be loaded. It holds its data once, as JSON, and its scripts make everything
//! from that, so that its numbers are those of the JSON. [`page`] makes that of a [`Report`]; [`shell`] is the frame for others.
//!
//! ```
//! let page = bitbudget_report::shell("Two numbers", &[1, 2], "<main id=\"sum\"></main>\n", &[
//!     "byId(\"sum\").textContent = data[0] + data[1];\n",
//! ])?;
//! assert!(page.starts_with("<!doctype html>") && page.contains("[1,2]</script>"));
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod comparison;
mod data;
mod page;
mod shell;
mod text;

pub use data::{
    Choice, Curve, Demoted, Epoch, File, Group, Instruction, Life, Memory, Metric, Node, Overflow, Point, Promotion,
    Report, Rerun, Solver, Storage, Tensor, Training, USES, Verdict,
};
pub use page::page;
pub use shell::shell;
pub use text::{Rounding, amounts, bytes, counted, grouped, number, percent, percents, small};
