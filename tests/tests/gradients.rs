//! Results and gradients of operators beside PyTorch's, by the models of `gradients/cases`, which `gradients/cases.py` writes.
//! `gradients/README.md` has the table; `BITBUDGET_BLESS=1` writes it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_autodiff::gradients;
use bitbudget_ir::ops::Constant;
use bitbudget_ir::{Bindings, NodeId, Op, interpret};
use bitbudget_onnx::import_stated;
use bitbudget_tests::{Arrays, arrays};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The largest distance that is allowed, of the expected norm. Constants such as a scale are FP32 numbers in files.
const TOLERANCE: f64 = 1e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gradients")
}

/// The distance of numbers from what is expected, as a part of its norm.
fn distance(found: &[f64], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut found.iter().zip(expected).map(|(a, &b)| a - f64::from(b)));
    let size = norm(&mut expected.iter().map(|&b| f64::from(b)));
    if size == 0.0 { off } else { off / size }
}

/// The distances of the result, and of the gradient of each source.
fn distances(name: &str, arrays: &Arrays) -> Vec<(String, f64)> {
    let bytes = std::fs::read(folder().join("cases").join(format!("{name}.onnx"))).unwrap();
    let model = import_stated(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")).model;
    let mut graph = model.graph;
    let y = graph.outputs()[0].1;
    let source = |name: &str| graph.ids().find(|&id| graph.op(id).source_name() == Some(name));
    let wanted: Vec<&str> = arrays.keys().filter_map(|key| key.strip_prefix("d ")).collect();
    let sources: Vec<(&str, NodeId)> = wanted.iter().filter_map(|&key| Some((key, source(key)?))).collect();
    assert_eq!(sources.len(), wanted.len(), "{name}: {wanted:?}\n{graph}");
    let targets: Vec<NodeId> = sources.iter().map(|&(_, id)| id).collect();
    let dy = graph.source(Constant { name: "dy".into() }, graph.ty(y).clone());
    let found = gradients(&mut graph, y, dy, &targets).unwrap_or_else(|e| panic!("{name}: {e}"));
    let widened = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let mut values: BTreeMap<String, Vec<f64>> = model.values.iter().map(|(n, v)| (n.clone(), widened(v))).collect();
    for key in ["x", "dy"] {
        values.insert(key.into(), widened(&arrays[key].1));
    }
    let results = interpret(&graph, &Bindings { batch: 1, values }).unwrap();
    let result = &results[y.index()];
    assert_eq!(result.shape, arrays["y"].0, "{name}");
    let mut all = vec![("y".to_string(), distance(&result.data, &arrays["y"].1))];
    for ((key, _), gradient) in sources.into_iter().zip(found) {
        let expected = &arrays[&format!("d {key}")].1;
        let zeros = vec![0.0; expected.len()];
        let gradient = gradient.map_or(zeros, |id| results[id.index()].data.clone());
        all.push((format!("d {key}"), distance(&gradient, expected)));
    }
    // Only what computes is of interest.
    assert!(graph.ids().any(|id| !matches!(graph.op(id), Op::Constant(_))));
    all
}

/// A distance as people read it: what it is at most.
fn bound(distance: f64) -> &'static str {
    [(1e-6, "1e-6"), (1e-5, "1e-5"), (1e-4, "1e-4"), (1e-3, "1e-3")]
        .into_iter()
        .find(|&(most, _)| distance <= most)
        .map_or("more", |(_, text)| text)
}

#[test]
fn results_and_gradients_are_those_of_pytorch() {
    let (mut table, mut faults) =
        (String::from("| operators | case | at most | of |\n|---|---|---|---|\n"), Vec::new());
    let files = std::fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|e| e == "onnx"));
    let names: BTreeSet<String> = models.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for name in names {
        let arrays = arrays(&folder().join("cases").join(format!("{name}.npz"))).unwrap();
        let all = distances(&name, &arrays);
        let worst = all.iter().map(|(_, distance)| *distance).fold(0.0, f64::max);
        let far = all.iter().filter(|(_, distance)| *distance > TOLERANCE || distance.is_nan());
        faults.extend(far.map(|(what, distance)| format!("{name}: {what} is off by {distance:.1e}")));
        let mut parts = name.splitn(3, '-').skip(1);
        let (family, case) = (parts.next().unwrap(), parts.next().unwrap());
        let of: Vec<String> = all.into_iter().map(|(what, _)| format!("`{what}`")).collect();
        writeln!(table, "| {family} | {case} | {} | {} |", bound(worst), of.join(", ")).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let path = folder().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{before}<!-- table -->\n{table}<!-- end -->{after}");
    if std::env::var_os("BITBUDGET_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert_eq!(text, expected, "the table is old: run this test with BITBUDGET_BLESS=1");
    }
}
