//! External data: tensors in other files, in the model's folder or where links from there lead.

use onnx_protobuf::StringStringEntryProto;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The folders in which external data may lie.
#[derive(Clone, Debug)]
pub(crate) struct DataFolders {
    /// The model's folder, from which locations count.
    base: PathBuf,
    /// Where links may lead beside it.
    linked: Vec<PathBuf>,
}

impl DataFolders {
    /// Those of a model in a folder, with others that links may lead to.
    pub(crate) fn new(base: &Path, allowed: &[PathBuf]) -> DataFolders {
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base.to_path_buf() };
        DataFolders { base, linked: allowed.to_vec() }
    }

    /// Those of a model at a path. Where the model is a link itself, as caches of downloads lay it out, its data may lie
    /// beside the file that it leads to.
    pub(crate) fn of(model: &Path, allowed: &[PathBuf]) -> DataFolders {
        let mut folders = DataFolders::new(model.parent().unwrap_or(Path::new(".")), allowed);
        if model.is_symlink() {
            let file = model.canonicalize().ok();
            folders.linked.extend(file.and_then(|file| file.parent().map(Path::to_path_buf)));
        }
        folders
    }

    /// The regular file at `location`, if it lies in one of the folders.
    fn find(&self, location: &str) -> Result<PathBuf, String> {
        let relative = Path::new(location);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || location.contains('\\') || location.is_empty() {
            return Err(format!("its external data `{location}` lies outside the model's folder, which is refused"));
        }
        let fault = |e: std::io::Error| format!("its external data `{location}` cannot be read: {e}");
        let base = self.base.canonicalize().map_err(fault)?;
        let path = base.join(relative).canonicalize().map_err(fault)?;
        let inside = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
        if !path.starts_with(&base) && !self.linked.iter().any(inside) {
            let target = path.parent().unwrap_or(&path).display();
            return Err(format!(
                "its external data `{location}` is a link to {}, outside the model's folder, which is refused; if you \
                 trust it, allow that folder with --allow-external {target}",
                path.display()
            ));
        }
        if !path.is_file() {
            return Err(format!("its external data `{location}` is not a regular file"));
        }
        Ok(path)
    }
}

/// Reads the `needed` bytes of an external tensor.
pub(crate) fn read(
    entries: &[StringStringEntryProto],
    needed: usize,
    data: Option<&DataFolders>,
) -> Result<Vec<u8>, String> {
    let data = data.ok_or("its data lies in another file, but the model was given without a folder; import by path")?;
    let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let location = entry("location").ok_or("its external data has no location")?;
    let number = |key: &str| match entry(key) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("its external {key} `{text}` is not a number")),
        None => Ok(None),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length.filter(|&length| length != needed as u64) {
        return Err(format!("its shape needs {needed} bytes, its external data is said to have {length}"));
    }
    let path = data.find(location)?;
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
