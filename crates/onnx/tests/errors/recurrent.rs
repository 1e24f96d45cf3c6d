//! Recurrent layers that cannot be imported, and what their messages say.

use crate::models::{error, floats, info, int, model, node, text, with};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, ModelProto, NodeProto};

/// A layer on `x` of some dimensions, with 4 inputs and 3 hidden elements.
fn layer(dims: &[i64], node: NodeProto) -> ModelProto {
    let mut m =
        model(vec![node], vec![floats("w", &[1, 12, 4], 48), floats("r", &[1, 12, 3], 36), floats("b", &[1, 12], 12)]);
    m.graph.as_mut().unwrap().input[0] = info("x", dims);
    m
}

fn lstm() -> NodeProto {
    node("LSTM", &["x", "w", "r"], "y")
}

fn activations(names: &[&str]) -> AttributeProto {
    AttributeProto {
        name: "activations".into(),
        type_: AttributeType::STRINGS.into(),
        strings: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..Default::default()
    }
}

#[test]
fn bad_recurrent_layers_have_their_messages() {
    let steps_first: &[i64] = &[7, 0, 4];
    let cases = [
        (layer(&[0, 7, 4], lstm()), "its steps are the batch: its input is [N,7,4]"),
        (layer(steps_first, with(lstm(), int("layout", 1))), "behind the examples (layout 1)"),
        (layer(&[7, 0, 2, 4], lstm()), "its input must have three dimensions"),
        (layer(&[7, 0, 5], lstm()), "W must be [1,12,5], but is [1,12,4]"),
        (layer(steps_first, with(lstm(), text("direction", "up"))), "direction is `up`; known are forward"),
        (layer(steps_first, with(lstm(), text("direction", "bidirectional"))), "W must be [2,12,4]"),
        (layer(steps_first, with(lstm(), int("layout", 2))), "layout is 2"),
        (layer(steps_first, with(lstm(), int("hidden_size", 5))), "hidden_size is 5, but R is [1,12,3]"),
        (layer(steps_first, with(lstm(), activations(&["Tanh"]))), "it has 1 activations where 3 are needed"),
        (layer(steps_first, with(lstm(), activations(&["Tanh", "Sinh", "Tanh"]))), "activation `Sinh` is not known"),
        (layer(steps_first, node("LSTM", &["x", "w", "r", "b"], "y")), "B must be [1,24], but is [1,12]"),
        (layer(steps_first, node("GRU", &["x", "w", "r"], "y")), "W must be [1,9,4]"),
        (
            layer(steps_first, with(lstm(), activations(&["Affine", "Tanh", "Tanh"]))),
            "activation Affine needs a number of activation_alpha and one of activation_beta",
        ),
    ];
    for (model, part) in cases {
        let message = error(&model);
        assert!(message.contains(part), "`{part}` is not in\n{message}");
    }
}
