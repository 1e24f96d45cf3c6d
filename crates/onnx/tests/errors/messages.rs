//! Models that cannot be imported, and what their messages say.

use crate::models::{error, external, float, floats, info, int, ints, model, node, relu, text, whole, with};
use onnx_protobuf::{AttributeProto, ModelProto, NodeProto, TensorProto, type_proto};
use protobuf::MessageField;

/// A name, a model, and what its message has to contain.
type Case = (&'static str, ModelProto, &'static [&'static str]);

pub(crate) fn each_has_its_message(cases: Vec<Case>) {
    for (what, model, parts) in cases {
        let message = error(&model);
        for part in parts {
            assert!(message.contains(part), "{what}: `{part}` is not in\n{message}");
        }
    }
}

/// A good model, spoilt.
fn changed(change: impl Fn(&mut ModelProto)) -> ModelProto {
    let mut m = model(relu(), vec![]);
    change(&mut m);
    m
}

fn one(n: NodeProto, init: Vec<TensorProto>) -> ModelProto {
    model(vec![n], init)
}

fn conv(attribute: AttributeProto) -> ModelProto {
    one(with(node("Conv", &["x", "w"], "y"), attribute), vec![floats("w", &[2, 4, 3, 3], 72)])
}

#[test]
fn bad_graphs_have_their_messages() {
    each_has_its_message(vec![
        (
            "operators",
            model(vec![node("Foo", &["x"], "a"), node("Bar", &["a"], "y")], vec![]),
            &["operator Foo (operator set 17)", "`the_foo`", "operator Bar", "for 2 reasons"],
        ),
        (
            "domain",
            changed(|m| m.graph.as_mut().unwrap().node[0].domain = "com.microsoft".into()),
            &["of domain `com.microsoft`"],
        ),
        (
            "missing input",
            one(node("Relu", &["z"], "y"), vec![]),
            &["node `the_relu` (Relu version 14): it reads `z`, which no node"],
        ),
        ("no operand", one(node("Relu", &[], "y"), vec![]), &["input 0 is missing"]),
        (
            "cycle",
            model(vec![node("Add", &["x", "b"], "a"), node("Relu", &["a"], "b"), node("Tanh", &["b"], "y")], vec![]),
            &["`the_relu`, `the_add` form a cycle"],
        ),
        ("cycle of one", one(node("Relu", &["y"], "y"), vec![]), &["`the_relu` form a cycle"]),
        (
            "two writers",
            model(vec![node("Relu", &["x"], "y"), node("Tanh", &["x"], "y")], vec![]),
            &["`the_tanh` writes `y`, which is also"],
        ),
        (
            "writes the input",
            model(vec![node("Relu", &["x"], "x"), node("Tanh", &["x"], "y")], vec![]),
            &["writes `x`, which is also an input"],
        ),
        (
            "two initializers",
            model(relu(), vec![floats("w", &[1], 1), floats("w", &[1], 1)]),
            &["two initializers are named `w`"],
        ),
        ("no graph", changed(|m| m.graph = MessageField::none()), &["holds no graph"]),
        ("no operator set", changed(|m| m.opset_import.clear()), &["which operator set"]),
        ("old", changed(|m| m.opset_import[0].version = 0), &["operator set 0", "1 to 28"]),
        (
            "early",
            changed(|m| {
                m.opset_import[0].version = 9;
                m.graph.as_mut().unwrap().node[0].op_type = "Range".into()
            }),
            &["Range came with operator set 11"],
        ),
    ]);
}

#[test]
fn bad_inputs_and_outputs_have_their_messages() {
    each_has_its_message(vec![
        ("no input", changed(|m| m.graph.as_mut().unwrap().input.clear()), &["no input apart from"]),
        (
            "two outputs",
            changed(|m| m.graph.as_mut().unwrap().output.push(info("x", &[0, 4]))),
            &["2 outputs", "`x` [N,4]", "say which one is trained, --output y"],
        ),
        (
            "output of nothing",
            changed(|m| m.graph.as_mut().unwrap().output[0].name = "z".into()),
            &["no node writes the output `z`"],
        ),
        (
            "output without batch",
            one(node("Identity", &["w"], "y"), vec![floats("w", &[2], 2)]),
            &["not a tensor that depends on the input"],
        ),
        (
            "variable size",
            changed(|m| m.graph.as_mut().unwrap().input[0] = info("x", &[0, 4, -3, 6])),
            &["variable sizes beside the batch `N`: give --dim x.2=SIZE"],
        ),
        (
            "vast input",
            changed(|m| m.graph.as_mut().unwrap().input[0] = info("x", &[0, 1 << 30, 1 << 30, 1 << 30])),
            &["too large"],
        ),
        (
            "input of text",
            changed(|m| {
                if let Some(type_proto::Value::TensorType(t)) =
                    &mut m.graph.as_mut().unwrap().input[0].type_.as_mut().unwrap().value
                {
                    t.elem_type = 8;
                }
            }),
            &["its elements are STRING"],
        ),
    ]);
}

#[test]
fn bad_initializers_have_their_messages() {
    each_has_its_message(vec![
        ("negative dims", model(relu(), vec![floats("w", &[-1], 1)]), &["initializer `w`", "negative"]),
        ("overflowing dims", model(relu(), vec![floats("w", &[i64::MAX, i64::MAX], 1)]), &["too large"]),
        ("short data", model(relu(), vec![floats("w", &[4, 4], 3)]), &["needs 64 bytes, 12 are there"]),
        (
            "typed length",
            model(relu(), vec![TensorProto { dims: vec![3], ..whole("w", &[1, 2]) }]),
            &["needs 3 elements, 2 are there"],
        ),
        (
            "strings",
            model(vec![node("Mul", &["x", "w"], "y")], vec![TensorProto { data_type: 8, ..floats("w", &[1], 1) }]),
            &["element type STRING"],
        ),
        (
            "unknown type",
            model(relu(), vec![TensorProto { data_type: 99, ..floats("w", &[1], 1) }]),
            &["element type 99"],
        ),
        ("empty parameter", one(node("Add", &["x", "w"], "y"), vec![floats("w", &[0], 0)]), &["no elements"]),
    ]);
}

#[test]
fn bad_attributes_have_their_messages() {
    each_has_its_message(vec![
        (
            "unknown attribute",
            one(with(node("Relu", &["x"], "y"), int("slope", 1)), vec![]),
            &["attribute `slope` is not known"],
        ),
        ("attribute type", conv(ints("group", &[1])), &["attribute `group` must be of type INT", "[N,4,6,6]"]),
        ("groups", conv(int("group", 3)), &["node `the_conv` (Conv version 11)", "3 groups", "4 input channels"]),
        ("vast groups", conv(int("group", i64::MAX)), &["does not fit 4 input channels"]),
        ("zero strides", conv(ints("strides", &[0, 1])), &["attribute `strides`"]),
        ("vast pads", conv(ints("pads", &[i64::MAX, 0, 0, 0])), &["attribute `pads`"]),
        ("kernel", conv(ints("kernel_shape", &[5, 5])), &["is not that of the weight"]),
        ("auto_pad", conv(text("auto_pad", "SOMEHOW")), &["auto_pad `SOMEHOW`"]),
        ("window", conv(ints("dilations", &[9, 9])), &["the window spans 19 elements"]),
        (
            "3-D",
            one(node("Conv", &["x", "w"], "y"), vec![floats("w", &[2, 4, 3, 3, 3], 216)]),
            &["one to three spatial dimensions"],
        ),
        ("pool without size", one(node("MaxPool", &["x"], "y"), vec![]), &["`kernel_shape` is missing"]),
    ]);
}

#[test]
fn bad_products_have_their_messages() {
    let matmul = |dims: &[i64]| {
        let elements = dims.iter().product::<i64>() as usize;
        one(node("MatMul", &["x", "w"], "y"), vec![floats("w", dims, elements)])
    };
    let gemm = |init| one(node("Gemm", &["x", "w"], "y"), vec![init]);
    let einsum = |equation: &str| {
        one(with(node("Einsum", &["x", "w"], "y"), text("equation", equation)), vec![floats("w", &[6, 2], 12)])
    };
    let flipped = |perm: &[i64]| {
        model(vec![with(node("Transpose", &["x"], "t"), ints("perm", perm)), node("MatMul", &["t", "x"], "y")], vec![])
    };
    each_has_its_message(vec![
        ("depth", matmul(&[5, 2]), &["`the_matmul`", "[N,4,6,6] and [5,2] do not multiply: 6 against 5"]),
        ("vector", matmul(&[4]), &["[N,4,6,6] and [4] do not multiply: 6 against 4"]),
        ("leading", matmul(&[3, 6, 2]), &["do not multiply: leading dimensions must be equal or 1"]),
        ("scalar", matmul(&[]), &["a scalar has no rows and columns; use Mul"]),
        ("over the batch", flipped(&[3, 1, 2, 0]), &["do not multiply: N against 6"]),
        ("batch", flipped(&[1, 0, 2, 3]), &["leading dimensions must be equal or 1"]),
        ("Einsum", einsum("nchh,hk->nck"), &["`h` twice in the term `nchh`: diagonals are not supported"]),
        ("terms", einsum("nchw->n"), &["the equation `nchw->n` has 1 terms for 2 inputs"]),
        ("sizes", einsum("nchw,ck->nk"), &["`c` is 4 and 6"]),
        ("result", einsum("nchw,hk->nz"), &["`z` of the result is in no term"]),
        ("letters", einsum("nchw,wk->nk,"), &["holds `,`"]),
        ("Gemm", gemm(floats("w", &[3, 6, 2], 36)), &["A and B must be matrices, but are [N,4,6,6] and [3,6,2]"]),
    ]);
}

#[test]
fn bad_attention_has_its_messages() {
    let attention = |inputs: &[&str], attribute: AttributeProto| {
        let mut model = one(
            with(node("Attention", inputs, "y"), attribute),
            vec![floats("w", &[6, 2], 12), floats("v", &[5, 6], 30)],
        );
        model.opset_import[0].version = 24;
        model
    };
    let causal = || int("is_causal", 1);
    each_has_its_message(vec![
        (
            "rank",
            attention(&["x", "x", "w"], causal()),
            &["[6,2] is neither of four dimensions nor of three with a number of heads (kv_num_heads)"],
        ),
        (
            "heads",
            attention(&["x", "x", "x"], int("q_num_heads", 3)),
            &["nor of three with a number of heads (q_num_heads)"],
        ),
        ("cache", attention(&["x", "x", "x", "", "x"], causal()), &["do not fit together"]),
        ("mask", attention(&["x", "x", "x", "v"], causal()), &["[5,6] do not broadcast"]),
    ]);
}

#[test]
fn bad_normalisations_have_their_messages() {
    let scaled =
        |attribute| one(with(node("LayerNormalization", &["x", "s"], "y"), attribute), vec![floats("s", &[6], 6)]);
    each_has_its_message(vec![
        (
            "over the batch",
            scaled(int("axis", 0)),
            &["node `the_layernormalization`", "it normalises over the batch", "export the network without it"],
        ),
        ("axis", scaled(int("axis", 4)), &["axis 4 is out of range for a tensor of 4 dimensions"]),
        ("stash_type", scaled(int("stash_type", 11)), &["stash_type is 11"]),
        (
            "scale",
            one(with(node("LayerNormalization", &["x", "s"], "y"), int("axis", 2)), vec![floats("s", &[5], 5)]),
            &["on [N,4,6,6], initializer [5]", "Scale has the shape [5], but the normalised dimensions are [6,6]"],
        ),
        (
            "bias",
            one(node("LayerNormalization", &["x", "s", "b"], "y"), vec![floats("s", &[6], 6), floats("b", &[4], 4)]),
            &["B has the shape [4]"],
        ),
    ]);
}

#[test]
fn bad_moves_have_their_messages() {
    each_has_its_message(vec![
        (
            "reshape",
            one(node("Reshape", &["x", "s"], "y"), vec![whole("s", &[-1, 7])]),
            &["[N,4,6,6] cannot be reshaped to [-1, 7]"],
        ),
        ("reshape by data", model(vec![node("Reshape", &["x", "x"], "y")], vec![]), &["must be known at import"]),
        ("gather", one(node("Gather", &["x", "k"], "y"), vec![whole("k", &[0])]), &["batch cannot be gathered"]),
        (
            "transpose",
            one(with(node("Transpose", &["x"], "y"), ints("perm", &[0, 0, 1, 2])), vec![]),
            &["not a permutation"],
        ),
        ("axis", one(with(node("Concat", &["x", "x"], "y"), int("axis", 9)), vec![]), &["axis 9 is out of range"]),
        (
            "slice of the batch",
            one(node("Slice", &["x", "s", "e"], "y"), vec![whole("s", &[1]), whole("e", &[2])]),
            &["only be taken whole"],
        ),
        (
            "empty slice",
            one(
                with(
                    with(with(node("Slice", &["x"], "y"), ints("axes", &[1])), ints("starts", &[2])),
                    ints("ends", &[2]),
                ),
                vec![],
            ),
            &["takes nothing"],
        ),
    ]);
}

#[test]
fn bad_values_have_their_messages() {
    each_has_its_message(vec![
        (
            "mode of a pad",
            one(with(node("Pad", &["x"], "y"), text("mode", "mirror")), vec![]),
            &["mode `mirror` is not known"],
        ),
        (
            "broadcast",
            one(node("Add", &["x", "w"], "y"), vec![floats("w", &[5], 5)]),
            &["do not broadcast", "[N,4,6,6], initializer [5]"],
        ),
        ("mean over the batch", one(node("ReduceMean", &["x"], "y"), vec![]), &["over the batch"]),
        (
            "vast constant",
            model(
                vec![node("ConstantOfShape", &["s"], "c"), node("Add", &["x", "c"], "y")],
                vec![whole("s", &[1 << 40])],
            ),
            &["too large to be computed at import"],
        ),
        (
            "vast range",
            model(
                vec![node("Range", &["a", "b", "c"], "r"), node("Gather", &["x", "r"], "y")],
                vec![whole("a", &[0]), whole("b", &[i64::MAX]), whole("c", &[1])],
            ),
            &["range is too long"],
        ),
        (
            "product of shapes",
            model(
                vec![node("Shape", &["x"], "s"), node("Mul", &["s", "s"], "t"), node("Reshape", &["x", "t"], "y")],
                vec![],
            ),
            &["no result that is known for every batch size"],
        ),
        (
            "division by zero",
            model(
                vec![node("Div", &["a", "b"], "c"), node("Reshape", &["x", "c"], "y")],
                vec![whole("a", &[1]), whole("b", &[0])],
            ),
            &["no result"],
        ),
        (
            "text",
            model(
                vec![with(node("Constant", &[], "c"), text("value_string", "a")), node("Add", &["x", "c"], "y")],
                vec![],
            ),
            &["node `the_constant`", "it is text, with which a trainer cannot compute"],
        ),
        (
            "sparse",
            model(
                vec![with(node("Constant", &[], "c"), int("sparse_value", 0)), node("Add", &["x", "c"], "y")],
                vec![],
            ),
            &["node `the_constant`", "it is a sparse tensor", "store it densely"],
        ),
        (
            "product with nothing",
            one(node("MatMul", &["x", "w"], "y"), vec![floats("w", &[6, 0], 0)]),
            &["`w` has no elements: its shape is [6, 0]; export the network without it"],
        ),
        (
            "nothing joined",
            model(
                vec![with(node("Concat", &["w", "w"], "c"), int("axis", 0)), node("Add", &["x", "c"], "y")],
                vec![floats("w", &[0], 0)],
            ),
            &["it joins nothing"],
        ),
        ("external without folder", model(relu(), vec![external("w.bin")]), &["without a folder"]),
    ]);
}

#[test]
fn composed_operators_have_their_messages() {
    let resize = |attribute: AttributeProto, scales: &[f32]| {
        let mut tensor = floats("s", &[scales.len() as i64], scales.len());
        tensor.float_data = scales.to_vec();
        tensor.raw_data.clear();
        one(with(node("Resize", &["x", "", "s"], "y"), attribute), vec![tensor])
    };
    let pads = |pads: &[i64], mode: &str| {
        one(with(with(node("Pad", &["x"], "y"), ints("pads", pads)), text("mode", mode)), vec![])
    };
    each_has_its_message(vec![
        (
            "cropping resize",
            resize(text("coordinate_transformation_mode", "tf_crop_and_resize"), &[1.0, 1.0, 2.0, 2.0]),
            &["tf_crop_and_resize needs the input roi"],
        ),
        (
            "resized batch",
            resize(text("mode", "nearest"), &[2.0, 1.0, 1.0, 1.0]),
            &["dimension 0", "cannot be resized"],
        ),
        ("too few scales", resize(text("mode", "nearest"), &[2.0]), &["1 scales or sizes for 4 axes"]),
        (
            "large resize",
            resize(text("mode", "linear"), &[1.0, 1.0, 1.0, 1e6]),
            &["its size 6000000 along dimension 3 is too large: at most 1048576 is possible"],
        ),
        ("no scales", one(node("Resize", &["x"], "y"), vec![]), &["scales or sizes are missing"]),
        ("padded batch", pads(&[1, 0, 0, 0, 0, 0, 0, 0], "constant"), &["dimension 0", "cannot be padded"]),
        (
            "large border",
            one(
                with(
                    with(node("Pad", &["x"], "y"), ints("pads", &[0, 0, 1 << 29, 0, 0, 0, 0, 0])),
                    float("value", 1.0),
                ),
                vec![],
            ),
            &["it needs a constant of shape [536870918, 1]", "more than 1 GiB"],
        ),
        ("far reflection", pads(&[0, 0, 6, 0, 0, 0, 0, 0], "reflect"), &["6 elements from dimension 2", "which has 5"]),
        ("all cropped", pads(&[0, 0, -6, 0, 0, 0, 0, 0], "edge"), &["takes all elements of dimension 2"]),
        (
            "volume",
            one(node("ConvTranspose", &["x", "w"], "y"), vec![floats("w", &[4, 2, 3, 3, 3], 216)]),
            &["one to three spatial dimensions"],
        ),
        (
            "groups of channels",
            one(
                with(node("GroupNormalization", &["x", "s", "b"], "y"), int("num_groups", 3)),
                vec![floats("s", &[3], 3), floats("b", &[3], 3)],
            ),
            &["GroupNormalization came with operator set 18"],
        ),
        (
            "norm of the batch",
            one(with(node("LpNormalization", &["x"], "y"), int("axis", 0)), vec![]),
            &["over the batch"],
        ),
        ("moments of the batch", one(node("MeanVarianceNormalization", &["x"], "y"), vec![]), &["over the batch"]),
        ("sums along the batch", one(node("CumSum", &["x", "a"], "y"), vec![whole("a", &[0])]), &["over the batch"]),
        (
            "repeated batch",
            one(node("Tile", &["x", "r"], "y"), vec![whole("r", &[2, 1, 1, 1])]),
            &["cannot be repeated"],
        ),
        ("products over the batch", one(node("ReduceProd", &["x"], "y"), vec![]), &["over the batch"]),
        (
            "blocks",
            one(with(node("SpaceToDepth", &["x"], "y"), int("blocksize", 4)), vec![]),
            &["blocks of 4 x 4 do not fit"],
        ),
    ]);
}

#[test]
fn spectra_have_their_messages() {
    let stft = |shape: &[i64], inputs: &[&str], more: &[(&str, &[i64])]| {
        let mut weights = vec![floats("window", &[8], 8)];
        weights.extend(more.iter().map(|(name, values)| whole(name, values)));
        let mut model = one(node("STFT", inputs, "y"), weights);
        model.graph.as_mut().unwrap().input[0] = info("x", shape);
        model
    };
    let step: (&str, &[i64]) = ("step", &[3]);
    let usual = ["x", "step", "window"];
    each_has_its_message(vec![
        ("complex signals", stft(&[0, 20, 2], &usual, &[step]), &["a real signal [examples, samples]", "[N,20,2]"]),
        ("short signals", stft(&[0, 6, 1], &usual, &[step]), &["frames of 8 samples do not fit into a signal of 6"]),
        ("steps", stft(&[0, 20, 1], &usual, &[("step", &[0])]), &["its frame_step is [0]; one positive number"]),
        ("no length", stft(&[0, 20, 1], &["x", "step"], &[step]), &["it needs a window or a frame_length"]),
        (
            "another length",
            stft(&[0, 20, 1], &["x", "step", "window", "length"], &[step, ("length", &[6])]),
            &["its window has 8 elements, its frame_length is 6"],
        ),
        ("long frames", stft(&[0, 9000], &["x", "step", "", "length"], &[step, ("length", &[8000])]), &["too long"]),
    ]);
}
