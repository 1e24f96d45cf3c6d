//! Data that lie otherwise than the network takes them.

use crate::folder::Folder;
use std::path::Path;

/// The files of `tests/data`, which a script made.
fn folder() -> Folder {
    let folder = Folder::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    folder
}

/// The loss of both networks on all seven images, which the script computed in FP64.
const LOSS: f64 = 3.591284010;
const ACCURACY: f64 = 3.0 / 7.0;

const DATA: [&str; 5] = ["last", "last_big_endian", "first", "first_fortran", "first_floats"];

#[test]
fn every_layout_fits_every_network() {
    let folder = folder();
    for network in ["channels_last", "channels_first"] {
        // All examples count, however many a batch has.
        for (data, batch) in DATA.into_iter().zip([2, 3, 7, 100, 4]) {
            let eval = format!("eval {network}.onnx --data npz:{data}.npz --batch {batch} --json r.json");
            let told = folder.succeed(&eval).stderr;
            let record = folder.json("r.json");
            let loss = record["loss"].as_f64().unwrap();
            assert!((loss - LOSS).abs() < 4e-6, "{network} {data}: {loss}\n{told}");
            assert!((record["accuracy"].as_f64().unwrap() - ACCURACY).abs() < 1e-9, "{network} {data}");
            assert_eq!(record["examples"], 7);
            let differs = network.strip_prefix("channels_") != data.split('_').next();
            assert_eq!(differs, told.contains("laid out as"), "{network} {data}: {told}");
        }
    }
}

#[test]
fn grey_images_go_to_networks_that_take_channels_last() {
    let folder = folder();
    let eval = |options: &str| format!("eval channels_last.onnx --data digits {options}");
    folder.refused(
        &eval(""),
        &[
            "digits: examples have shape [1, 8, 8] (uint8), but the network's input `image` takes [6, 5, 3]",
            "images of 8x8 become 6x5 only with another aspect ratio",
            "--resize stretch to distort them, or --resize fit",
        ],
    );
    folder.refused(&eval("--resize none"), &["images of 8x8 are not 6x5", "--resize fit or stretch"]);
    folder.refused(&eval("--resize crop"), &["unknown way to resize `crop`", "auto, none, fit or stretch"]);
    folder.refused(&eval("--layout nhwc"), &["unknown layout `nhwc`", "auto, channels-first or channels-last"]);
    folder.refused(&eval("--layout channels-last"), &["--layout channels-last contradicts the images of this data"]);
    let stretched = folder.succeed(&eval("--resize stretch --json r.json")).stderr;
    for note in ["resized from 8x8 to 6x5", "repeated 3 times", "laid out as [6, 5, 3]"] {
        assert!(stretched.contains(note), "{stretched}");
    }
    assert_eq!(folder.json("r.json")["data"], "digits --resize stretch");
    let inside = folder.succeed(&eval("--resize fit")).stderr;
    assert!(
        inside.contains("resized from 8x8 to 5x5") && inside.contains("padded with zeros from 5x5 to 6x5"),
        "{inside}"
    );
}

#[test]
fn a_given_layout_that_cannot_be_is_refused_with_the_one_that_can() {
    let folder = folder();
    let eval = "eval channels_first.onnx --data npz:last.npz --layout";
    folder.refused(
        &format!("{eval} channels-first"),
        &[
            "last.npz: examples have shape [6, 5, 3] (float32)",
            "`image` takes [3, 6, 5]",
            "they do not fit with --layout channels-first, but with --layout channels-last",
        ],
    );
    folder.succeed(&format!("{eval} channels-last"));
}

/// The options of data are those of every command that takes data, and decide a comparison's results.
#[test]
fn all_commands_with_data_take_its_options() {
    let folder = folder();
    for command in [
        "train channels_first.onnx --steps 1 --quiet --batch 2",
        "profile channels_first.onnx -o p.json --batch 2",
        "bench channels_first.onnx --steps 1 --quiet --batch 2",
    ] {
        let command = format!("{command} --data digits");
        folder.refused(&command, &["only with another aspect ratio"]);
        folder.succeed(&format!("{command} --resize stretch"));
    }
    assert_eq!(folder.json("p.json")["settings"]["data"], "digits --resize stretch");
    let compare =
        "compare channels_first.onnx --methods fp32 --batch 2 --steps 1 --seeds 1 --data digits --json c.json --resize";
    let mut hashes = Vec::new();
    for resize in ["stretch", "fit"] {
        assert_eq!(folder.succeed(&format!("{compare} {resize}")).stderr.matches("kept from").count(), hashes.len());
        let question = &folder.json("c.json")["question"];
        assert_eq!(question["data"], format!("digits --resize {resize}"));
        hashes.push(question["data_hash"].as_str().unwrap().to_string());
    }
    assert_ne!(hashes[0], hashes[1]);
    folder.refused("compare channels_first.onnx --layout channels-last", &["--data <DATA>"]);
    let help = folder.succeed("compare --help").stdout;
    assert!(help.contains("--layout <LAYOUT>") && help.contains("--resize <HOW>"), "{help}");
    folder.succeed("train channels_first.onnx --steps 1 --batch 2 --data digits --resize fit --html page.html --quiet");
    let page = String::from_utf8(folder.read("page.html")).unwrap();
    assert!(page.contains("--data digits --resize fit --html page.html"), "the line to run it again has the options");
}

#[test]
fn channels_last_images_are_augmented_as_images() {
    let folder = folder();
    // The same crops and flips of the same images give the same losses.
    let losses = |network: &str, data: &str| {
        folder.succeed(&format!(
            "train {network}.onnx --data npz:{data}.npz --batch 3 --epochs 2 --lr 0.05 --augment --method fp32 --quiet --metrics m"
        ));
        let text = String::from_utf8(folder.read("m")).unwrap();
        let records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.iter().filter(|r| r["record"] == "step").map(|r| r["loss"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let expected = losses("channels_first", "first");
    assert_eq!(expected.len(), 4);
    for (network, data) in [("channels_first", "last"), ("channels_last", "first"), ("channels_last", "last")] {
        let found = losses(network, data);
        assert!(
            expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5 * a),
            "{network} {data}: {expected:?} {found:?}"
        );
    }
}

#[test]
fn what_epochs_leave_out_is_told() {
    let folder = folder();
    let train = "train channels_last.onnx --data npz:last.npz --batch 3";
    let told = folder.succeed(&format!("{train} --epochs 1")).stderr;
    assert!(told.contains("Each epoch leaves out 1 of the 7 training examples, too few for a batch of 3"), "{told}");
    let told = folder.succeed(&format!("{train} --steps 1")).stderr;
    assert!(!told.contains("leaves out"), "{told}");
    let told = folder.succeed("train channels_last.onnx --data npz:last.npz --batch 7 --epochs 1").stderr;
    assert!(!told.contains("leaves out"), "{told}");
}
