//! The page of a report.

use crate::{Report, shell};

const BODY: &str = include_str!("../assets/report.html");
const SCRIPTS: [&str; 6] = [
    include_str!("../assets/memory.js"),
    include_str!("../assets/graph.js"),
    include_str!("../assets/curve.js"),
    include_str!("../assets/answers.js"),
    include_str!("../assets/tensors.js"),
    include_str!("../assets/report.js"),
];

/// The page of a report, in one file.
///
/// # Errors
/// If the report cannot be written as JSON.
pub fn page(report: &Report) -> serde_json::Result<String> {
    shell(&format!("{}: memory and precision", report.network), report, BODY, &SCRIPTS)
}
