//! Data that cannot be used.

use crate::folder::Folder;
use npyz::WriterBuilder;

/// Writes an npz file of FP32 arrays and 64-bit integer arrays.
pub(crate) fn npz(folder: &Folder, name: &str, floats: &[(&str, &[u64], &[f32])], integers: &[(&str, &[u64], &[i64])]) {
    let mut archive = npyz::npz::NpzWriter::create(folder.path(name)).unwrap();
    for (array, shape, values) in floats {
        let writer = archive.array(array, Default::default()).unwrap();
        let mut writer = writer.default_dtype().shape(shape).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
    }
    for (array, shape, values) in integers {
        let writer = archive.array(array, Default::default()).unwrap();
        let mut writer = writer.default_dtype().shape(shape).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
    }
}

const TRAIN: &str = "train net.onnx --batch 2 --steps 1 --save out.onnx --metrics m.jsonl";

#[test]
fn wrong_places_are_named() {
    let folder = Folder::new();
    let cases: &[(&str, &[&str])] = &[
        ("imagenet", &["unknown data `imagenet`", "digits, mnist:DIR"]),
        ("digits:8", &["digits are built in"]),
        ("mnist", &["write mnist:DIR"]),
        ("synthetic:0", &["from 1 to"]),
        ("mnist:nowhere", &["data folder nowhere does not exist"]),
        ("mnist:net.onnx", &["net.onnx is a file, not a folder"]),
        ("mnist:.", &["neither train-images-idx3-ubyte nor"]),
        ("cifar10:.", &["lacks data_batch_1.bin"]),
        ("cifar100:nowhere", &["data folder nowhere does not exist"]),
        ("npz:nowhere.npz", &["cannot read nowhere.npz"]),
        ("npz:net.onnx", &["net.onnx: it is not an npz file", "numpy.savez"]),
        ("npz:.", &[". is a folder, not an npz file", "npz:DIR/FILE.npz"]),
    ];
    for (data, words) in cases {
        folder.refused(&format!("{TRAIN} --data {data}"), words);
        folder.refused(&format!("eval net.onnx --json r.json --data {data}"), words);
    }
}

