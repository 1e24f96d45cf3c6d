//! Weights in other places than dense initializers, and attributes that operators do not have.

use crate::models::{INT64, error, floats, import, info, int, model, node, whole, with};
use bitbudget_ir::Model;
use bitbudget_onnx::WarningKind;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use protobuf::MessageField;

fn constant(tensor: TensorProto) -> NodeProto {
    let output = tensor.name.clone();
    let (name, type_) = ("value".into(), AttributeType::TENSOR.into());
    let value = AttributeProto { name, type_, t: MessageField::some(tensor), ..Default::default() };
    with(node("Constant", &[], &output), value)
}

/// y = x w + b of x [N, 6].
fn linear(nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> ModelProto {
    let gemm = node("Gemm", &["x", "w", "b"], "y");
    let mut model = model([nodes, vec![gemm]].concat(), weights);
    model.graph.as_mut().unwrap().input[0] = info("x", &[0, 6]);
    model
}

#[test]
fn constants_are_weights_where_initializers_are_fewer() {
    let (w, b) = (|| floats("w", &[6, 4], 24), || floats("b", &[4], 4));
    let imported = import(&linear(vec![constant(w()), constant(b())], vec![])).unwrap();
    assert_eq!(imported.model.values.keys().collect::<Vec<_>>(), ["b", "w"]);
    let note = imported.warnings.iter().find(|warning| warning.kind == WarningKind::Constants).unwrap();
    assert_eq!(note.names, ["w", "b"]);
    // A constant beside larger initializers is one.
    let imported = import(&linear(vec![constant(b())], vec![w()])).unwrap();
    assert!(imported.warnings.iter().all(|warning| warning.kind != WarningKind::Constants));
    let text = imported.model.graph.to_string();
    assert!(text.contains("constant {name=\"b\"}") && text.contains("parameter {name=\"w\"}"), "{text}");
}

/// Optimizers make initializers of the nodes that PyTorch's exporter writes for numbers of the program.
#[test]
fn initializers_that_were_constants_are_none_that_are_trained() {
    let (w, b) = (|name| floats(name, &[6, 4], 24), |name| floats(name, &[4], 4));
    let of = |add: &str, weights: Vec<TensorProto>| {
        let [weight, bias] = [0, 1].map(|at: usize| weights[at].name.clone());
        let mut model =
            model(vec![node("Gemm", &["x", &weight, &bias], "product"), node("Mul", &["product", add], "y")], weights);
        model.graph.as_mut().unwrap().input[0] = info("x", &[0, 6]);
        let Model { graph, values } = import(&model).unwrap().model;
        let text = graph.to_string();
        let is_trained = |name: &String| text.contains(&format!("parameter {{name=\"{name}\"}}"));
        values.into_keys().filter(is_trained).collect::<Vec<_>>()
    };
    let name = "/attention/Constant_8_output_0";
    assert_eq!(of(name, vec![w("w"), b("b"), b(name)]), ["b", "w"]);
    assert_eq!(of("val_50", vec![w("w"), b("b"), floats("val_50", &[1], 1)]), ["b", "w"]);
    assert_eq!(of("scale", vec![w("w"), b("b"), floats("scale", &[1], 1)]), ["b", "scale", "w"]);
    // Where there are no others they are the weights.
    let [first, second, third] = [0, 1, 2].map(|n| format!("/Constant_{n}_output_0"));
    let all = of(&third, vec![w(first.as_str()), b(second.as_str()), b(third.as_str())]);
    assert_eq!(all, [first, second, third]);
}

#[test]
fn sparse_initializers_are_read_as_dense_ones() {
    let values = TensorProto { float_data: vec![1.5, -2.0], raw_data: Vec::new(), ..floats("w", &[2], 2) };
    let sparse = |indices: TensorProto| {
        let mut model = linear(vec![], vec![floats("b", &[4], 4)]);
        model.graph.as_mut().unwrap().sparse_initializer = vec![SparseTensorProto {
            values: MessageField::some(values.clone()),
            indices: MessageField::some(indices),
            dims: vec![6, 4],
            ..Default::default()
        }];
        model
    };
    let mut expected = vec![0.0; 24];
    (expected[5], expected[22]) = (1.5, -2.0);
    let pairs = TensorProto { dims: vec![2, 2], data_type: INT64, int64_data: vec![1, 1, 5, 2], ..Default::default() };
    for indices in [whole("", &[5, 22]), pairs] {
        assert_eq!(import(&sparse(indices)).unwrap().model.values["w"], expected);
    }
    let message = error(&sparse(whole("", &[5, 24])));
    assert!(message.contains("initializer `w`: index [24] is out of [6, 4]"), "{message}");
    let message = error(&sparse(whole("", &[5])));
    assert!(message.contains("initializer `w`: it has 2 values and 1 indices"), "{message}");
}

#[test]
fn layer_normalization_may_have_attributes_of_its_own() {
    let layer = with(with(node("LayerNormalization", &["x", "s"], "y"), int("axis", -1)), int("epsion", 1));
    let mut model = model(vec![layer], vec![floats("s", &[6], 6)]);
    model.graph.as_mut().unwrap().input[0] = info("x", &[0, 6]);
    let imported = import(&model).unwrap();
    let unknown = imported.warnings.iter().find(|warning| warning.kind == WarningKind::UnknownAttribute).unwrap();
    assert_eq!(unknown.names, ["the_layernormalization.epsion"]);
}

#[test]
fn what_is_quantised_by_its_own_range_is_not_quantised() {
    let mut quantise = node("DynamicQuantizeLinear", &["x"], "q");
    quantise.output.extend(["s".to_string(), "z".to_string()]);
    let product = node("MatMulInteger", &["q", "w", "z"], "m");
    let cast = with(node("Cast", &["m"], "c"), int("to", 1));
    let weight = TensorProto {
        name: "w".into(),
        dims: vec![6, 4],
        data_type: 3,
        int32_data: (0..24).collect(),
        ..Default::default()
    };
    let nodes = vec![quantise, product, cast, node("Mul", &["c", "s"], "y")];
    let mut model = model(nodes, vec![weight]);
    model.graph.as_mut().unwrap().input[0] = info("x", &[0, 6]);
    let imported = import(&model).unwrap();
    assert_eq!(imported.model.values["w"], (0..24).map(|x| x as f32).collect::<Vec<_>>());
    let note = imported.warnings.iter().find(|warning| warning.kind == WarningKind::DynamicQuantization).unwrap();
    assert_eq!(note.names, ["q"]);
    let text = imported.model.graph.to_string();
    assert!(text.contains("matmul(%0, %1)") && !text.contains("round"), "{text}");
    // Within the branch of an If too.
    let graph = model.graph.as_mut().unwrap();
    let branch =
        GraphProto { node: std::mem::take(&mut graph.node), output: graph.output.clone(), ..Default::default() };
    let holds = TensorProto { name: "holds".into(), data_type: 9, int32_data: vec![1], ..Default::default() };
    let taken = |name: &str| AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: MessageField::some(branch.clone()),
        ..Default::default()
    };
    graph.node.push(with(with(node("If", &["holds"], "y"), taken("then_branch")), taken("else_branch")));
    graph.initializer.push(holds);
    let text = import(&model).unwrap().model.graph.to_string();
    assert!(text.contains("matmul(%0, %1)") && !text.contains("round"), "{text}");
}

