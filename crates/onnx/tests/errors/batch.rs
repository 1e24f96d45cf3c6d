//! Where the batch of a file is, and files for one batch size or one example only.

use crate::models::{FLOAT, INT64, error, floats, import, info, int, ints, model, node, whole, with};
use bitbudget_onnx::{ImportOptions, Imported, WarningKind, import_bytes_with};
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{Message, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// A model with one input and the output `y`.
fn of(input: ValueInfoProto, nodes: Vec<NodeProto>, weights: Vec<TensorProto>) -> ModelProto {
    let mut model = model(nodes, weights);
    let graph = model.graph.as_mut().unwrap();
    (graph.input, graph.output) = (vec![input], vec![info("y", &[0, 4])]);
    model
}

fn type_of(input: &mut ValueInfoProto) -> &mut type_proto::Tensor {
    match input.type_.as_mut().unwrap().value.as_mut().unwrap() {
        type_proto::Value::TensorType(ty) => ty,
        other => panic!("{other:?}"),
    }
}

/// An input whose sizes are numbers or names.
fn named(name: &str, sizes: &[&str]) -> ValueInfoProto {
    let mut input = info(name, &vec![1; sizes.len()]);
    for (dim, size) in type_of(&mut input).shape.as_mut().unwrap().dim.iter_mut().zip(sizes) {
        dim.value = Some(match size.parse() {
            Ok(size) => dimension::Value::DimValue(size),
            Err(_) => dimension::Value::DimParam(size.to_string()),
        });
    }
    input
}

fn shapes(imported: &Imported) -> [String; 2] {
    let graph = &imported.model.graph;
    let input = graph.ids().find(|&id| graph.node(id).is_input()).unwrap();
    [input, graph.outputs()[0].1].map(|id| graph.ty(id).shape.to_string())
}

fn has(imported: &Imported, kind: &WarningKind) -> bool {
    imported.warnings.iter().any(|warning| warning.kind == *kind)
}

fn with_options(model: &ModelProto, options: &ImportOptions) -> Result<Imported, String> {
    import_bytes_with(&model.write_to_bytes().unwrap(), None, options).map_err(|error| error.to_string())
}

/// A recurrent layer over x [steps, batch, 3], and its states [steps, batch, 4].
fn recurrent() -> (Vec<NodeProto>, Vec<TensorProto>) {
    let nodes = vec![node("RNN", &["x", "w", "r"], "states"), node("Squeeze", &["states", "axes"], "y")];
    (nodes, vec![floats("w", &[1, 4, 3], 12), floats("r", &[1, 4, 4], 16), whole("axes", &[1])])
}

#[test]
fn steps_come_first_where_a_recurrent_layer_says_so() {
    let (nodes, weights) = recurrent();
    let imported = import(&of(named("x", &["7", "1", "3"]), nodes.clone(), weights.clone())).unwrap();
    assert_eq!(shapes(&imported), ["[7,N,3]", "[7,N,4]"]);
    // A variable number of steps has to be given.
    let open = of(named("x", &["steps", "1", "3"]), nodes, weights);
    let message = error(&open);
    assert!(message.contains("give --dim steps=SIZE, which makes the second dimension the batch"), "{message}");
    let options = ImportOptions { sizes: [("steps".to_string(), 5)].into(), ..ImportOptions::default() };
    assert_eq!(shapes(&with_options(&open, &options).unwrap()), ["[5,N,3]", "[5,N,4]"]);
}

#[test]
fn a_batch_size_that_a_node_holds_and_does_not_need_is_noted() {
    let nodes = || vec![node("MatMul", &["x", "w"], "h"), node("Reshape", &["h", "sizes"], "y")];
    let with_sizes = |sizes: &[i64]| {
        import(&of(info("x", &[2, 6]), nodes(), vec![floats("w", &[6, 4], 24), whole("sizes", sizes)])).unwrap()
    };
    let imported = with_sizes(&[2, 2, 2]);
    assert_eq!(shapes(&imported), ["[N,6]", "[N,2,2]"]);
    let note = imported.warnings.iter().find(|warning| warning.kind == WarningKind::AnyBatch { batch: 2 }).unwrap();
    assert!(note.kind.is_note());
    assert_eq!(
        note.to_string(),
        "1 node has the batch size of 2 in the file: `the_reshape`; it was replaced, so that any other trains too"
    );
    assert_eq!(with_sizes(&[-1, 2, 2]).warnings, []);
}

#[test]
fn examples_that_depend_on_each_other_need_a_batch_size() {
    // Products of all examples with all.
    let products = || {
        let turned = with(node("Transpose", &["h"], "t"), ints("perm", &[1, 0]));
        let nodes = vec![node("MatMul", &["x", "w"], "h"), turned, node("MatMul", &["h", "t"], "y")];
        (nodes, vec![floats("w", &[6, 4], 24)])
    };
    let (nodes, weights) = products();
    let open = of(named("x", &["batch", "6"]), nodes, weights);
    let message = error(&open);
    for part in ["the batch size occurs twice in the shape [N,N]", "for one batch size only: give it, --batch SIZE"] {
        assert!(message.contains(part), "{message}");
    }
    let imported = with_options(&open, &ImportOptions { batch: Some(5), ..ImportOptions::default() }).unwrap();
    assert_eq!(shapes(&imported), ["[5,6]", "[5,5]"]);
    assert!(has(&imported, &WarningKind::FixedBatch { batch: 5 }));
    // What is wrong at any size has no such advice.
    let (nodes, _) = products();
    let message = error(&of(named("x", &["batch", "6"]), nodes, vec![floats("w", &[5, 4], 20)]));
    assert!(!message.contains("--batch"), "{message}");
}

#[test]
fn a_file_may_be_for_one_example() {
    // Without a dimension of examples, and with one that the result lacks.
    let vector = of(info("x", &[6]), vec![node("MatMul", &["w", "x"], "y")], vec![floats("w", &[4, 6], 24)]);
    let flat = vec![node("Reshape", &["x", "all"], "f"), node("MatMul", &["w", "f"], "y")];
    let flattened = of(info("x", &[1, 2, 3]), flat, vec![floats("w", &[4, 6], 24), whole("all", &[6])]);
    for (model, expected) in [(vector, ["[1,6]", "[1,4]"]), (flattened, ["[1,2,3]", "[1,4]"])] {
        let imported = import(&model).unwrap();
        assert_eq!(shapes(&imported), expected);
        assert!(has(&imported, &WarningKind::OneExample));
        assert_eq!(imported.model.graph.fixed_batch(), Some(1));
    }
}

#[test]
fn a_size_that_counts_no_examples_is_asked_for() {
    // A convolution over time, of rows of numbers without a dimension of examples.
    let turned = with(node("Transpose", &["x"], "t"), ints("perm", &[1, 0]));
    let nodes = vec![turned, node("Unsqueeze", &["t", "zero"], "u"), node("Conv", &["u", "w"], "y")];
    let weights = vec![floats("w", &[4, 6, 3], 72), whole("zero", &[0])];
    let open = of(named("x", &["time", "6"]), nodes, weights);
    let batch = |size| ImportOptions { batch: Some(size), ..ImportOptions::default() };
    let message = with_options(&open, &batch(2)).unwrap_err();
    assert!(message.contains("the size `time` seems not to count examples: give --dim time=SIZE"), "{message}");
    let sizes = [("time".to_string(), 10)].into();
    let imported = with_options(&open, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap();
    assert_eq!(shapes(&imported), ["[1,10,6]", "[1,4,8]"]);
}

#[test]
fn one_name_for_all_unknown_sizes_is_told_apart() {
    let nodes = vec![node("Conv", &["x", "w"], "c"), node("GlobalAveragePool", &["c"], "y")];
    let same = of(named("x", &["None", "3", "None", "None"]), nodes, vec![floats("w", &[4, 3, 1, 1], 12)]);
    let message = error(&same);
    assert!(message.contains("give --dim x.2=SIZE --dim x.3=SIZE"), "{message}");
    let sizes = [("x.2".to_string(), 8), ("x.3".to_string(), 9)].into();
    let imported = with_options(&same, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap();
    assert_eq!(shapes(&imported), ["[N,3,8,9]", "[N,4,1,1]"]);
    let sizes = [("x.1".to_string(), 8)].into();
    let message = with_options(&same, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap_err();
    assert!(message.contains("the file has no variable size `x.1`; it has `None`"), "{message}");
}

#[test]
fn a_size_that_the_trained_output_does_not_need_may_be_given() {
    let mut model =
        of(named("x", &["batch", "6"]), vec![node("Relu", &["x"], "y"), node("Relu", &["z"], "past")], vec![]);
    let graph = model.graph.as_mut().unwrap();
    graph.input.push(named("z", &["batch", "past"]));
    graph.output.push(info("past", &[0, 6]));
    let sizes = [("batch".to_string(), 5), ("past".to_string(), 3)].into();
    let message = with_options(&model, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap_err();
    assert!(message.contains("2 outputs") && !message.contains("none is left"), "{message}");
    let (output, sizes) = (Some("y".to_string()), [("past".to_string(), 3)].into());
    let imported = with_options(&model, &ImportOptions { output, sizes, ..ImportOptions::default() }).unwrap();
    assert_eq!(shapes(&imported), ["[N,6]", "[N,6]"]);
}

#[test]
fn the_only_output_of_fractions_is_trained() {
    let largest = with(node("ArgMax", &["y"], "label"), crate::models::int("axis", 1));
    let mut model =
        of(info("x", &[0, 6]), vec![node("MatMul", &["x", "w"], "y"), largest], vec![floats("w", &[6, 4], 24)]);
    let graph = model.graph.as_mut().unwrap();
    let mut label = info("label", &[0, 1]);
    type_of(&mut label).elem_type = INT64;
    graph.output.insert(0, label);
    let imported = import(&model).unwrap();
    assert_eq!(shapes(&imported), ["[N,6]", "[N,4]"]);
    let chosen = imported.warnings.iter().find(|warning| warning.kind == WarningKind::ChosenOutput).unwrap();
    assert_eq!(chosen.names, ["y"]);
    // Scores from which scikit-learn's exporter makes a table of names.
    let mut table = model.clone();
    let graph = table.graph.as_mut().unwrap();
    let named = crate::models::text("classlabels_strings", "abcd");
    graph.node.push(NodeProto { domain: "ai.onnx.ml".into(), ..with(node("ZipMap", &["y"], "probabilities"), named) });
    graph.output[1] = ValueInfoProto { name: "probabilities".into(), ..Default::default() };
    assert_eq!(shapes(&import(&table).unwrap()), ["[N,6]", "[N,4]"]);
    // Of several, those of fractions stand first in the question.
    let graph = model.graph.as_mut().unwrap();
    graph.output.push(info("x", &[0, 6]));
    assert_eq!(type_of(&mut graph.output[1]).elem_type, FLOAT);
    let message = error(&model);
    assert!(
        message.contains("3 outputs, `y` [N,4], `x` [N,6], `label` [N,1]: say which one is trained, --output y"),
        "{message}"
    );
}

#[test]
fn sizes_that_the_weights_fix_need_not_be_given() {
    let note = |imported: &Imported| {
        let found = imported.warnings.iter().find(|warning| warning.kind == WarningKind::FixedSizes);
        found.map(|warning| (warning.kind.is_note(), warning.to_string()))
    };
    let product = || (vec![node("MatMul", &["x", "w"], "y")], vec![floats("w", &[6, 4], 24)]);
    let (nodes, weights) = product();
    let imported = import(&of(named("x", &["batch", "features"]), nodes, weights)).unwrap();
    assert_eq!(shapes(&imported), ["[N,6]", "[N,4]"]);
    assert_eq!(note(&imported), Some((true, "1 variable size is fixed by the weights: `features=6`".to_string())));
    // A vector whose size is called the batch.
    let (nodes, weights) = product();
    let imported = import(&of(named("x", &["batch"]), nodes, weights)).unwrap();
    assert_eq!(shapes(&imported), ["[1,6]", "[1,4]"]);
    let all = vec![node("Reshape", &["x", "all"], "f"), node("MatMul", &["w", "f"], "y")];
    let imported = import(&of(named("x", &["n"]), all, vec![floats("w", &[4, 6], 24), whole("all", &[6, 1])])).unwrap();
    assert_eq!(shapes(&imported)[0], "[1,6]");
    // Channels of a convolution in two groups; the other sizes stay open.
    let conv = with(node("Conv", &["x", "w"], "y"), int("group", 2));
    let open = of(named("x", &["n", "c", "h", "8"]), vec![conv], vec![floats("w", &[4, 3, 1, 1], 12)]);
    let message = error(&open);
    assert!(message.contains("beside the batch `n`: give --dim h=SIZE (one"), "{message}");
    let sizes = [("h".to_string(), 5)].into();
    let imported = with_options(&open, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap();
    assert_eq!(shapes(&imported), ["[N,6,5,8]", "[N,4,5,8]"]);
    // One name for all sizes says nothing, and a size that is given stays.
    let (nodes, weights) = product();
    let same = of(named("x", &["n", "n"]), nodes, weights);
    assert!(error(&same).contains("give --dim x.1=SIZE"), "{}", error(&same));
    let (nodes, weights) = product();
    let sizes = [("features".to_string(), 5)].into();
    let other = of(named("x", &["batch", "features"]), nodes, weights);
    let message = with_options(&other, &ImportOptions { sizes, ..ImportOptions::default() }).unwrap_err();
    assert!(message.contains("5 against 6"), "{message}");
}

#[test]
fn a_size_that_fits_only_with_some_numbers_is_asked_for_with_one() {
    // States for one example beside a variable batch.
    let nodes = vec![node("RNN", &["x", "w", "r", "", "", "h"], "states"), node("Squeeze", &["states", "axes"], "y")];
    let weights = vec![floats("w", &[1, 4, 3], 12), floats("r", &[1, 4, 4], 16), whole("axes", &[1])];
    let mut states = of(named("x", &["7", "batch", "3"]), nodes, weights);
    states.graph.as_mut().unwrap().input.push(named("h", &["1", "1", "4"]));
    let message = error(&states);
    assert!(message.contains("the file can be read where the size `batch` is 1: give --dim batch=1"), "{message}");
    let sizes = [("batch".to_string(), 1)].into();
    assert!(with_options(&states, &ImportOptions { sizes, ..ImportOptions::default() }).is_ok());
    // Samples of sound, of which a window takes many.
    let nodes = vec![node("Unsqueeze", &["x", "zero"], "u"), node("Conv", &["u", "w"], "y")];
    let weights = vec![floats("w", &[4, 1, 400], 1600), whole("zero", &[1])];
    let message = error(&of(named("x", &["1", "samples"]), nodes, weights));
    assert!(message.contains("seems not to count examples: give --dim samples=SIZE, such as 1024"), "{message}");
}
