//! Data files: synthetic ones of each format, damaged ones, and real ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use bitbudget_train::data::{DataSpec, Dataset, Fitting, Images, Layout, Network, Split, fit, load};
use bitbudget_train::{Error, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

fn network(shape: &[usize], classes: usize) -> Network {
    Network { input: "input".into(), shape: shape.to_vec(), labels: "labels".into(), classes }
}

fn read(spec: DataSpec) -> Result<Dataset, Error> {
    load(&spec, &network(&[3, 32, 32], 10), 0, None)
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

#[track_caller]
fn assert_error(result: Result<Dataset, Error>, kind: ErrorKind, parts: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    }
}

fn idx(magic: u32, shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(shape);
    words.flat_map(|word| word.to_be_bytes()).chain(bytes.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_files_plain_dotted_and_compressed() {
    let pixels: Vec<u8> = (0..24).collect();
    let images = idx(0x803, &[4, 2, 3], &pixels);
    let labels = idx(0x801, &[4], &[1, 0, 9, 2]);
    let test_images = idx(0x803, &[1, 2, 3], &[7; 6]);
    let test_labels = idx(0x801, &[1], &[3]);
    let plain = folder(&[
        ("train-images-idx3-ubyte", images.clone()),
        ("train-labels-idx1-ubyte", labels.clone()),
        ("t10k-images-idx3-ubyte", test_images.clone()),
        ("t10k-labels-idx1-ubyte", test_labels.clone()),
    ]);
    let other = folder(&[
        ("train-images.idx3-ubyte.gz", gzip(&images)),
        ("train-labels.idx1-ubyte", labels.clone()),
        ("t10k-images-idx3-ubyte.gz", gzip(&test_images)),
        ("t10k-labels.idx1-ubyte.gz", gzip(&test_labels)),
    ]);
    let data = read(DataSpec::Mnist(plain.path().into())).unwrap();
    assert_eq!(data, read(DataSpec::Mnist(other.path().into())).unwrap());
    assert_eq!((data.shape, data.classes), (vec![1, 2, 3], 10));
    assert_eq!((data.train.images, data.train.labels), (Images::U8(pixels), vec![1, 0, 9, 2]));
    assert_eq!(data.test.unwrap().labels, [3]);
    // The mean of 0..24 and the variance (24^2 - 1) / 12.
    assert!((data.normalization.mean[0] - 11.5 / 255.0).abs() < 1e-7);
    assert!((f64::from(data.normalization.std[0]) - (575.0f64 / 12.0).sqrt() / 255.0).abs() < 1e-7);

    let train_only = folder(&[("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)]);
    let data = read(DataSpec::Mnist(train_only.path().into())).unwrap();
    assert!(data.test.is_none() && data.notes[0].contains("no test examples"));
}

#[test]
fn damaged_idx_files_are_told() {
    let images = idx(0x803, &[2, 2, 2], &[0; 8]);
    let labels = idx(0x801, &[2], &[0, 1]);
    let zipped = gzip(&images);
    let mut flipped = zipped.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    for (images, labels, kind, part) in [
        (images[..23].to_vec(), labels.clone(), ErrorKind::Corrupt, "truncated"),
        (images[..9].to_vec(), labels.clone(), ErrorKind::Corrupt, "truncated"),
        (Vec::new(), labels.clone(), ErrorKind::Corrupt, "truncated"),
        (zipped[..zipped.len() - 9].to_vec(), labels.clone(), ErrorKind::Corrupt, "truncated"),
        (flipped, labels.clone(), ErrorKind::Corrupt, "damaged"),
        (idx(0x803, &[2, 2, 2], &[0; 9]), labels.clone(), ErrorKind::Corrupt, "longer than it says"),
        (idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[0; 9]), labels.clone(), ErrorKind::Corrupt, "truncated"),
        (idx(0x803, &[0, 2, 2], &[]), labels.clone(), ErrorKind::Corrupt, "no elements"),
        (idx(0xd03, &[2, 2, 2], &[0; 32]), labels.clone(), ErrorKind::Corrupt, "0x00000d03"),
        (labels.clone(), images.clone(), ErrorKind::Corrupt, "rank 3"),
        (images.clone(), idx(0x801, &[2], &[0, 10]), ErrorKind::Corrupt, "label 10 of image 1"),
        (images.clone(), idx(0x801, &[3], &[0, 1, 2]), ErrorKind::Mismatch, "3 labels"),
    ] {
        let folder = folder(&[("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)]);
        assert_error(read(DataSpec::Mnist(folder.path().into())), kind, &["train-", part]);
    }
}

#[test]
fn missing_idx_files_are_named() {
    let train = [
        ("train-images-idx3-ubyte", idx(0x803, &[1, 2, 2], &[0; 4])),
        ("train-labels-idx1-ubyte", idx(0x801, &[1], &[0])),
    ];
    let empty = folder(&[]);
    assert_error(read(DataSpec::Mnist(empty.path().into())), ErrorKind::NotFound, &["train-images-idx3-ubyte"]);
    assert_error(read(DataSpec::Mnist("no/such".into())), ErrorKind::NotFound, &["no/such does not exist"]);
    let half = folder(&train[..1]);
    assert_error(read(DataSpec::Mnist(half.path().into())), ErrorKind::NotFound, &["lacks train-labels"]);
    let file = half.path().join(train[0].0);
    assert_error(read(DataSpec::Mnist(file)), ErrorKind::NotFound, &["unpack it"]);
    let mut files = train.to_vec();
    files.push(("t10k-labels-idx1-ubyte", idx(0x801, &[1], &[0])));
    let lacking = folder(&files);
    assert_error(read(DataSpec::Mnist(lacking.path().into())), ErrorKind::NotFound, &["lacks t10k-images"]);
    files.push(("t10k-images-idx3-ubyte", idx(0x803, &[1, 2, 3], &[0; 6])));
    let other = folder(&files);
    assert_error(read(DataSpec::Mnist(other.path().into())), ErrorKind::Mismatch, &["2x2", "2x3"]);
}

#[test]
fn real_mnist_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/mnist10k");
    if !folder.exists() {
        eprintln!("skipped: {} is absent", folder.display());
        return;
    }
    let data = read(DataSpec::Mnist(folder)).unwrap();
    let test = data.test.as_ref().unwrap();
    assert_eq!((data.train.len(), test.len()), (8000, 2000));
    let mut histogram = [0; 10];
    for &label in data.train.labels.iter().chain(&test.labels) {
        histogram[label as usize] += 1;
    }
    // Ten thousand digits of MNIST: each class has between 8 and 12 per cent.
    assert!(histogram.iter().all(|&count| (800..1200).contains(&count)), "{histogram:?}");
    // What is known of the whole of MNIST: mean 0.1307, deviation 0.3081.
    assert!((data.normalization.mean[0] - 0.1307).abs() < 0.005, "{:?}", data.normalization);
    assert!((data.normalization.std[0] - 0.3081).abs() < 0.005, "{:?}", data.normalization);
    let fitted = fit(data, &network(&[3, 32, 32], 10), Fitting::default()).unwrap();
    assert_eq!(fitted.train.images.len(), 8000 * 3 * 32 * 32);
    assert_eq!(fitted.notes.len(), 2);
}

fn cifar_record(labels: &[u8], seed: u8) -> Vec<u8> {
    let pixels = (0..3072usize).map(|i| seed.wrapping_add((i / 1024) as u8));
    labels.iter().copied().chain(pixels).collect()
}

#[test]
fn cifar_files_in_their_folder_or_its_parent() {
    let batch = |k: u8| [cifar_record(&[k], k), cifar_record(&[9 - k], 10 * k)].concat();
    let names: Vec<String> = (1..=5).map(|k| format!("cifar-10-batches-bin/data_batch_{k}.bin")).collect();
    let mut files: Vec<(&str, Vec<u8>)> = names.iter().zip(1..).map(|(name, k)| (name.as_str(), batch(k))).collect();
    files.push(("cifar-10-batches-bin/test_batch.bin", cifar_record(&[7], 0)));
    files.push(("cifar-100-binary/train.bin", [cifar_record(&[19, 99], 3), cifar_record(&[0, 42], 4)].concat()));
    files.push(("cifar-100-binary/test.bin", cifar_record(&[5, 6], 1)));
    let folder = folder(&files);
    let data = read(DataSpec::Cifar10(folder.path().into())).unwrap();
    assert_eq!(data, read(DataSpec::Cifar10(folder.path().join("cifar-10-batches-bin"))).unwrap());
    assert_eq!(data.train.labels, [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]);
    assert_eq!(data.test.as_ref().unwrap().labels, [7]);
    let Images::U8(bytes) = &data.train.images else { panic!("bytes") };
    // Third image: channels of 2, 3 and 4.
    assert_eq!([bytes[2 * 3072], bytes[2 * 3072 + 1023], bytes[2 * 3072 + 1024], bytes[3 * 3072 - 1]], [2, 2, 3, 4]);
    assert_eq!((data.normalization.mean.len(), data.shape), (3, vec![3, 32, 32]));

    let data = read(DataSpec::Cifar100(folder.path().into())).unwrap();
    assert_eq!((data.train.labels, data.classes), (vec![99, 42], 100));
    assert_eq!(data.test.unwrap().labels, [6]);
}

#[test]
fn damaged_cifar_files_are_told() {
    let whole = cifar_record(&[1], 0);
    for (batch, part) in [
        (whole[..3000].to_vec(), "records of 3073 bytes"),
        (Vec::new(), "records of 3073 bytes"),
        (cifar_record(&[10], 0), "label 10 of record 0"),
    ] {
        let names: Vec<String> = (1..=5).map(|k| format!("data_batch_{k}.bin")).collect();
        let mut files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), whole.clone())).collect();
        files[3].1 = batch;
        let folder = folder(&files);
        assert_error(read(DataSpec::Cifar10(folder.path().into())), ErrorKind::Corrupt, &["data_batch_4.bin", part]);
    }
    let some = folder(&[("data_batch_1.bin", whole.clone()), ("data_batch_3.bin", whole)]);
    let missing = "lacks data_batch_2.bin, data_batch_4.bin, data_batch_5.bin";
    assert_error(read(DataSpec::Cifar10(some.path().into())), ErrorKind::NotFound, &[missing]);
    let python = folder(&[("cifar-10-batches-py/batches.meta", vec![1])]);
    assert_error(read(DataSpec::Cifar10(python.path().into())), ErrorKind::NotFound, &["get the binary version"]);
    let coarse = folder(&[("train.bin", cifar_record(&[20, 3], 0))]);
    assert_error(read(DataSpec::Cifar100(coarse.path().into())), ErrorKind::Corrupt, &["label 20", "cifar100"]);
}

/// An array of the npy format, version 1.
fn npy(descr: &str, shape: &str, body: Vec<u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &body].concat()
}

fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn integers(shape: &str, values: &[i64]) -> Vec<u8> {
    npy("<i8", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn npz(method: CompressionMethod, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        writer.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn npz_file(bytes: Vec<u8>) -> (TempDir, PathBuf) {
    let folder = folder(&[("data.npz", bytes)]);
    let path = folder.path().join("data.npz");
    (folder, path)
}

fn read_npz(method: CompressionMethod, arrays: &[(&str, Vec<u8>)]) -> Result<Dataset, Error> {
    let (_folder, path) = npz_file(npz(method, arrays));
    load(&DataSpec::Npz(path), &network(&[2], 10), 0, None)
}

#[test]
fn npz_of_numpy_itself() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/numpy.npz");
    let data = read(DataSpec::Npz(path)).unwrap();
    let expected: Vec<f32> = (0..30).map(|i| i as f32 / 8.0 - 1.0).collect();
    let test = data.test.unwrap();
    assert_eq!(test.images, Images::F32(expected[..12].iter().map(|value| value + 0.25).collect()));
    assert_eq!(test.labels, [2, 0]);
    assert_eq!((data.train.images, data.train.labels), (Images::F32(expected), vec![0, 1, 2, 1, 0]));
    assert_eq!((data.shape, data.classes), (vec![2, 3], 3));
}

#[test]
fn npz_stored_deflated_and_by_steps() {
    let x: Vec<f32> = (0..12).map(|i| i as f32 * 1e-3 - 0.1).collect();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let arrays = [("x", floats("6, 2", &x)), ("y", integers("6,", &[0, 1, 2, 3, 4, 5]))];
        let flat = read_npz(method, &arrays).unwrap();
        assert_eq!(flat.train.images, Images::F32(x.clone()));
        assert_eq!((&flat.shape, flat.classes, flat.test.is_none()), (&vec![2], 6, true));
        let arrays = [("x", floats("2, 3, 2", &x)), ("y", floats("2, 3", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))];
        let steps = read_npz(method, &arrays).unwrap();
        assert_eq!((steps.train, steps.shape), (flat.train, flat.shape));
        assert!(steps.notes[0].contains("2 steps of 3"), "{:?}", steps.notes);
    }
    let arrays = [("x", npy("|u1", "2, 2", vec![0, 51, 102, 255])), ("y", npy("|u1", "2,", vec![1, 0]))];
    let bytes = read_npz(CompressionMethod::Stored, &arrays).unwrap();
    assert_eq!((bytes.normalization.divisor, &bytes.normalization.mean), (255.0, &vec![0.0]));
    assert!(bytes.notes.iter().any(|note| note.contains("bytes from 0 to 255: they are divided by 255")));
    for (x, part) in [
        (npy("|u1", "2, 2", vec![0, 1, 1, 0]), "stored as floats they would be used as they are"),
        (floats("2, 2", &[0.0, 200.0, 3.0, 255.0]), "float32 values from 0 to 255: they are used as they are, without"),
        (floats("2, 2", &[0.0, 200.0, 3.0, 255.0]), "stored as uint8 they would be divided by 255"),
    ] {
        let data = read_npz(CompressionMethod::Stored, &[("x", x), ("y", integers("2,", &[0, 1]))]).unwrap();
        assert!(data.notes.iter().any(|note| note.contains(part)), "{:?}", data.notes);
    }
}

#[test]
fn labels_are_class_numbers_one_hot_or_a_column() {
    let x = || ("x", floats("3, 2", &[0.0; 6]));
    let one_hot = |shape: &str, kind: &str, bytes: Vec<u8>| read_three(vec![x(), ("y", npy(kind, shape, bytes))]);
    for (arrays, noted) in [
        (one_hot("3, 3", "|u1", vec![0, 1, 0, 0, 0, 1, 1, 0, 0]), "one-hot"),
        (one_hot("3, 3", "|b1", vec![0, 1, 0, 0, 0, 1, 1, 0, 0]), "one-hot"),
        (read_three(vec![x(), ("y", floats("3, 3", &[0.0, 1.0, 0.0, 0.0, -0.0, 1.0, 1.0, 0.0, 0.0]))]), "one-hot"),
        (read_three(vec![x(), ("y", integers("3, 1", &[1, 2, 0]))]), "only column"),
        (read_three(vec![x(), ("y", floats("3, 1, 1", &[1.0, 2.0, 0.0]))]), "only column"),
        (read_three(vec![x(), ("y", floats("3,", &[1.0, 2.0, 0.0]))]), "no test examples"),
    ] {
        let data = arrays.unwrap();
        assert_eq!((data.train.labels, data.classes), (vec![1, 2, 0], 3), "{noted}");
        assert!(data.notes.iter().any(|note| note.contains(noted)), "{:?}", data.notes);
    }
    // Some class may have no example.
    let data = one_hot("3, 3", "|u1", vec![1, 0, 0, 0, 1, 0, 1, 0, 0]).unwrap();
    assert_eq!((data.train.labels, data.classes), (vec![0, 1, 0], 3));
    let booleans = read_three(vec![x(), ("y", npy("|b1", "3,", vec![0, 1, 1]))]).unwrap();
    assert_eq!(booleans.train.labels, [0, 1, 1]);
    assert!(booleans.notes[0].contains("False is class 0"), "{:?}", booleans.notes);
    let from_one = read_three(vec![x(), ("y", integers("3,", &[1, 2, 1]))]).unwrap();
    assert!(from_one.notes.iter().any(|note| note.contains("No label of y is 0")), "{:?}", from_one.notes);
    // Images of three channels with three classes are not steps of three grey images.
    let images = vec![("x", floats("4, 3, 2, 2", &[0.5; 48])), ("y", floats("4, 3", &[1.0, 0.0, 0.0].repeat(4)))];
    let (_folder, path) = npz_file(npz(CompressionMethod::Stored, &images));
    let data = load(&DataSpec::Npz(path), &network(&[3, 2, 2], 3), 0, None).unwrap();
    assert_eq!((data.shape, data.train.labels), (vec![3, 2, 2], vec![0; 4]));
}

fn read_three(arrays: Vec<(&str, Vec<u8>)>) -> Result<Dataset, Error> {
    let (_folder, path) = npz_file(npz(CompressionMethod::Stored, &arrays));
    load(&DataSpec::Npz(path), &network(&[2], 3), 0, None)
}

#[test]
fn examples_with_an_ignored_label_are_left_out() {
    let (x, y) = (("input", floats("3, 2", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])), ("y", integers("3,", &[1, -100, 2])));
    let (_folder, path) = npz_file(npz(CompressionMethod::Stored, &[x, y]));
    let read = |ignored| load(&DataSpec::Npz(path.clone()), &network(&[2], 3), 0, ignored);
    let data = read(Some(-100)).unwrap();
    assert_eq!(data.train, Split { images: Images::F32(vec![0.0, 1.0, 4.0, 5.0]), labels: vec![1, 2] });
    assert!(data.notes.contains(&"Left out: 1 example with the ignored label -100.".to_string()), "{:?}", data.notes);
    for (ignored, words) in [(None, "--ignore-label=-100"), (Some(0), "holds -100 at example 1")] {
        let message = read(ignored).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    let digits = |ignored| load(&DataSpec::Digits, &network(&[64], 10), 0, ignored).unwrap().train;
    let threes = digits(None).labels.iter().filter(|&&label| label == 3).count();
    assert_eq!(digits(Some(3)).len(), digits(None).len() - threes);
}

#[test]
fn examples_may_be_single_numbers() {
    let arrays = [("x", floats("3,", &[0.5, 1.5, 2.5])), ("y", integers("3,", &[0, 1, 2]))];
    let data = read_npz(CompressionMethod::Stored, &arrays).unwrap();
    assert_eq!((data.shape, data.train.images), (vec![1], Images::F32(vec![0.5, 1.5, 2.5])));
}

/// Arrays that NumPy wrote: what each file holds is in `data/README.md`.
#[test]
fn files_of_numpy_are_read_as_numpy_has_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let read = |name: &str, shape: &[usize], classes| {
        let network = network(shape, classes);
        let data = load(&DataSpec::Npz(folder.join(name)), &network, 0, None)?;
        fit(data, &network, Fitting::default())
    };
    let mut first = Vec::new();
    for (n, c) in (0..2).flat_map(|n| (0..3).map(move |c| (n, c))) {
        for (h, w) in (0..5).flat_map(|h| (0..6).map(move |w| (h, w))) {
            first.push((128 * n + 24 * h + 4 * w + c) as f32 / 256.0);
        }
    }
    for name in ["channels_last_big_endian.npz", "channels_last_fortran_half.npz"] {
        let to_first = read(name, &[3, 5, 6], 2).unwrap();
        assert_eq!((&to_first.train.images, to_first.channels_last), (&Images::F32(first.clone()), false), "{name}");
        assert!(to_first.notes.iter().any(|note| note.contains("channels last")), "{:?}", to_first.notes);
        let as_is = read(name, &[5, 6, 3], 2).unwrap();
        assert_eq!((&as_is.train.images, as_is.channels_last), (&Images::F32(first.clone()), true), "{name}");
        assert_eq!(as_is.train.labels, [1, 0]);
    }
    assert_error(read("text_labels.npz", &[2], 2), ErrorKind::Mismatch, &["y holds text, 'b\u{e4}r' at example 0"]);
    assert_error(read("object_labels.npz", &[2], 2), ErrorKind::Unsupported, &["`y` has Python objects"]);
}

#[test]
fn images_of_all_sources_lie_as_the_network_takes_them() {
    let pixels: Vec<u8> = (0..24).collect();
    let files = folder(&[
        ("train-images-idx3-ubyte", idx(0x803, &[4, 2, 3], &pixels)),
        ("train-labels-idx1-ubyte", idx(0x801, &[4], &[0; 4])),
    ]);
    let network = network(&[2, 3, 1], 10);
    let data = load(&DataSpec::Mnist(files.path().into()), &network, 0, None).unwrap();
    let fitted = fit(data.clone(), &network, Fitting::default()).unwrap();
    assert_eq!((fitted.train.images, fitted.channels_last), (Images::U8(pixels), true));
    let given = Fitting { layout: Layout::ChannelsLast, ..Fitting::default() };
    assert_error(fit(data, &network, given), ErrorKind::Invalid, &["mnist: --layout channels-last contradicts"]);
}

#[test]
fn npz_problems_are_told() {
    use ErrorKind::{Corrupt, Mismatch, Unsupported};
    let x = floats("2, 1", &[0.5, 1.5]);
    let y = integers("2,", &[0, 1]);
    let with_y = |y: Vec<u8>| vec![("x", x.clone()), ("y", y)];
    let with_x = |x: Vec<u8>| vec![("x", x), ("y", y.clone())];
    let doubles = |values: [f64; 2]| npy("<f8", "2, 1", values.map(f64::to_le_bytes).concat());
    for (arrays, kind, part) in [
        (vec![("a", x.clone()), ("y", y.clone())], Mismatch, "no array `x` (it has: a, y)"),
        (vec![("x", x.clone())], Mismatch, "no array `y` (it has: x)"),
        (vec![("arr_0", x.clone())], Mismatch, "neither array `x` nor array `y` (it has: arr_0)"),
        (
            with_y(integers("3,", &[0, 1, 2])),
            Mismatch,
            "x has shape [2, 1] (float32) and y [3] (int64): the first axis",
        ),
        (with_y(integers("", &[0])), Mismatch, "y [] (int64): the first axis counts"),
        (with_x(floats("", &[0.5])), Mismatch, "x has shape [] (float32)"),
        (vec![("x", floats("0, 3", &[])), ("y", integers("0,", &[]))], Mismatch, "holds nothing"),
        (with_x(floats("2, 1", &[0.5, f32::NAN])), Mismatch, "x has NaN in example 1"),
        (with_x(floats("2, 1", &[f32::INFINITY, 0.0])), Mismatch, "inf in example 0"),
        (with_x(doubles([0.0, -1e39])), Mismatch, "x has -1e39 in example 1, which FP32 cannot hold"),
        (with_x(npy("|S3", "2, 1", b"catdog".to_vec())), Mismatch, "x holds text, 'cat' in example 0"),
        (with_y(integers("2,", &[0, -1])), Mismatch, "y holds -1 at example 1, but labels count from 0"),
        (with_y(integers("2,", &[1 << 40, 0])), Mismatch, "1099511627776 at example 0, but the network has 10 outputs"),
        (with_y(integers("2,", &[1, 10])), Mismatch, "y holds 10 at example 1, but the network has 10 outputs"),
        (with_y(integers("2,", &[1, 10])), Mismatch, "they seem to count from 1: subtract 1 from each"),
        (with_y(integers("2,", &[0, 10])), Mismatch, "use a network with at least 11 outputs"),
        (with_y(npy("<u8", "2,", [u64::MAX, 0].map(u64::to_le_bytes).concat())), Mismatch, "18446744073709551615 at"),
        (with_y(floats("2,", &[0.0, 1.5])), Mismatch, "y holds 1.5 at example 1: labels are whole numbers"),
        (with_y(floats("2,", &[f32::NAN, 1.0])), Mismatch, "NaN at example 0"),
        (with_y(floats("2,", &[1.0, f32::INFINITY])), Mismatch, "inf at example 1"),
        (with_y(floats("2,", &[1.0, 1e30])), Mismatch, "at example 1"),
        (with_y(npy("|S3", "2,", b"catdog".to_vec())), Mismatch, "y holds text, 'cat' at example 0: labels are class"),
        (with_y(npy("<M8[D]", "2,", vec![0; 16])), Unsupported, "NumPy type datetime (M8[D]): store class numbers"),
        (with_y(npy("<c8", "2,", vec![0; 16])), Unsupported, "array `y` has elements of NumPy type complex64: store"),
        (with_y(npy("|O", "2,", vec![0; 16])), Unsupported, "array `y` has Python objects: store class numbers"),
        (
            with_y(integers("2, 2", &[0, 1, 1, 1])),
            Mismatch,
            "y has shape [2, 2] (int64) and is not one-hot: example 1 has [1, 1]; every example must have exactly one class, but this one has 2",
        ),
        (with_y(floats("2, 2", &[0.3, 0.7, 0.0, 1.0])), Mismatch, "example 0 has [0.3, 0.7]; labels are class numbers"),
        (
            with_y(integers("2, 2", &[0, 1, 1, 0])),
            Mismatch,
            "one-hot labels of 2 classes, but the network has 10 outputs",
        ),
        (with_y(integers("2, 2, 2", &[0; 8])), Mismatch, "y has shape [2, 2, 2] (int64), not one label per example"),
        (vec![("x", x.clone()), ("y", y.clone()), ("x_test", x.clone())], Mismatch, "no y_test"),
        (vec![("x", x.clone()), ("y", y.clone()), ("y_test", y.clone())], Mismatch, "no x_test"),
        (
            vec![
                ("x", x.clone()),
                ("y", y.clone()),
                ("x_test", floats("1, 2", &[0.0; 2])),
                ("y_test", integers("1,", &[0])),
            ],
            Mismatch,
            "[1] (float32) but those of x_test [2] (float32)",
        ),
        (
            vec![("x", x.clone()), ("y", y.clone()), ("x_test", x.clone()), ("y_test", integers("2,", &[0, 10]))],
            Mismatch,
            "y_test holds 10 at example 1",
        ),
        (with_x(floats("2, 1", &[0.5])), Corrupt, "array `x`: shape [2, 1]"),
        (with_x(b"not an array".to_vec()), Corrupt, "array `x`"),
    ] {
        assert_error(read_npz(CompressionMethod::Deflated, &arrays), kind, &["data.npz", part]);
    }
}

#[test]
fn files_that_are_no_npz_are_told() {
    use ErrorKind::Corrupt;
    let x = floats("2, 1", &[0.5, 1.5]);
    let whole = npz(CompressionMethod::Deflated, &[("x", x.clone()), ("y", integers("2,", &[0, 1]))]);
    for bytes in [whole[..whole.len() / 2].to_vec(), b"not a zip".to_vec(), Vec::new()] {
        let (_folder, path) = npz_file(bytes);
        assert_error(read(DataSpec::Npz(path)), Corrupt, &["data.npz", "npz file"]);
    }
    let (_folder, path) = npz_file(x);
    let parts = ["data.npz", "a single NumPy array; write both with numpy.savez"];
    assert_error(read(DataSpec::Npz(path)), Corrupt, &parts);
    assert_error(read(DataSpec::Npz("no/such.npz".into())), ErrorKind::NotFound, &["no/such.npz"]);
}

#[test]
fn a_damaged_byte_of_an_npz_never_panics_nor_goes_unnoticed() {
    let x: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let arrays = [("x", floats("4, 2", &x)), ("y", integers("4,", &[0, 1, 2, 3]))];
    let whole = npz(CompressionMethod::Stored, &arrays);
    let (_folder, path) = npz_file(whole.clone());
    let expected = read(DataSpec::Npz(path.clone())).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        // Some bytes say nothing about the data, such as time stamps.
        if let Ok(data) = read(DataSpec::Npz(path.clone())) {
            assert_eq!(data.train, expected.train, "byte {at}");
        }
    }
}