#[test]
fn texts_that_nothing_needs_are_left_out() {
    let text = |name: &str| TensorProto { name: name.into(), dims: vec![1], data_type: 8, ..Default::default() };
    let weights = || vec![floats("w", &[6, 4], 24), floats("b", &[4], 4), text("labels")];
    assert!(import(&linear(vec![], weights())).is_ok());
    // One that a node needs is not, nor one that is the output.
    let mut model = linear(vec![node("Add", &["w", "labels"], "v")], weights());
    model.graph.as_mut().unwrap().node[1].input[1] = "v".into();
    let message = error(&model);
    assert!(message.contains("initializer `labels`: its element type STRING is not supported"), "{message}");
    let mut model = linear(vec![], weights());
    model.graph.as_mut().unwrap().output[0].name = "labels".into();
    let message = error(&model);
    assert!(message.contains("initializer `labels`: its element type STRING is not supported"), "{message}");
}

#[test]
fn an_output_that_depends_on_no_input_is_refused() {
    let gemm = with(node("Gemm", &["w", "w", "b"], "y"), int("transB", 1));
    let message = error(&model(vec![gemm], vec![floats("w", &[4, 6], 24), floats("b", &[4], 4)]));
    assert!(
        message.contains("the trained output `y` depends on no input; choose another one, --output NAME"),
        "{message}"
    );
}

