//! Prints the graph of an ONNX file: `cargo run -p bitbudget-onnx --example import -- model.onnx`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let imported = bitbudget_onnx::import(path.as_ref())?;
        imported.warnings.iter().for_each(|warning| eprintln!("{warning}"));
        println!("{}", imported.model.graph);
    }
    Ok(())
}
