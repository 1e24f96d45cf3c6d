//! External data: tensors in other files of the model's folder.

use onnx_protobuf::StringStringEntryProto;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Reads the `needed` bytes of an external tensor.
pub(crate) fn read(
    entries: &[StringStringEntryProto],
    needed: usize,
    folder: Option<&Path>,
) -> Result<Vec<u8>, String> {
    let folder =
        folder.ok_or("its data lies in another file, but the model was given without a folder; import by path")?;
    let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let location = entry("location").ok_or("its external data has no location")?;
    let number = |key: &str| match entry(key) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("its external {key} `{text}` is no number")),
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length.filter(|&length| length != needed as u64) {
        return Err(format!("its shape needs {needed} bytes, its external data is said to have {length}"));
    }
    let path = inside(folder, location)?;
    let fault = |e: std::io::Error| format!("its external data `{location}` cannot be read: {e}");
    let mut file = File::open(&path).map_err(fault)?;
    let size = file.metadata().map_err(fault)?.len();
    if offset.checked_add(needed as u64).is_none_or(|end| end > size) {
        return Err(format!(
            "its external data `{location}` has {size} bytes, but {needed} from byte {offset} are needed; the file is \
             truncated or belongs to another model"
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(fault)?;
    let mut bytes = vec![0; needed];
    file.read_exact(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

/// The regular file at `location`, if it lies in `folder`.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let leaves = || format!("its external data `{location}` lies outside the model's folder, which is refused");
    if !plain || location.contains('\\') || location.is_empty() {
        return Err(leaves());
    }
    let fault = |e: std::io::Error| format!("its external data `{location}` cannot be read: {e}");
    let folder = folder.canonicalize().map_err(fault)?;
    let path = folder.join(relative).canonicalize().map_err(fault)?;
    if !path.starts_with(&folder) {
        return Err(leaves());
    }
    if !path.is_file() {
        return Err(format!("its external data `{location}` is no regular file"));
    }
    Ok(path)
}