/// A file of PyTorch's newer exporter, which notes the program's parameters and what it computed of which tensors.
#[test]
fn what_the_exporter_computed_of_no_parameter_is_a_constant() {
    let note =
        |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into(), ..Default::default() };
    let folded = |name: &str, from: &str| {
        let metadata_props = vec![note("pkg.onnxscript.optimizer.folded_from", from)];
        ValueInfoProto { name: name.into(), metadata_props, ..Default::default() }
    };
    let scaled = node("Mul", &["product", "linspace"], "scaled");
    let gemm = node("Gemm", &["x", "val_1", "b"], "product");
    let ones = node("Add", &["scaled", "val_9"], "y");
    let stored = |name, shape: &[i64], n| floats(name, shape, n);
    let weights = vec![
        stored("val_1", &[6, 4], 24),
        stored("b", &[4], 4),
        stored("linspace", &[4], 4),
        TensorProto { float_data: vec![1.0; 4], raw_data: Vec::new(), ..floats("val_9", &[4], 4) },
    ];
    let mut model = model(vec![gemm, scaled, ones], weights);
    let graph = model.graph.as_mut().unwrap();
    graph.input[0] = info("x", &[0, 6]);
    graph.value_info = vec![folded("val_1", "['w']"), folded("linspace", "['arange', 'val_0']")];
    let parameters = |model: &ModelProto| import(model).unwrap().model.values.into_keys().collect::<Vec<_>>();
    let constants = |model: &ModelProto| {
        let text = import(model).unwrap().model.graph.to_string();
        ["linspace", "val_9"].into_iter().filter(|name| text.contains(&format!("constant {{name=\"{name}\"}}"))).count()
    };
    assert_eq!(constants(&model), 0, "without a list of parameters all are");
    let key = "pkg.torch.export.ExportedProgram.graph_signature";
    model.graph.as_mut().unwrap().metadata_props =
        vec![note(key, "p_w: PARAMETER target='w'\np_b: PARAMETER target='b'")];
    assert_eq!(constants(&model), 2);
    // A table that is cut out of a buffer is none that is trained, and what is nowhere is told.
    let graph = model.graph.as_mut().unwrap();
    graph.value_info[1] = folded("linspace", "['table', 'val_0']");
    graph.metadata_props = vec![note(
        key,
        "p_w: PARAMETER target='w'\np_b: PARAMETER target='b'\np_gone: PARAMETER target='gone'\nb_table: BUFFER target='table'",
    )];
    assert_eq!(constants(&model), 2);
    let warnings = import(&model).unwrap().warnings;
    let lost = warnings.iter().find(|warning| warning.kind == WarningKind::Lost).unwrap();
    assert_eq!((lost.names.as_slice(), lost.kind.is_note()), (&["gone".to_string()][..], false));
    assert!(lost.to_string().contains("export with optimize=False"), "{lost}");
    assert!(["b", "val_1"].iter().all(|name| parameters(&model).contains(&name.to_string())));
}

