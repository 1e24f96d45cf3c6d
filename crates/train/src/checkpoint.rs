//! Named FP32 tensors and a few words about them in a safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

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

/// What a checkpoint file holds.
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
    /// Of the tensors' bytes in the order of their names: safetensors itself notices truncation only.
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
    /// Writes a safetensors file; the same content gives the same bytes.
    ///
    /// The file is written beside its place and then renamed, so a run that dies leaves the former file whole.
    ///
    /// # Errors
    /// `Mismatch` for a tensor whose values are not as many as its shape says, `NotFound` where the folder does not
    /// exist, `Io` where it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut views = Vec::with_capacity(self.tensors.len());
        let mut crc = flate2::Crc::new();
        for (name, tensor) in &self.tensors {
            let Tensor { shape, values } = tensor;
            let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            if elements != Some(values.len()) {
                let message = format!("tensor `{name}` of shape {shape:?} has {} values", values.len());
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            crc.update(&bytes);
            views.push((name, Bytes { shape, bytes }));
        }
        let entry = Entry { metadata: self.metadata.clone(), crc32: crc.sum() };
        let unwritable = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Invalid, format!("cannot write {}: {error}", path.display()))
        };
        let entry = serde_json::to_string(&entry).map_err(|error| unwritable(&error))?;
        let bytes = safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_string(), entry)])));
        write_whole(path, &bytes.map_err(|error| unwritable(&error))?)
    }

    /// Reads a safetensors file of FP32 tensors; one from elsewhere has no metadata.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `Corrupt` for a file that is truncated, damaged or no safetensors file; `Unsupported` for
    /// tensors of another type.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, "read", &error))?;
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
        Ok(Checkpoint { tensors, metadata: entry.metadata })
    }
}

/// Replaces a file as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: &std::io::Error| Error::io(path, "write", error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".checkpoint-");
    // A temporary file is private; a checkpoint has the permissions of any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(&error))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}
