//! Networks and trainer files that cannot be used.

use crate::folder::{Folder, network};
use onnx_protobuf::tensor_shape_proto::dimension::Value;
use onnx_protobuf::type_proto::Value as Type;
use onnx_protobuf::{GraphProto, Message, ModelProto};

/// The small network after a change of its graph.
fn changed(change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::parse_from_bytes(&network()).unwrap();
    change(model.graph.mut_or_insert_default());
    model.write_to_bytes().unwrap()
}

fn set_input_dimension(graph: &mut GraphProto, axis: usize, size: i64) {
    let input = &mut graph.input[0];
    if let Some(Type::TensorType(ty)) = input.type_.mut_or_insert_default().value.as_mut() {
        ty.shape.mut_or_insert_default().dim[axis].value = Some(Value::DimValue(size));
    }
}

#[test]
fn files_that_are_no_networks() {
    let folder = Folder::new();
    folder.write("empty.onnx", b"");
    folder.write("text.onnx", b"This is no network, but a sentence.\n");
    std::fs::create_dir(folder.path("dir.onnx")).unwrap();
    for (file, words) in [
        ("missing.onnx", &["cannot read missing.onnx", "No such file"][..]),
        ("empty.onnx", &["cannot import empty.onnx", "empty"]),
        ("text.onnx", &["cannot import text.onnx", "this is not an ONNX file"]),
        ("dir.onnx", &["cannot read dir.onnx", "it is a folder"]),
    ] {
        for command in ["inspect", "assign", "compile -o out", "train --data digits --save out", "eval --data digits"] {
            folder.refused(&format!("{command} {file}"), words);
        }
    }
}

#[test]
fn graphs_that_cannot_be_trained() {
    let folder = Folder::new();
    let first_relu = |graph: &GraphProto| graph.node.iter().position(|n| n.op_type == "Relu").unwrap();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (
            changed(|graph| {
                let at = first_relu(graph);
                let later = graph.node[at + 3].output[0].clone();
                graph.node[at].input[0] = later;
            }),
            &["cycle", "`relu`"],
        ),
        (
            changed(|graph| {
                for (at, op) in [(0, "Erf"), (5, "Hardmax"), (9, "Hardmax")] {
                    graph.node[at].op_type = op.into();
                }
            }),
            &["Erf", "Hardmax", "`conv1`", "docs/onnx.md"],
        ),
        (changed(|graph| graph.output.clear()), &["the graph has no output"]),
        (changed(|graph| graph.input.clear()), &["no input apart from its initializers"]),
        (changed(|graph| set_input_dimension(graph, 2, 1 << 40)), &["input `input`", "dimension 2"]),
        (
            changed(|graph| set_input_dimension(graph, 3, -1)),
            &["variable sizes beside the batch", "--dim input.3=SIZE"],
        ),
        (changed(|graph| set_input_dimension(graph, 2, 1 << 30)), &["too large"]),
        (changed(|graph| set_input_dimension(graph, 1, 5)), &["conv1", "5"]),
        (changed(|graph| graph.initializer[0].dims[0] = 1 << 50), &["conv1.weight"]),
        (changed(|graph| graph.initializer[0].raw_data = vec![0; 7]), &["conv1.weight", "7"]),
        (changed(|graph| graph.node[3].input[0] = "nowhere".into()), &["nowhere"]),
        (changed(|graph| graph.node.clear()), &["logits"]),
    ];
    for (bytes, words) in cases {
        folder.write("bad.onnx", &bytes);
        folder.refused("assign bad.onnx", &[&["cannot import bad.onnx"], words].concat());
    }
}

#[test]
fn every_unsupported_node_is_named_at_once() {
    let folder = Folder::new();
    let mut names = Vec::new();
    let bytes = changed(|graph| {
        for node in graph.node.iter_mut().filter(|n| n.op_type == "MaxPool" || n.op_type == "Concat") {
            node.op_type = format!("{}Unknown", node.op_type);
            names.push(format!("`{}`", node.name));
        }
    });
    folder.write("bad.onnx", &bytes);
    // Of each operator at most five nodes are named and the rest counted: three pools, five of eight concatenations.
    assert_eq!(names.len(), 11);
    let run = folder.run("inspect bad.onnx");
    let named = names.iter().filter(|name| run.stderr.contains(*name)).count();
    assert_eq!(named, 8, "{}", run.stderr);
    folder.refused("inspect bad.onnx", &["MaxPoolUnknown", "ConcatUnknown", "and 3 more"]);
}

/// Lengths or positions spread over a file, its first and last ones among them.
fn spread(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let ends = (0..16.min(length)).chain(length.saturating_sub(16)..length);
    ends.chain((1..count).map(move |i| i * length / count))
}

#[test]
fn truncated_files_are_refused() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 -o net.trainer");
    for name in ["net.onnx", "net.trainer"] {
        let bytes = folder.read(name);
        for length in spread(bytes.len(), 48) {
            folder.write("bad", &bytes[..length]);
            folder.refused("inspect bad", &["bad"]);
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused_but_never_crash() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 -o net.trainer");
    for name in ["net.onnx", "net.trainer"] {
        let bytes = folder.read(name);
        let mut refused = 0;
        for (case, position) in spread(bytes.len(), 64).enumerate() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << (case % 8);
            folder.write("bad", &damaged);
            // A changed weight is a weight; everything else is noticed.
            let run = folder.run("inspect bad");
            if run.code == Some(0) {
                assert!(run.stdout.contains("parameters"), "{name} {position}");
            } else {
                folder.refused("inspect bad", &["bad"]);
                refused += 1;
            }
        }
        assert!(refused >= 8, "{name}: only {refused} refused");
    }
}

#[test]
fn a_trainer_file_fixes_its_options() {
    let folder = Folder::new();
    folder.succeed("compile net.onnx --batch 8 -o net.trainer");
    let options = ["--batch 8", "--method fp32", "--low-ratio 0.1", "--high fp16", "--low-forward 1-5-2"];
    for option in options {
        let flag = option.split(' ').next().unwrap();
        folder.refused(&format!("train net.trainer --data digits {option}"), &["net.trainer", "fixes", flag]);
        folder.refused(&format!("eval net.trainer --data digits {option}"), &["net.trainer", "fixes", flag]);
    }
    folder.refused(
        "train net.trainer --data digits --low-backward fp16 --optimizer sgd --momentum 0.5 --weight-decay 0",
        &["fixes --low-backward, --optimizer, --momentum, --weight-decay; compile the network again"],
    );
}
