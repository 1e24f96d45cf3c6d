//! Files that cannot be imported: a clear error each, never a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod control;
mod dropout;
mod indices;
mod messages;
mod models;
mod recurrent;
mod weights;

use models::{error, external, floats, import, info, ints, model, node, relu, whole, with};
use onnx_protobuf::{Message, StringStringEntryProto, TensorProto};
use std::path::Path;

#[test]
fn external_data_is_read_from_the_models_folder_only() {
    let top = tempfile::tempdir().unwrap();
    let folder = top.path().join("model");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let data: Vec<u8> = [0.0f32, 1.5, -2.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(top.path().join("secret.bin"), &data).unwrap();
    std::fs::write(folder.join("w.bin"), &data).unwrap();
    std::fs::write(folder.join("sub/w.bin"), &data).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(top.path().join("secret.bin"), folder.join("link.bin")).unwrap();
    let read = |location: &str, more: &[(&str, &str)]| {
        let mut tensor = external(location);
        for (key, value) in more {
            let entry = StringStringEntryProto { key: key.to_string(), value: value.to_string(), ..Default::default() };
            tensor.external_data.push(entry);
        }
        let mut m = model(vec![node("Mul", &["x", "w"], "y")], vec![tensor]);
        m.graph.as_mut().unwrap().input[0] = info("x", &[0, 2]);
        let path = folder.join("model.onnx");
        std::fs::write(&path, m.write_to_bytes().unwrap()).unwrap();
        bitbudget_onnx::import(&path).map(|i| i.model.values["w"].clone()).map_err(|e| e.to_string())
    };
    assert_eq!(read("w.bin", &[("offset", "4"), ("length", "8")]), Ok(vec![1.5, -2.5]));
    assert_eq!(read("sub/w.bin", &[]), Ok(vec![0.0, 1.5]));
    let secret = top.path().join("secret.bin").display().to_string();
    let outside = ["../secret.bin", "sub/../../secret.bin", secret.as_str(), "", "..\\secret.bin"];
    let links: &[&str] = if cfg!(unix) { &["link.bin"] } else { &[] };
    for location in outside.iter().chain(links) {
        let message = read(location, &[]).unwrap_err();
        assert!(message.contains("outside the model's folder"), "{location}: {message}");
    }
    for (location, more, part) in [
        ("w.bin", ("offset", "8"), "truncated"),
        ("w.bin", ("offset", "18446744073709551615"), "truncated"),
        ("w.bin", ("length", "4"), "said to have 4"),
        ("w.bin", ("offset", "x"), "not a number"),
        ("missing.bin", ("offset", "0"), "cannot be read"),
        ("sub", ("offset", "0"), "is not a regular file"),
    ] {
        let message = read(location, &[more]).unwrap_err();
        assert!(message.contains(part), "{location} {more:?}: {message}");
    }
}

#[test]
fn damaged_bytes_are_errors_and_never_panic() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in [
        "conv",
        "batch_norm_14",
        "channel_shuffle",
        "slice_10",
        "gemm_alpha_beta",
        "control/nested_functions",
        "control/branches_in_functions",
        "control/steps_in_steps",
        "control/scan",
    ] {
        let bytes = std::fs::read(data.join(format!("{name}.onnx"))).unwrap();
        for end in 0..bytes.len() {
            let cut = bitbudget_onnx::import_bytes(&bytes[..end], None);
            assert!(cut.is_err(), "{name} cut at {end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 8] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(imported) = bitbudget_onnx::import_bytes(&damaged, None) {
                    assert_eq!(bitbudget_ir::verify(&imported.model.graph), Ok(()));
                }
            }
        }
    }
}

