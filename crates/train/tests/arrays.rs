//! Examples as named arrays of an npz file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use std::io::Write;
use std::path::Path;

use bitbudget_program::Loss;
use bitbudget_train::batches::{ArrayEpochs, Batch, Batches, Numbers, TrainOptions, array_batches};
use bitbudget_train::data::{Arrays, Interface, Port};
use bitbudget_train::examples::Examples;
use zip::write::{SimpleFileOptions, ZipWriter};

/// An npy array of little-endian elements.
fn npy(descr: &str, shape: &[usize], body: &[u8]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.join(" "));
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(body);
    bytes
}

fn floats(shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn integers(shape: &[usize], numbers: &[i64]) -> Vec<u8> {
    npy("<i8", shape, &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn port(name: &str, integers: bool, shape: &[usize], axis: Option<usize>) -> Port {
    Port { name: name.into(), integers, below: None, shape: shape.to_vec(), axis }
}

/// Time first, tokens, and an array that is the same for all examples; a class for each of two tokens.
fn interface() -> Interface {
    Interface {
        inputs: vec![
            port("series", false, &[2, 1], Some(1)),
            Port { below: Some(20), ..port("tokens", true, &[1, 2], Some(0)) },
            port("table", false, &[3], None),
        ],
        targets: vec![port("labels", true, &[1, 2], Some(0))],
        loss: Loss::default(),
        classes: 4,
    }
}

/// Three examples.
fn arrays() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("series", floats(&[2, 3], &[0.0, 1.0, 2.0, 10.0, 11.0, 12.0])),
        ("tokens", integers(&[3, 2], &[5, 6, 7, 8, 9, 10])),
        ("table", floats(&[3], &[0.5, 1.5, 2.5])),
        ("y", integers(&[3, 2], &[0, 255, 1, 2, -100, 3])),
    ]
}

fn load(arrays: &[(&str, Vec<u8>)]) -> Result<Arrays, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    npz(&path, arrays);
    Arrays::load(&path, &interface(), Some(255)).map_err(|error| error.to_string())
}

fn whole(batch: &Batch, name: &str) -> Vec<i32> {
    match &batch.arrays[name].numbers {
        Numbers::Integers(numbers) => numbers.clone(),
        Numbers::F32(numbers) => numbers.iter().map(|&x| x as i32).collect(),
    }
}

#[test]
fn arrays_that_the_network_does_not_take_are_named() {
    let mut more = arrays();
    let note = |arrays: &[(&str, Vec<u8>)]| load(arrays).unwrap().notes.into_iter().find(|note| note.contains("take"));
    assert_eq!(note(&more), None);
    more.push(("tabel", floats(&[3], &[0.0; 3])));
    assert_eq!(note(&more).unwrap(), "Arrays that the network does not take: `tabel`.");
}

#[test]
fn examples_lie_along_the_dimension_that_grows() {
    let arrays = load(&arrays()).unwrap();
    let mut batches = array_batches(&arrays, 2).unwrap();
    let mut batch = Batch::default();
    assert!(batches.next_into(&mut batch).unwrap());
    assert_eq!((batch.arrays["series"].shape.as_slice(), batch.valid), (&[2, 2][..], 2));
    assert_eq!(whole(&batch, "series"), [0, 1, 10, 11]);
    assert_eq!(whole(&batch, "tokens"), [5, 6, 7, 8]);
    assert_eq!((whole(&batch, "table"), batch.arrays["table"].shape.as_slice()), (vec![0, 1, 2], &[3][..]));
    // What is ignored, and what is negative, does not count.
    assert_eq!(batch.classes().unwrap(), [0, -1, 1, 2]);
    // The last batch is filled up.
    assert!(batches.next_into(&mut batch).unwrap());
    assert_eq!((whole(&batch, "series"), batch.valid), (vec![2, 0, 12, 10], 1));
    assert_eq!(batch.examples, [2, 0]);
    assert!(!batches.next_into(&mut batch).unwrap());
}

