//! What the tests of the whole share: the oracle's place and its arrays, the comparison of random networks with PyTorch, the
//! standard's tests of operators, and fingerprints that show whether two builds make the same trainers.

pub mod differential;
pub mod fingerprints;
pub mod standard;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file or folder beside the checkout in `shared`, or nothing, with a message, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if full.exists() {
        return Some(full);
    }
    eprintln!("skipped: {} is absent", full.display());
    None
}

/// Arrays by name: shape and row-major values.
pub type Arrays = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// All arrays of an npz file by name, as FP32 numbers in row-major order, with their shapes.
///
/// # Errors
/// If the file is no npz, or holds other elements than FP32 and FP64 numbers, integers of 32 and 64 bits and truth values.
pub fn arrays(path: &Path) -> std::io::Result<Arrays> {
    let mut archive = npyz::npz::NpzArchive::open(path)?;
    let names: Vec<String> = archive.array_names().map(String::from).collect();
    let mut arrays = BTreeMap::new();
    for name in names {
        let fault = || std::io::Error::other(format!("{name}: not an array of numbers"));
        let npy = archive.by_name(&name)?.ok_or_else(fault)?;
        let shape = npy.shape().iter().map(|&d| d as usize).collect();
        let kind = npy.dtype().descr();
        let values = if kind.contains("f4") {
            npy.into_vec::<f32>()?
        } else if kind.contains("i8") {
            npy.into_vec::<i64>()?.into_iter().map(|x| x as f32).collect()
        } else if kind.contains("i4") {
            npy.into_vec::<i32>()?.into_iter().map(|x| x as f32).collect()
        } else if kind.contains("b1") {
            npy.into_vec::<bool>()?.into_iter().map(|x| f32::from(u8::from(x))).collect()
        } else {
            npy.into_vec::<f64>()?.into_iter().map(|x| x as f32).collect()
        };
        arrays.insert(name, (shape, values));
    }
    Ok(arrays)
}
