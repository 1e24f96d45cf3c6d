//! Which rules fire on networks, how often, and how long that takes: `cargo run --release --example fired -- NET.onnx ..`.

use bitbudget_autodiff::{Optimizer, training};
use bitbudget_formats::Format;
use bitbudget_ir::Graph;
use bitbudget_precision::{Formats, Method, assign};
use bitbudget_rewrite::{Limits, Rules, alternatives, extract};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let imported = bitbudget_onnx::import(std::path::Path::new(&path))?;
        let graph = training(&imported.model.graph, &Optimizer::sgd())?;
        report(&path, "FP32", &graph, &vec![Format::FP32; graph.len()])?;
        let assignment = assign(&graph, 128, Method::Demote, 0.5, 0, Formats::PAPER)?;
        report(&path, "half low", &graph, &assignment.formats)?;
    }
    Ok(())
}

fn report(path: &str, formats: &str, graph: &Graph, of: &[Format]) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let found = alternatives(&graph.stored_in(of), Rules::Reassociating, &Limits::default());
    let saturated = start.elapsed();
    let rewritten = extract(graph, &found)?;
    let extracted = start.elapsed() - saturated;
    let terms: usize = found.classes.iter().map(|class| class.terms.len()).sum();
    let (nodes, left, classes) = (graph.len(), rewritten.len(), found.classes.len());
    println!("{path}, {formats}: {nodes} nodes, {classes} classes, {terms} terms, {left} nodes left");
    println!(
        "  alternatives {saturated:.1?}, extraction {extracted:.1?}{}",
        found.note.map_or(String::new(), |n| format!(", {n}"))
    );
    found.fired.iter().filter(|(_, times)| *times > 0).for_each(|(rule, times)| println!("  {rule}: {times}"));
    Ok(())
}