/// `x` stands for the only input where no array has its name: another network of the file may have had an input `x`.
#[test]
fn an_array_of_the_inputs_own_name_comes_first() {
    let interface = Interface { inputs: vec![port("table", false, &[1, 2], Some(0))], ..interface() };
    let first = |names: &[&str]| {
        let mut arrays = vec![("y", integers(&[2, 2], &[0, 1, 2, 3]))];
        arrays.extend(names.iter().map(|&name| match name {
            "x" => ("x", floats(&[2, 5], &[9.0; 10])),
            name => (name, floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        npz(&path, &arrays);
        let arrays = Arrays::load(&path, &interface, None).map_err(|error| error.to_string())?;
        let mut batch = Batch::default();
        array_batches(&arrays, 1).unwrap().next_into(&mut batch).unwrap();
        Ok::<_, String>(whole(&batch, "table"))
    };
    assert_eq!(first(&["x", "table"]), Ok(vec![1, 2]));
    assert!(first(&["x"]).unwrap_err().contains("array `x` has shape [2, 5]"));
}

#[test]
fn every_epoch_has_another_order_and_whole_batches() {
    let arrays = load(&arrays()).unwrap();
    let options = |shuffle| TrainOptions { batch: 1, seed: 3, shuffle, augment: false };
    let orders = |options: TrainOptions, epochs: u64| -> Vec<Vec<u32>> {
        let epochs_of = ArrayEpochs::new(&arrays, options).unwrap();
        let order = |epoch| {
            let (mut batches, mut batch, mut order) = (epochs_of.epoch(epoch).unwrap(), Batch::default(), Vec::new());
            while batches.next_into(&mut batch).unwrap() {
                order.push(batch.examples[0]);
            }
            order
        };
        (0..epochs).map(order).collect()
    };
    assert_eq!(orders(options(false), 2), [[0, 1, 2], [0, 1, 2]]);
    let mut shuffled = orders(options(true), 8);
    assert_eq!(shuffled, orders(options(true), 8));
    shuffled.sort();
    shuffled.dedup();
    assert!(shuffled.len() > 1);
    let two = ArrayEpochs::new(&arrays, TrainOptions { batch: 2, ..options(false) }).unwrap();
    assert_eq!(two.steps().unwrap(), 1);
    let error = ArrayEpochs::new(&arrays, TrainOptions { batch: 4, ..options(false) }).unwrap_err().to_string();
    assert!(error.contains("3 training examples cannot fill a batch of 4"), "{error}");
}

#[test]
fn everything_that_does_not_fit_is_named() {
    let with = |name: &str, array: Vec<u8>| {
        let mut all = arrays();
        all.iter_mut().filter(|(other, _)| *other == name).for_each(|(_, bytes)| *bytes = array.clone());
        load(&all).unwrap_err()
    };
    let without = |names: &[&str]| {
        load(&arrays().into_iter().filter(|(name, _)| !names.contains(name)).collect::<Vec<_>>()).unwrap_err()
    };
    for (message, parts) in [
        (without(&["series", "y"]), &["there is no array `series`, `y` (the file has: tokens, table)"][..]),
        (with("series", floats(&[2, 2], &[0.0; 4])), &["array `tokens` has 3 examples where others have 2 examples"]),
        (with("tokens", integers(&[3, 3], &[0; 9])), &["`tokens` has shape [3, 3]", "whole numbers of shape [N, 2]"]),
        (with("tokens", floats(&[3, 2], &[0.5; 6])), &["`tokens` holds 0.5 at element 0"]),
        (
            with("tokens", integers(&[3, 2], &[0, 1, 2, 19, 20, 1])),
            &["`tokens` holds 20 at element 4 (example 2), but the network takes whole numbers from 0 to 19"],
        ),
        (with("tokens", integers(&[3, 2], &[0, 19, -1, 0, 0, 0])), &["`tokens` holds -1 at element 2 (example 1)"]),
        (with("y", integers(&[3, 1], &[0; 3])), &["array `y` has shape [3, 1]"]),
        (with("y", integers(&[3, 2], &[-1, 255, -1, -1, -100, 255])), &["every label is ignored"]),
        (with("tokens", integers(&[3, 2], &[1 << 25; 6])), &["`tokens` holds 33554432"]),
        (with("table", floats(&[2], &[0.0; 2])), &["`table` has shape [2], the network takes numbers of shape [3]"]),
        (with("series", floats(&[2, 3], &[f32::NAN; 6])), &["`series` holds NaN"]),
        (
            with("y", integers(&[3, 2], &[0, 1, 2, 3, 4, 0])),
            &["label 4 at element 4 is too large: the network has 4 classes"],
        ),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn bytes_of_inputs_are_divided_and_those_of_targets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    npz(&path, &[("image", npy("|u1", &[2, 2], &[0, 51, 102, 255])), ("y", npy("|u1", &[2, 1], &[7, 255]))]);
    let (inputs, targets) = (vec![port("image", false, &[1, 2], Some(0))], vec![port("out", false, &[1, 1], Some(0))]);
    let arrays =
        Arrays::load(&path, &Interface { inputs, targets, loss: Loss::MeanSquared, classes: 0 }, None).unwrap();
    let (mut batch, mut batches) = (Batch::default(), array_batches(&arrays, 2).unwrap());
    assert!(bitbudget_train::batches::Batches::next_into(&mut batches, &mut batch).unwrap());
    assert_eq!(batch.arrays["image"].numbers, Numbers::F32(vec![0.0, 0.2, 0.4, 1.0]));
    assert_eq!(batch.arrays["out"].numbers, Numbers::F32(vec![7.0, 255.0]));
    assert!(arrays.notes[0].starts_with("image holds bytes: they are divided by 255"), "{:?}", arrays.notes);
    assert!(arrays.notes[1].starts_with("y holds bytes: as targets they are used as they are"), "{:?}", arrays.notes);
}
