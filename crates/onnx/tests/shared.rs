//! The exports that the oracle files were made with, where they are at hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitbudget_ir::{Graph, Op, verify};
use std::path::{Path, PathBuf};

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/onnx").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.ids().filter(|&id| graph.op(id).name() == name).count()
}

/// The text without the names for people.
fn anonymous(graph: &Graph) -> String {
    let cut = |line: &str| line.rsplit_once(" \"").filter(|_| line.ends_with('"')).map_or(line, |(l, _)| l).to_string();
    graph.whole_text().lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn squeezenet_keeps_its_batch_normalisation() {
    let mut texts = Vec::new();
    for name in ["sqz_wm0.25_legacy.onnx", "sqz_wm0.25_dynamoraw.onnx"] {
        let Some(path) = shared(name) else { continue };
        let imported = bitbudget_onnx::import(&path).unwrap();
        assert_eq!(imported.warnings, []);
        let graph = &imported.model.graph;
        assert_eq!(verify(graph), Ok(()));
        let counts =
            ["conv", "batch_normalize", "relu", "max_pool", "concat", "parameter", "state"].map(|n| count(graph, n));
        assert_eq!(counts, [26, 25, 17, 3, 8, 2 * 26 + 2 * 25, 2 * 25]);
        assert_eq!(graph.updates().len(), 50);
        assert_eq!(imported.model.values.len(), 152);
        let (name, logits) = &graph.outputs()[0];
        assert_eq!((name.as_str(), graph.ty(*logits).to_string().as_str()), ("logits", "f32[N,10]"));
        texts.push(anonymous(graph));
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "both exporters give one graph");
}

#[test]
fn squeezenet_with_folded_batch_normalisation_is_imported_with_a_warning() {
    let Some(path) = shared("sqz_wm0.25_dynamo.onnx") else { return };
    let imported = bitbudget_onnx::import(&path).unwrap();
    assert_eq!(verify(&imported.model.graph), Ok(()));
    assert_eq!(count(&imported.model.graph, "conv"), 26);
    assert_eq!(imported.warnings.len(), 1);
    assert!(imported.warnings[0].to_string().contains("TrainingMode.TRAINING"), "{}", imported.warnings[0]);
}

#[test]
fn resnet_has_its_shortcuts_and_its_linear_layer() {
    let Some(path) = shared("res18_wm0.1_legacy.onnx") else { return };
    let imported = bitbudget_onnx::import(&path).unwrap();
    let graph = &imported.model.graph;
    assert_eq!(verify(graph), Ok(()));
    let counts = ["conv", "batch_normalize", "relu", "add", "average_pool", "matmul"].map(|n| count(graph, n));
    assert_eq!(counts, [20, 20, 17, 8, 1, 1]);
    let linear = graph.ids().find(|&id| matches!(graph.op(id), Op::Matmul(_))).unwrap();
    assert_eq!(graph.operands(linear).len(), 3);
}

#[test]
fn a_round_trip_gives_the_same_text_and_the_same_weights() {
    for name in
        ["sqz_wm0.25_legacy.onnx", "sqz_wm0.25_dynamo.onnx", "sqz_wm0.25_dynamoraw.onnx", "res18_wm0.1_legacy.onnx"]
    {
        let Some(path) = shared(name) else { continue };
        let model = bitbudget_onnx::import(&path).unwrap().model;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("again.onnx");
        std::fs::write(&file, bitbudget_onnx::export_bytes(&model).unwrap()).unwrap();
        let again = bitbudget_onnx::import(&file).unwrap().model;
        assert_eq!(anonymous(&again.graph), anonymous(&model.graph));
        assert_eq!(again.values, model.values);
    }
}
