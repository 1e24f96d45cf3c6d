//! Import never panics, whatever the bytes; what it accepts is a sound graph that can be written and read again.
//!
//! `cargo +nightly fuzz run import_bytes fuzz/corpus/import_bytes tests/data tests/data/control -- -rss_limit_mb=6000` from `crates/onnx`;
//! `tests/data/control` holds functions, If, Loop, Scan, indices and quantised pairs. A few bytes can ask for a made weight of 1 GiB, hence the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(imported) = bitbudget_onnx::import_bytes(bytes, None) else { return };
    let graph = &imported.model.graph;
    assert_eq!(bitbudget_ir::verify(graph), Ok(()));
    assert_eq!(graph.to_string().parse::<bitbudget_ir::Graph>().map(|g| g.to_string()), Ok(graph.to_string()));
    if let Ok(written) = bitbudget_onnx::export_bytes(&imported.model) {
        // It may have other constants: what is written in steps of 1, or computed at import, is folded.
        bitbudget_onnx::import_bytes(&written, None).expect("an exported graph is read again");
    }
});