/// What is separated has a name of the program, and so does not stand for another parameter.
#[test]
fn a_lost_bias_is_told_beside_separated_ones() {
    let note =
        |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into(), ..Default::default() };
    let ones = |name| TensorProto { float_data: vec![0.0; 4], raw_data: Vec::new(), ..floats(name, &[4], 4) };
    let named = |name: &str, node: NodeProto| NodeProto {
        metadata_props: vec![note("pkg.torch.onnx.name_scopes", &format!("['', '{name}', 'add']"))],
        name: name.into(),
        ..node
    };
    let mut model = model(
        vec![
            named("n1", node("Add", &["x", "n1.bias"], "a")),
            node("Tanh", &["a"], "t"),
            named("n2", node("Add", &["t", "n1.bias"], "y")),
        ],
        vec![ones("n1.bias")],
    );
    let graph = model.graph.as_mut().unwrap();
    graph.input[0] = info("x", &[0, 4]);
    let list = ["n1.bias", "n2.bias", "o.bias"].map(|name| format!("p: PARAMETER target='{name}'"));
    graph.metadata_props = vec![note("pkg.torch.export.ExportedProgram.graph_signature", &list.join("\n"))];
    let warnings = import(&model).unwrap().warnings;
    let lost = warnings.iter().find(|warning| warning.kind == WarningKind::Lost).unwrap();
    assert!(lost.names.contains(&"o.bias".to_string()), "{warnings:?}");
}

/// As quantisation by the range of each batch writes it: the product is multiplied by the scales of both operands.
#[test]
fn a_weight_is_dequantised_by_the_scale_that_multiplies_the_product() {
    let mut quantise = node("DynamicQuantizeLinear", &["x"], "q");
    quantise.output.extend(["scale".into(), "zero".into()]);
    let scales = node("Mul", &["scale", "w_scale"], "scales");
    let product = node("MatMulInteger", &["q", "w", "zero"], "product");
    let cast = with(node("Cast", &["product"], "cast"), int("to", 1));
    let scaled = node("Mul", &["cast", "scales"], "y");
    let whole_numbers = TensorProto {
        name: "w".into(),
        dims: vec![6, 4],
        data_type: 3,
        int32_data: (-12..12).collect(),
        ..Default::default()
    };
    let scale = TensorProto { float_data: vec![0.25], raw_data: Vec::new(), ..floats("w_scale", &[1], 1) };
    let mut model = model(vec![quantise, scales, product, cast, scaled], vec![whole_numbers, scale]);
    model.graph.as_mut().unwrap().input[0] = info("x", &[0, 6]);
    let values = import(&model).unwrap().model.values;
    let [weight] = values.values().collect::<Vec<_>>()[..] else { panic!("{:?}", values.keys()) };
    assert_eq!(*weight, (-12..12).map(|n| 0.25 * n as f32).collect::<Vec<_>>());
}

/// Numbers that differ.
fn numbers(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto { float_data: values, raw_data: Vec::new(), ..floats(name, dims, 0) }
}

#[test]
fn a_weight_that_copies_of_a_layer_share_is_warned_of() {
    let shared = |first: &str, second: &str| {
        let product =
            |name: &str, from: &str, to: &str| NodeProto { name: name.into(), ..node("MatMul", &[from, "w"], to) };
        let mut model = model(
            vec![product(first, "x", "h"), product(second, "h", "y")],
            vec![numbers("w", &[4, 4], (0..16).map(|n| n as f32).collect())],
        );
        model.graph.as_mut().unwrap().input[0] = info("x", &[0, 4]);
        import(&model).unwrap().warnings
    };
    let copies = shared("/layers.0/linear/MatMul", "/layers.1/linear/MatMul");
    assert_eq!((&copies[0].kind, copies[0].kind.is_note()), (&WarningKind::SharedByCopies, false));
    let text = copies[0].to_string();
    assert!(text.contains("shared by layers that differ in their number: `w`; each is trained as one"), "{text}");
    let called_twice = shared("/layer/linear/MatMul", "/layer/linear_1/MatMul");
    assert_eq!((&called_twice[0].kind, called_twice[0].kind.is_note()), (&WarningKind::Shared, true));
}

