//! Every tensor of a training step with its format and where it is stored, and the totals.
//!
//!     cargo run --release --example inspect_assignment

use bitbudget::summary::summary;
use bitbudget::zoo::{Network, Spec, build};
use bitbudget::{Options, Storing, compile, explain};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    // The paper's method: a share of all elements becomes low, the largest groups first.
    let compiled = compile(build(&spec)?, &Options { batch: 32, low_ratio: 0.5, ..Options::default() })?;
    let explained = explain(&compiled, 1)?;
    for tensor in &explained.tensors {
        let storing = match tensor.storing {
            Storing::Kept => "kept".to_string(),
            Storing::Recomputed => "recomputed".to_string(),
            Storing::InPassing => format!("computed in passing by {}", tensor.computed_by.join("; ")),
        };
        println!("{} {} {} {}: {storing}", tensor.kind, tensor.name, tensor.shape, tensor.format);
    }
    let summary = summary(&compiled.assignment, &compiled.training);
    for part in &summary.elements_by_format {
        println!("{} elements in {}", part.elements, part.format);
    }
    println!("{} elements in all, {:.4} of them low", summary.elements, summary.low_ratio.elements);
    println!("{} bytes at the peak, {} without rewriting", explained.peak, explained.plain_peak);
    Ok(())
}
