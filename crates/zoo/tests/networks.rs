//! Every network at every width: verified, of the published size, and the same for the same seed.

use bitbudget_ir::{DType, Model, Op, verify};
use bitbudget_zoo::{Network, Spec, Takes, WIDTHS, build};

fn spec(network: Network, width: f64, input: [usize; 3]) -> Spec {
    Spec { network, width, classes: 10, input, seed: 1, ..Spec::default() }
}

fn trained(model: &Model) -> Vec<(&str, usize)> {
    let graph = &model.graph;
    let sources = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_)));
    sources.map(|id| (graph.node(id).name.as_str(), graph.ty(id).shape.elements(1))).collect()
}

#[test]
fn parameter_counts_are_those_of_the_same_networks_in_pytorch() {
    let rows = [
        (Network::SqueezeNet, 0.25, 84_778),
        (Network::SqueezeNet, 1.0, 734_986),
        (Network::ShuffleNetV2, 0.1, 74_302),
        (Network::ShuffleNetV2, 0.25, 180_222),
        (Network::ShuffleNetV2, 0.5, 433_034),
        (Network::ShuffleNetV2, 1.0, 1_263_854),
        (Network::MobileNetV2, 0.1, 89_226),
        (Network::MobileNetV2, 0.25, 254_050),
        (Network::MobileNetV2, 0.5, 715_834),
        (Network::MobileNetV2, 1.0, 2_296_922),
        (Network::ResNet18, 0.1, 112_778),
        (Network::ResNet18, 0.25, 701_466),
        (Network::ResNet18, 0.5, 2_797_610),
        (Network::ResNet18, 1.0, 11_173_962),
    ];
    let count = |spec: &Spec| trained(&build(spec).unwrap()).iter().map(|(_, elements)| elements).sum::<usize>();
    for (network, width, expected) in rows {
        assert_eq!(count(&spec(network, width, [3, 32, 32])), expected, "{network} {width}");
    }
    // torchvision's resnet50 and convnext_tiny, timm's vit_small_patch16_224, transformers' GPT2LMHeadModel of 1024 positions and
    // BertForSequenceClassification of 512 positions and two classes (transformers counts one embedding of types more).
    for (spec, expected) in [
        (Spec { classes: 1000, ..Spec::of(Network::ResNet50) }, 25_557_032),
        (Spec { classes: 1000, ..Spec::of(Network::ConvNext) }, 28_589_128),
        (Spec { classes: 1000, ..Spec::of(Network::Vit) }, 22_050_664),
        (Spec { sequence: 1024, ..Spec::of(Network::Gpt) }, 124_439_808),
        (Spec { sequence: 512, classes: 2, ..Spec::of(Network::Bert) }, 109_483_778),
        // nn.Embedding(10000, 650), nn.LSTM(650, 650, 2) and nn.Linear(650, 10) of PyTorch.
        (Spec::of(Network::Lstm), 13_276_910),
    ] {
        assert_eq!(count(&spec), expected, "{}", spec.network);
    }
}

#[test]
fn width_depth_and_sequence_are_options() {
    for network in Network::ALL.into_iter().filter(|network| !Network::OF_PAPER.contains(network)) {
        let input = match network.takes() {
            Takes::Images(_) => [3, 64, 64],
            Takes::Tokens(_) => [0; 3],
        };
        let depth = network.depth().map(|_| 2);
        let of = |width| Spec { width, depth, input, sequence: 12, vocabulary: 50, ..Spec::of(network) };
        for width in [0.05, 0.3, 1.5] {
            let model = build(&of(width)).unwrap();
            verify(&model.graph).unwrap_or_else(|faults| panic!("{network} {width}: {faults:?}"));
            let logits = model.graph.output("logits").unwrap();
            let expected = match network {
                Network::Gpt => "f32[N,12,50]",
                Network::Unet => "f32[N,10,64,64]",
                _ => "f32[N,10]",
            };
            assert_eq!(model.graph.ty(logits).to_string(), expected);
            assert!(model.graph.live().iter().all(|&live| live), "{network}: a node is not needed");
        }
        let parameters = |spec: &Spec| build(spec).unwrap().values.values().map(Vec::len).sum::<usize>();
        assert!(parameters(&of(0.3)) < parameters(&of(1.5)), "{network}");
        if depth.is_some() {
            assert!(parameters(&of(0.3)) < parameters(&Spec { depth: Some(3), ..of(0.3) }), "{network}");
        }
        assert!(build(&of(5.0)).unwrap_err().to_string().contains("choose 0.05 to 4.0"));
        assert!(build(&Spec { depth: Some(0), ..of(1.0) }).is_err());
    }
}

#[test]
fn every_network_of_the_paper_is_valid_at_every_width_and_input_size() {
    for network in Network::OF_PAPER {
        for width in WIDTHS {
            for input in [[3, 32, 32], [1, 28, 28], [3, 64, 64], [3, 8, 8], [2, 40, 24]] {
                let model = build(&spec(network, width, input)).unwrap();
                verify(&model.graph).unwrap_or_else(|faults| panic!("{network} {width} {input:?}: {faults:?}"));
                let logits = model.graph.output("logits").unwrap();
                assert_eq!(model.graph.ty(logits).to_string(), "f32[N,10]");
                assert!(model.graph.live().iter().all(|&live| live), "{network}: a node is not needed");
            }
        }
    }
}

