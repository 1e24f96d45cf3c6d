//! Named FP32 tensors and a few words about them in the safetensors format.
//!
//! The format keeps the name `__metadata__` for itself. A tensor of that name is called `__metadata__~` in the file, one called
//! `__metadata__~` has two tildes there, and so on; [`Checkpoint::load`] takes the last tilde away again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bitbudget_report::counted;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The metadata entry that holds ours; one entry, since safetensors writes several in no fixed order.
const ENTRY: &str = "bitbudget";

/// A tensor's shape and its values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// As many values as the shape has elements.
    pub values: Vec<f32>,
}

/// The contents of a checkpoint file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Step, epoch, seed, loss scaler and the like, as text.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    metadata: BTreeMap<String, String>,
    /// Of the tensors' bytes in the order of their names in the file: safetensors itself notices truncation only.
    crc32: u32,
}

/// The bytes of a tensor as the file has them.
struct Bytes<'a> {
    shape: &'a [usize],
    bytes: Vec<u8>,
}

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Checkpoint {
    /// The bytes of a safetensors file; the same content gives the same bytes.
    ///
    /// # Errors
    /// `Mismatch` for a tensor whose values are not as many as its shape says.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut views = Vec::with_capacity(self.tensors.len());
        let mut crc = flate2::Crc::new();
        let escaped: BTreeMap<String, &Tensor> = self.tensors.iter().map(|(name, t)| (escaped(name), t)).collect();
        for (name, Tensor { shape, values }) in escaped {
            let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            if elements != Some(values.len()) {
                let values = counted(values.len() as u64, "value", "values");
                let message = format!("tensor `{name}` of shape {shape:?} has {values}");
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            crc.update(&bytes);
            views.push((name, Bytes { shape, bytes }));
        }
        let entry = Entry { metadata: self.metadata.clone(), crc32: crc.sum() };
        let invalid = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Invalid, format!("the tensors cannot be written as safetensors: {error}"))
        };
        let entry = serde_json::to_string(&entry).map_err(|error| invalid(&error))?;
        let bytes = safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_string(), entry)])));
        bytes.map_err(|error| invalid(&error))
    }

    /// Reads a safetensors file of FP32 tensors; one from elsewhere has no metadata.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `Corrupt` for a file that is truncated, damaged or no safetensors file; `Unsupported` for
    /// tensors of another type.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        let damaged = |what: &dyn std::fmt::Display| {
            Error::corrupt(path, format!("not a whole safetensors file ({what}): take another checkpoint"))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(&error))?;
        let views: BTreeMap<&str, _> = file.iter().collect();
        let mut tensors = BTreeMap::new();
        let mut crc = flate2::Crc::new();
        for (name, view) in views {
            if view.dtype() != Dtype::F32 {
                let message = format!("{}: tensor `{name}` is {:?}, not F32", path.display(), view.dtype());
                return Err(Error::new(ErrorKind::Unsupported, format!("{message}: convert it to FP32")));
            }
            crc.update(view.data());
            let (chunks, _) = view.data().as_chunks();
            let values = chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
            tensors.insert(name.to_string(), Tensor { shape: view.shape().to_vec(), values });
        }
        let entry = header.metadata().as_ref().and_then(|metadata| metadata.get(ENTRY));
        let Some(entry) = entry else { return Ok(Checkpoint { tensors, metadata: BTreeMap::new() }) };
        let entry: Entry = serde_json::from_str(entry).map_err(|error| damaged(&error))?;
        if entry.crc32 != crc.sum() {
            return Err(damaged(&"the checksum of its tensors is wrong"));
        }
        let tensors = tensors.into_iter().map(|(name, tensor)| (unescaped(name), tensor)).collect();
        Ok(Checkpoint { tensors, metadata: entry.metadata })
    }
}

/// The name that the format keeps for itself.
const RESERVED: &str = "__metadata__";

/// Whether a name is the reserved one, with any number of tildes.
fn is_reserved(name: &str) -> bool {
    name.strip_prefix(RESERVED).is_some_and(|rest| rest.bytes().all(|byte| byte == b'~'))
}

/// The name of a tensor in the file.
fn escaped(name: &str) -> String {
    let tilde = if is_reserved(name) { "~" } else { "" };
    format!("{name}{tilde}")
}

/// The name of a tensor of a file of ours.
fn unescaped(mut name: String) -> String {
    if is_reserved(&name) && name.len() > RESERVED.len() {
        name.pop();
    }
    name
}
