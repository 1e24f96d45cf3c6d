//! Against PyTorch: the names and shapes of its parameters, and the logits that it computes with them.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget_ir::{Bindings, Model, Op, interpret};
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// All FP32 arrays of an archive whose names start with `prefix`, without the prefix; `None` if the file is absent.
fn arrays(file: &str, prefix: &str) -> Option<BTreeMap<String, Array>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/training");
    let Ok(opened) = File::open(folder.join(file)) else {
        eprintln!("skipped: {} is absent", folder.join(file).display());
        return None;
    };
    let mut archive = zip::ZipArchive::new(opened).unwrap();
    let mut found = BTreeMap::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).unwrap();
        let name = member.name().trim_end_matches(".npy").to_string();
        let Some(name) = name.strip_prefix(prefix).filter(|name| !name.ends_with("num_batches_tracked")) else {
            continue;
        };
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
        let shape = npy.shape().iter().map(|&d| d as usize).collect();
        found.insert(name.to_string(), Array { shape, values: npy.into_vec().unwrap() });
    }
    Some(found)
}

fn model(network: Network, width: f64) -> Model {
    build(&Spec { network, width, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() }).unwrap()
}

fn check(network: Network, width: f64, file: &str) {
    let Some(weights) = arrays(&format!("{file}_init.npz"), "w/") else { return };
    let model = model(network, width);
    let graph = &model.graph;
    let mut shapes = BTreeMap::new();
    for id in graph.ids() {
        if let Op::Parameter(_) | Op::State(_) = graph.op(id) {
            shapes.insert(graph.node(id).name.clone(), graph.ty(id).shape.at(1));
        }
    }
    let expected: BTreeMap<String, Vec<usize>> = weights.iter().map(|(n, a)| (n.clone(), a.shape.clone())).collect();
    assert_eq!(shapes, expected);

    let Some(images) = arrays(&format!("{file}_init.npz"), "X") else { return };
    let Some(logits) = arrays(&format!("{file}_FP32_step1.npz"), "logits") else { return };
    let batch = images[""].shape[1];
    let mut values: BTreeMap<String, Vec<f32>> = weights.into_iter().map(|(n, a)| (n, a.values)).collect();
    values.insert("input".into(), images[""].values[..batch * 3 * 32 * 32].to_vec());
    let results = interpret(graph, &Bindings { batch, values }).unwrap();
    let ours = &results[graph.output("logits").unwrap().index()].data;
    assert_eq!(ours.len(), logits[""].values.len());
    for (a, b) in std::iter::zip(ours, &logits[""].values) {
        assert!((a - b).abs() <= 2e-4 * (1.0 + b.abs()), "{a} against {b}");
    }
}

#[test]
fn squeezenet_is_that_of_pytorch() {
    check(Network::SqueezeNet, 0.25, "sqz_wm0.25");
}

#[test]
fn resnet_is_that_of_pytorch() {
    check(Network::ResNet18, 0.1, "res18_wm0.1");
}