#[test]
fn a_weight_that_is_another_one_transposed_is_warned_of() {
    let weights = |second: Vec<f32>| {
        let products = vec![node("MatMul", &["x", "w"], "h"), node("MatMul", &["h", "v"], "y")];
        let initializers =
            vec![numbers("w", &[3, 2], (0..6).map(|n| n as f32).collect()), numbers("v", &[2, 3], second)];
        let mut model = model(products, initializers);
        model.graph.as_mut().unwrap().input[0] = info("x", &[0, 3]);
        import(&model).unwrap().warnings
    };
    let transposed = weights(vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!((&transposed[0].kind, &transposed[0].names), (&WarningKind::Transposed, &vec!["v".to_string()]));
    assert!(transposed[0].to_string().contains("the two are trained separately"), "{}", transposed[0]);
    assert_eq!(weights((0..6).map(|n| n as f32).collect()), []);
}

#[test]
fn calls_of_one_layer_share_a_parameter_whose_elements_are_equal() {
    let parameters = |first: &str, second: &str| {
        let named =
            |name: &str, from: &str, to: &str| NodeProto { name: name.into(), ..node("PRelu", &[from, "slope"], to) };
        let slope = numbers("slope", &[4], vec![0.25; 4]);
        let mut model = model(vec![named(first, "x", "h"), named(second, "h", "y")], vec![slope]);
        model.graph.as_mut().unwrap().input[0] = info("x", &[0, 4]);
        import(&model).unwrap().model.values.len()
    };
    assert_eq!(parameters("/act/PRelu", "/act_1/PRelu"), 1);
    assert_eq!(parameters("/PRelu", "/PRelu_1"), 1);
    assert_eq!(parameters("/first/act/PRelu", "/second/act/PRelu"), 2);
}

#[test]
fn what_the_program_lists_as_parameters_is_trained_whatever_its_name() {
    let parameters = |signature: &[&str]| {
        let nodes = vec![node("Sub", &["x", "running_mean"], "centred"), node("Div", &["centred", "std"], "y")];
        let weights = ["running_mean", "std"].map(|name| numbers(name, &[4], vec![1.0, 2.0, 3.0, 4.0])).to_vec();
        let mut model = model(nodes, weights);
        let graph = model.graph.as_mut().unwrap();
        graph.input[0] = info("x", &[0, 4]);
        let value = signature.join("\n");
        let key = "pkg.torch.export.ExportedProgram.graph_signature".into();
        graph.metadata_props = vec![StringStringEntryProto { key, value, ..Default::default() }];
        let text = import(&model).unwrap().model.graph.to_string();
        text.matches("= parameter").count()
    };
    assert_eq!(parameters(&[]), 0);
    assert_eq!(parameters(&["p_a: PARAMETER target='running_mean'", "p_b: PARAMETER target='std'"]), 2);
}

#[test]
fn an_initial_state_of_zeros_has_the_size_of_the_others() {
    let recurrent = |size: i64| {
        let lstm = node("RNN", &["x", "w", "r", "", "", "h"], "all");
        let nodes = vec![lstm, node("ReduceSum", &["all", "axes"], "y")];
        let sizes = |name: &str, dims: &[i64]| {
            let count = dims.iter().product::<i64>();
            numbers(name, dims, (0..count).map(|n| n as f32).collect())
        };
        let zeros = numbers("h", &[1, 2, size], vec![0.0; 2 * size as usize]);
        let mut model =
            model(nodes, vec![sizes("w", &[1, 3, 4]), sizes("r", &[1, 3, 3]), zeros, whole("axes", &[0, 1])]);
        model.graph.as_mut().unwrap().input[0] = info("x", &[5, 0, 4]);
        import(&model)
    };
    let message = recurrent(4).unwrap_err().to_string();
    assert!(message.contains("an initial state is [1,2,4], but R is for states of 3 elements"), "{message}");
    assert!(!recurrent(3).map_or_else(|error| error.to_string(), |_| String::new()).contains("initial state"));
}