#[test]
fn every_parameter_and_state_has_a_value_of_its_size() {
    for network in Network::ALL {
        let model = build(&Spec { width: 0.25, ..Spec::of(network) }).unwrap();
        let graph = &model.graph;
        let mut expected = Vec::new();
        for id in graph.ids() {
            if let Op::Parameter(_) | Op::State(_) | Op::Constant(_) = graph.op(id) {
                let name = &graph.node(id).name;
                assert_eq!(graph.ty(id).dtype, DType::F32);
                assert_eq!(model.values[name].len(), graph.ty(id).shape.elements(1), "{network} {name}");
                expected.push(name.clone());
            }
        }
        expected.sort();
        assert!(model.values.keys().eq(&expected), "{network}: a value belongs to no source");
    }
}

#[test]
fn the_seed_decides_the_weights() {
    for network in Network::OF_PAPER {
        let one = build(&spec(network, 0.1, [3, 32, 32])).unwrap();
        let again = build(&spec(network, 0.1, [3, 32, 32])).unwrap();
        let other = build(&Spec { seed: 2, ..spec(network, 0.1, [3, 32, 32]) }).unwrap();
        assert_eq!(one.values, again.values);
        assert_eq!(one.graph.to_string(), again.graph.to_string());
        assert_ne!(one.values["conv1.weight"], other.values["conv1.weight"]);
        assert_eq!(one.graph.to_string(), other.graph.to_string());
    }
}

fn deviation(values: &[f32]) -> f64 {
    let mean_square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
    mean_square.sqrt()
}

/// The mean of `n` draws is within five of its own standard deviations (kurtosis 3 or less) of the expected one.
fn assert_deviation(values: &[f32], expected: f64, what: &str) {
    let off = (deviation(values) / expected - 1.0).abs();
    assert!(off < 5.0 / (2.0 * values.len() as f64).sqrt(), "{what}: {} against {expected}", deviation(values));
}

#[test]
fn initial_weights_have_the_published_distributions() {
    let full = |network| build(&spec(network, 1.0, [3, 32, 32])).unwrap().values;
    let values = full(Network::SqueezeNet);
    assert_deviation(&values["fire9.conv3.weight"], (2.0f64 / (9.0 * 64.0)).sqrt(), "SqueezeNet, fan-in");
    let bound = 1.0 / (9.0f32 * 64.0).sqrt();
    assert!(values["fire9.conv3.bias"].iter().all(|b| b.abs() <= bound));
    assert_deviation(&values["fire9.conv3.bias"], f64::from(bound) / 3f64.sqrt(), "SqueezeNet, bias");

    let values = full(Network::ShuffleNetV2);
    let bound = 1.0 / 464f32.sqrt();
    assert!(values["conv2.weight"].iter().all(|w| w.abs() <= bound));
    assert_deviation(&values["conv2.weight"], f64::from(bound) / 3f64.sqrt(), "ShuffleNet-v2, point");
    assert_deviation(&values["layer3.1.conv2.weight"], 1.0 / 27f64.sqrt(), "ShuffleNet-v2, depthwise");

    let values = full(Network::MobileNetV2);
    assert_deviation(&values["conv2.weight"], (2.0f64 / 1280.0).sqrt(), "MobileNet-v2, point");
    assert_deviation(&values["layers.16.conv2.weight"], (2.0f64 / (9.0 * 960.0)).sqrt(), "MobileNet-v2, depthwise");
    assert_deviation(&values["linear.weight"], 0.01, "MobileNet-v2, linear");
    assert!(values["linear.bias"].iter().all(|&b| b == 0.0));

    let values = full(Network::ResNet18);
    assert_deviation(&values["layer4.1.conv2.weight"], (2.0f64 / (9.0 * 512.0)).sqrt(), "ResNet-18");
    assert_deviation(&values["linear.weight"], 1.0 / (3.0f64 * 512.0).sqrt(), "ResNet-18, linear");
    assert!(values["bn1.weight"].iter().all(|&s| s == 1.0) && values["bn1.bias"].iter().all(|&b| b == 0.0));
    assert!(values["bn1.running_var"].iter().all(|&v| v == 1.0));
    assert!(values["bn1.running_mean"].iter().all(|&m| m == 0.0));
}

#[test]
fn names_read_back() {
    for network in Network::ALL {
        assert_eq!(network.to_string().parse(), Ok(network));
        assert_eq!(network.to_string().to_uppercase().parse(), Ok(network));
    }
    for (short, network) in std::iter::zip(["sqz", "shfv2", "mblv2", "res18"], Network::OF_PAPER) {
        assert_eq!(short.parse(), Ok(network));
    }
    let error = "resnet-51".parse::<Network>().unwrap_err().to_string();
    assert!(error.contains("resnet-51") && Network::ALL.iter().all(|n| error.contains(&n.to_string())), "{error}");
}

#[test]
fn errors_name_everything_that_is_wrong() {
    let wrong =
        Spec { network: Network::SqueezeNet, width: 0.3, classes: 0, input: [0, 7, 32], seed: 0, ..Spec::default() };
    assert_eq!(
        build(&wrong).unwrap_err().to_string(),
        "cannot build squeezenet: there is no width 0.3; choose 1.0, 0.5, 0.25 or 0.1; 0 classes; choose 1 to 1000000; \
         0 input channels; choose 1 to 1024; an input of 7x32; its smallest input is 8x8, its largest 16384x16384"
    );
    for extreme in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(build(&Spec { width: extreme, ..spec(Network::ResNet18, 1.0, [3, 32, 32]) }).is_err());
    }
    let huge = [usize::MAX; 3];
    assert!(build(&Spec { classes: usize::MAX, ..spec(Network::MobileNetV2, 1.0, huge) }).is_err());
}
