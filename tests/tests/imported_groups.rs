//! Networks that PyTorch exported have the groups, sizes and demotions of the same networks built here.
#![allow(clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget::{Compiled, Options, compile};
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_precision::summary::summary;
use bitbudget_tests::shared;
use bitbudget_zoo::{Network, Spec, build};

fn compiled(model: Model, method: Method, low_ratio: f64) -> Compiled {
    compile(model, &Options { method, low_ratio, ..Options::default() }).unwrap_or_else(|e| panic!("{e}"))
}

fn check(file: &str, network: Network, width: f64) {
    let Some(path) = shared(&format!("onnx/{file}.onnx")) else { return };
    let cases = [
        (Method::Demote, 0.3),
        (Method::Demote, 0.5),
        (Method::DemoteSmallest, 0.7),
        (Method::Operator, 0.0),
        (Method::Amp, 0.0),
        (Method::UniformLow, 0.0),
    ];
    for (method, low_ratio) in cases {
        let imported = bitbudget_onnx::import(&path).unwrap_or_else(|e| panic!("{e}")).model;
        let spec = Spec { network, width, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        let built = build(&spec).unwrap_or_else(|e| panic!("{e}"));
        let (imported, built) = (compiled(imported, method, low_ratio), compiled(built, method, low_ratio));
        let record = |c: &Compiled| {
            let summary = summary(&c.assignment, &c.training);
            let groups: Vec<_> = summary
                .groups
                .iter()
                .map(|g| (g.id, g.elements, g.level, g.operators.len(), g.parameters_of.len()))
                .collect();
            (groups, summary.demoted, summary.bits_total, summary.elements)
        };
        assert_eq!(record(&imported), record(&built), "{file} {method} {low_ratio}");
    }
}

#[test]
fn squeezenet_from_the_torchscript_exporter() {
    check("sqz_wm0.25_legacy", Network::SqueezeNet, 0.25);
}

#[test]
fn squeezenet_from_the_dynamo_exporter() {
    check("sqz_wm0.25_dynamoraw", Network::SqueezeNet, 0.25);
}

#[test]
fn resnet_from_the_torchscript_exporter() {
    check("res18_wm0.1_legacy", Network::ResNet18, 0.1);
}
