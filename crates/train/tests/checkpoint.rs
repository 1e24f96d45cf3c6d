//! Checkpoints: round trip, damage, names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use std::collections::{BTreeMap, HashMap};

use bitbudget_train::ErrorKind;
use bitbudget_train::checkpoint::{Checkpoint, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn sample() -> Checkpoint {
    let tensors = [
        ("conv1.weight", vec![2, 1, 3], vec![0.1, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, -1e-30, 7.0]),
        ("momentum/conv1.weight", vec![2, 0], vec![]),
        ("step", vec![], vec![3.5]),
    ];
    let tensors = tensors.map(|(name, shape, values)| (name.to_string(), Tensor { shape, values }));
    let metadata = [("epoch", "3"), ("loss_scale", "{\"scale\":65536.0}"), ("seed", "1")];
    let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
    Checkpoint { tensors: tensors.into(), metadata: metadata.into() }
}

#[test]
fn round_trip_keeps_every_bit_and_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let checkpoint = sample();
    let bytes = checkpoint.encode().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded, checkpoint);
    let bits = |c: &Checkpoint| c.tensors["conv1.weight"].values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded), bits(&checkpoint));
    for _ in 0..8 {
        assert_eq!(checkpoint.encode().unwrap(), bytes);
    }
}

#[test]
fn truncation_and_damage_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let bytes = sample().encode().unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes: {error}");
        assert!(error.to_string().contains("run.safetensors"));
    }
    // The tensors' data are the last 7 x 4 bytes.
    for at in bytes.len() - 28..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("checksum"), "{error}");
    }
}

#[test]
fn a_tensor_that_is_not_of_its_shape_is_refused() {
    let mut wrong = sample();
    wrong.tensors.insert("fc.bias".into(), Tensor { shape: vec![3], values: vec![0.0; 2] });
    let error = wrong.encode().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("`fc.bias` of shape [3] has 2 values"), "{error}");
}

/// The header of a safetensors file has `__metadata__` for itself (README of safetensors, "Format").
#[test]
fn every_name_is_a_tensors_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.safetensors");
    let names = [
        "__metadata__",
        "__metadata__~",
        "__metadata__~~",
        "__metadata__.x",
        "__metadata__~x",
        "~",
        "",
        "a b\"\n",
        "ä",
    ];
    let tensors =
        (0..).zip(names).map(|(at, name)| (name.to_string(), Tensor { shape: vec![1], values: vec![at as f32] }));
    let checkpoint = Checkpoint { tensors: tensors.collect(), metadata: [("__metadata__".into(), "x".into())].into() };
    let bytes = checkpoint.encode().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shown = |name: &str| f32::from_le_bytes(file.tensor(name).unwrap().data().try_into().unwrap());
    assert_eq!([shown("__metadata__~"), shown("__metadata__~~"), shown("__metadata__~~~")], [0.0, 1.0, 2.0]);
    assert_eq!(file.len(), names.len());
    // What others call so is no name of ours.
    let other = safetensors::tensor::TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    safetensors::serialize_to_file([("__metadata__~", other)], None, &path).unwrap();
    assert!(Checkpoint::load(&path).unwrap().tensors.contains_key("__metadata__~"));
}

#[test]
fn files_from_elsewhere_load_where_they_are_fp32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let bytes: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let save = |dtype, shape: Vec<usize>| {
        let view = TensorView::new(dtype, shape, &bytes).unwrap();
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        safetensors::serialize_to_file([("w", view)], Some(metadata), &path).unwrap();
    };
    save(Dtype::F32, vec![2]);
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded.tensors["w"].values, [1.0, 2.0]);
    assert_eq!(loaded.metadata, BTreeMap::new());
    save(Dtype::F16, vec![4]);
    let error = Checkpoint::load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`w` is F16"), "{error}");
    assert_eq!(Checkpoint::load(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}