#[test]
fn hostile_nesting_is_refused() {
    // Groups, which the protobuf parser would follow without a limit.
    let groups = vec![0x0b; 1 << 20];
    assert!(bitbudget_onnx::import_bytes(&groups, None).unwrap_err().to_string().contains("wire type 3"));
    // Graphs in attributes in nodes in graphs.
    let mut bytes: Vec<u8> = Vec::new();
    for depth in 0..3000 {
        let tag = [0x3a, 0x0a, 0x2a, 0x32][if depth == 2999 { 0 } else { 1 + (2 - depth % 3) }];
        let mut outer = vec![tag];
        let mut length = bytes.len();
        while length > 127 {
            outer.push(length as u8 | 128);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.append(&mut bytes);
        bytes = outer;
    }
    assert!(bitbudget_onnx::import_bytes(&bytes, None).is_err());
    assert!(
        bitbudget_onnx::import(Path::new("/nowhere/model.onnx")).unwrap_err().to_string().contains("cannot be read")
    );
    assert!(
        bitbudget_onnx::import(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
}

#[test]
fn a_file_that_is_larger_than_a_protobuf_message_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let message = bitbudget_onnx::import(&path).unwrap_err().to_string();
    assert!(message.contains("external data"), "{message}");
}

#[test]
fn what_the_network_does_not_need_is_left_out() {
    let dead = vec![node("Foo", &["x"], "z"), node("Relu", &["x"], "y")];
    assert_eq!(import(&model(dead, vec![])).unwrap().model.graph.len(), 2);
}

#[test]
fn a_weight_may_have_as_many_elements_as_the_batch() {
    let nodes = vec![node("Expand", &["w", "s"], "e"), node("Conv", &["x", "e"], "y")];
    let mut fixed = model(nodes, vec![floats("w", &[4, 4, 1, 1], 16), whole("s", &[4, 1, 3, 3])]);
    fixed.graph.as_mut().unwrap().input[0] = info("x", &[4, 4, 6, 6]);
    let graph = import(&fixed).unwrap().model.graph;
    let (_, y) = graph.outputs().first().unwrap();
    assert_eq!(graph.ty(*y).shape.to_string(), "[N,4,4,4]");
}

#[test]
fn a_weight_in_the_making_reads_one_parameter() {
    let nodes = vec![
        with(node("ReduceMean", &["w"], "m"), ints("axes", &[1, 2, 3])),
        node("Sub", &["w", "m"], "c"),
        node("Conv", &["x", "c"], "t"),
        // Layers with weights of their own may have been merged.
        node("Conv", &["t", "w"], "y"),
    ];
    let graph = import(&model(nodes, vec![floats("w", &[4, 4, 1, 1], 16)])).unwrap().model.graph;
    assert_eq!(graph.ids().filter(|&id| graph.op(id).name() == "parameter").count(), 2);
}

#[test]
fn an_input_is_normalised_where_it_is_centred_and_divided() {
    let frozen = |nodes| {
        let tensors = ["a", "b"].map(|name| TensorProto {
            float_data: vec![1.0, 2.0, 3.0, 4.0],
            raw_data: vec![],
            ..floats(name, &[4, 1, 1], 4)
        });
        let imported = import(&model(nodes, tensors.to_vec())).unwrap();
        let trained = imported.model.graph.ids().filter(|&id| imported.model.graph.op(id).name() == "parameter");
        2 - trained.count()
    };
    let two = |first: &str, second: &str| vec![node(first, &["x", "a"], "t"), node(second, &["t", "b"], "y")];
    assert_eq!([frozen(two("Sub", "Div")), frozen(two("Sub", "Mul"))], [2, 2]);
    for (first, second) in [("Sub", "Add"), ("Div", "Sub"), ("Mul", "Sub"), ("Add", "Div"), ("Sub", "Sub")] {
        assert_eq!(frozen(two(first, second)), 0, "{first} {second}");
    }
    // What is centred is read again.
    let shortcut = [node("Sub", &["x", "a"], "t"), node("Div", &["t", "b"], "u"), node("Add", &["u", "t"], "y")];
    assert_eq!(frozen(shortcut.to_vec()), 0);
}

/// A scalar is a parameter by its name in files of PyTorch's older exporter; elsewhere a name without dots says too little.
#[test]
fn scalars_with_a_name_as_parameters_have_are_trained_or_named() {
    let imported = |name: &str, producer: &str| {
        let nodes = vec![node("Mul", &["x", name], "a"), node("Clip", &["a", "low", name], "y")];
        let mut file = model(nodes, vec![floats(name, &[], 1), floats("low", &[], 1)]);
        file.producer_name = producer.into();
        import(&file).unwrap()
    };
    let is_trained = |name: &str, producer: &str| {
        let graph = imported(name, producer).model.graph;
        graph.ids().any(|id| matches!(graph.op(id), bitbudget_ir::Op::Parameter(_)))
    };
    assert!(is_trained("scale", "pytorch") && is_trained("block.scale", "") && is_trained("/Mul.scale", "bitbudget"));
    // Factors that earlier versions of our own export wrote.
    assert!(!is_trained("a.by", "bitbudget") && is_trained("a.by", "pytorch"));
    for name in ["scale", "val_3", "onnx::Mul_3"] {
        assert!(!is_trained(name, ""), "{name}");
    }
    let noted = |name: &str| {
        imported(name, "").warnings.iter().any(|w| w.to_string().starts_with("1 scalar is taken as a constant"))
    };
    assert!(noted("scale") && !noted("val_3"));
}

#[test]
fn warnings_tell_what_is_lost() {
    let double = TensorProto { data_type: 11, raw_data: 0.1f64.to_le_bytes().to_vec(), ..floats("w", &[1], 1) };
    let nodes = vec![node("Mul", &["x", "w"], "a"), node("Dropout", &["a"], "y")];
    let warnings = import(&model(nodes, vec![double])).unwrap().warnings;
    assert_eq!(warnings[0].to_string(), "1 FP64 initializer was rounded to FP32: `w`");
    assert!(
        warnings[1]
            .to_string()
            .ends_with("in evaluation mode and left out: `the_dropout`; --dropout on trains with dropout")
    );
    let plain = import(&model(relu(), vec![])).unwrap().warnings;
    let nothing = "the network has no parameters, so there is nothing to train; export the network with its weights as initializers";
    assert_eq!(plain[0].to_string(), nothing);
    // A plain network with convolutions and biases is not suspected of lost batch normalisation.
    let vgg =
        model(vec![node("Conv", &["x", "w", "b"], "y")], vec![floats("w", &[2, 4, 3, 3], 72), floats("b", &[2], 2)]);
    assert_eq!(import(&vgg).unwrap().warnings, []);
    let folded = model(
        vec![node("Conv", &["x", "onnx::Conv_10", "onnx::Conv_11"], "y")],
        vec![floats("onnx::Conv_10", &[2, 4, 3, 3], 72), floats("onnx::Conv_11", &[2], 2)],
    );
    assert!(import(&folded).unwrap().warnings[0].to_string().contains("batch normalisation was lost"));
}

#[test]
fn backward_operators_have_no_form_in_onnx() {
    use bitbudget_ir::{Dim, Graph, Model, TensorType, ops};
    let mut graph = Graph::new("g");
    let x = graph.source(ops::Input { name: "x".into(), target: false }, TensorType::f32([Dim::BATCH, Dim::fixed(3)]));
    let y = graph.add_named(ops::ReluGrad {}, &[x, x], "backward").unwrap();
    graph.set_output("y", y);
    let error = bitbudget_onnx::export_bytes(&Model { graph, values: Default::default() }).unwrap_err();
    assert!(error.to_string().contains("`backward` (relu_grad): it has no form in ONNX"), "{error}");
}

#[test]
fn stated_sizes_need_no_batch() {
    let mut m = model(
        vec![node("Sub", &["a", "b"], "y"), node("Shape", &["y"], "size"), node("Relu", &["ids"], "z")],
        vec![floats("unread", &[2], 2)],
    );
    let graph = m.graph.as_mut().unwrap();
    graph.input = vec![info("a", &[2, 3]), info("b", &[3])];
    graph.output = vec![info("y", &[2, 3]), info("size", &[2])];
    let stated = |m: &onnx_protobuf::ModelProto| bitbudget_onnx::import_stated(&m.write_to_bytes().unwrap());
    let imported = stated(&m).unwrap().model;
    let shapes: Vec<String> =
        imported.graph.outputs().iter().map(|(name, id)| format!("{name} {}", imported.graph.ty(*id).shape)).collect();
    assert_eq!(shapes, ["y [2,3]", "size [2]"]);
    assert_eq!(imported.values["size"], [2.0, 3.0]);
    // An output whose input is missing, and a size without a number.
    let graph = m.graph.as_mut().unwrap();
    graph.output.push(info("z", &[2]));
    graph.input[0] = info("a", &[0, 3]);
    let message = stated(&m).unwrap_err().to_string();
    for part in ["input `a`: its dimension 0 is not a number", "it reads `ids`"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_right_for_one_batch_size_keeps_it() {
    let fixed = |nodes, initializer| {
        let mut model = model(nodes, initializer);
        let graph = model.graph.as_mut().unwrap();
        (graph.input[0], graph.output[0]) = (info("x", &[8, 6]), info("y", &[8, 6]));
        model
    };
    let add = || vec![node("Add", &["x", "w"], "y")];
    let imported = import(&fixed(add(), vec![floats("w", &[8, 6], 48)])).unwrap();
    assert_eq!(imported.model.graph.fixed_batch(), Some(8));
    let warnings: Vec<String> = imported.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|w| w.contains("takes 8 examples at a time, no other number")), "{warnings:?}");
    // One that is right for any size takes any.
    let imported = import(&fixed(add(), vec![floats("w", &[6], 6)])).unwrap();
    assert_eq!(imported.model.graph.fixed_batch(), None);
    // What is wrong for that size too is told for any.
    let message = error(&fixed(add(), vec![floats("w", &[5], 5)]));
    assert!(message.contains("[N,6] and [5] do not broadcast"), "{message}");
}