#[test]
fn wrong_arrays_are_named() {
    let folder = Folder::new();
    let x = vec![0.5; 4 * 768];
    let mut with_nan = x.clone();
    with_nan[3 * 768 + 7] = f32::NAN;
    let shape: &[u64] = &[4, 3, 16, 16];
    let good: (&str, &[u64], &[i64]) = ("y", &[4], &[0, 1, 2, 3]);
    npz(&folder, "good.npz", &[("x", shape, &x)], &[good]);
    npz(&folder, "no-x.npz", &[("images", shape, &x)], &[good]);
    npz(&folder, "no-y.npz", &[("x", shape, &x)], &[]);
    npz(&folder, "fewer-y.npz", &[("x", shape, &x)], &[("y", &[3], &[0, 1, 2])]);
    npz(&folder, "nan.npz", &[("x", shape, &with_nan)], &[good]);
    npz(&folder, "negative.npz", &[("x", shape, &x)], &[("y", &[4], &[0, -1, 2, 3])]);
    npz(&folder, "classes.npz", &[("x", shape, &x)], &[("y", &[4], &[0, 1, 2, 10])]);
    npz(&folder, "one-based.npz", &[("x", shape, &x)], &[("y", &[4], &[1, 10, 2, 3])]);
    npz(&folder, "last.npz", &[("x", &[4, 16, 16, 3], &x)], &[good]);
    npz(&folder, "wide.npz", &[("x", &[4, 3, 8, 32], &x)], &[good]);
    npz(&folder, "twelve.npz", &[("x", &[4, 12, 8, 8], &x)], &[good]);
    npz(&folder, "two-hot.npz", &[("x", shape, &x)], &[("y", &[4, 3], &[1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0])]);
    npz(&folder, "other-hot.npz", &[("x", shape, &x)], &[("y", &[4, 3], &[1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0])]);
    npz(&folder, "fraction.npz", &[("x", shape, &x), ("y", &[4], &[0.0, 1.0, 2.5, 3.0])], &[]);
    npz(&folder, "floats.npz", &[("x", shape, &x), ("y", &[4, 1], &[0.0, 1.0, 2.0, 3.0])], &[]);
    npz(&folder, "empty.npz", &[("x", &[0, 3, 16, 16], &[])], &[("y", &[0], &[])]);
    npz(&folder, "half-test.npz", &[("x", shape, &x), ("x_test", shape, &x)], &[good]);
    npz(&folder, "few.npz", &[("x", &[1, 3, 16, 16], &x[..768])], &[("y", &[1], &[0])]);
    let whole = folder.read("good.npz");
    folder.write("cut.npz", &whole[..whole.len() / 2]);
    let cases: &[(&str, &[&str])] = &[
        ("no-x", &["no array `x`", "images"]),
        ("no-y", &["no array `y`", "numpy.savez"]),
        ("fewer-y", &["x has shape [4, 3, 16, 16] (float32) and y [3] (int64)", "one label for each example"]),
        ("nan", &["x has NaN in example 3", "remove"]),
        ("negative", &["y holds -1 at example 1", "labels count from 0"]),
        (
            "classes",
            &["y holds 10 at example 3, but the network has 10 outputs and labels count from 0", "at least 11"],
        ),
        (
            "one-based",
            &[
                "y holds 10 at example 1",
                "labels count from 0, so the largest is 9",
                "count from 1: subtract 1 from each",
            ],
        ),
        ("wide", &["[3, 8, 32] (float32)", "`input` takes [3, 16, 16]", "images of 8x32", "--resize stretch"]),
        ("twelve", &["[12, 8, 8]", "12 channels cannot become 3", "store examples with 3 channels"]),
        ("two-hot", &["y has shape [4, 3] (int64) and is not one-hot: example 1 has [0, 1, 1]", "this one has 2"]),
        ("other-hot", &["one-hot labels of 3 classes, but the network has 10 outputs"]),
        ("fraction", &["y holds 2.5 at example 2", "whole numbers that count from 0"]),
        ("empty", &["holds nothing"]),
        ("half-test", &["x_test but no y_test"]),
        ("few", &["1 training example cannot fill a batch of 2"]),
        ("cut", &["cut.npz"]),
    ];
    for (name, words) in cases {
        folder.refused(&format!("{TRAIN} --data npz:{name}.npz"), words);
    }
    for name in ["good", "last", "floats"] {
        folder.succeed(&format!("{TRAIN} --data npz:{name}.npz --loss-scale 1"));
    }
}

fn idx(kind: u8, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|n| n.to_be_bytes()).collect();
    [&[0, 0, 8, kind], &sizes[..], bytes].concat()
}

#[test]
fn damaged_idx_files_are_named() {
    let folder = Folder::new();
    let (images, labels) = (idx(3, &[4, 8, 8], &[7; 256]), idx(1, &[4], &[0, 1, 2, 3]));
    let cases: Vec<(Vec<u8>, Vec<u8>, &[&str])> = vec![
        (images[..200].to_vec(), labels.clone(), &["train-images-idx3-ubyte", "truncated"]),
        ([&images[..], &[0]].concat(), labels.clone(), &["longer than it says"]),
        (labels.clone(), labels.clone(), &["train-images-idx3-ubyte", "starts with"]),
        (images[..6].to_vec(), labels.clone(), &["truncated or damaged"]),
        (Vec::new(), labels.clone(), &["train-images-idx3-ubyte"]),
        (idx(3, &[u32::MAX, u32::MAX, u32::MAX], &[]), labels.clone(), &["truncated"]),
        (images.clone(), idx(1, &[4], &[0, 1, 2, 10]), &["label 10 of image 3"]),
        (images.clone(), idx(1, &[3], &[0, 1, 2]), &["4 images", "3 labels"]),
        (b"\x1f\x8b\x08broken".to_vec(), labels.clone(), &["truncated or damaged"]),
    ];
    for (images, labels, words) in cases {
        folder.write("train-images-idx3-ubyte", &images);
        folder.write("train-labels-idx1-ubyte", &labels);
        folder.refused(&format!("{TRAIN} --data mnist:."), words);
    }
    folder.write("train-images-idx3-ubyte", &images);
    folder.write("train-labels-idx1-ubyte", &labels);
    folder.succeed(&format!("{TRAIN} --data mnist:."));
}
