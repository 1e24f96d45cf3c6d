//! CIFAR-10 and CIFAR-100 in the official binary format.

use std::path::{Path, PathBuf};

use super::folder::{check_folder, no_test_note};
use super::{Dataset, Images, Layout, Network, Normalization, Split};
use crate::{Error, ErrorKind, Result};

const PLANE: usize = 32 * 32;
const IMAGE: usize = 3 * PLANE;

/// The differences between the two editions.
struct Edition {
    name: &'static str,
    folder: &'static str,
    python_folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Bytes before an image; the last one is the label that counts, one before it (coarse) has to be in range.
    label_ranges: &'static [usize],
}

const CIFAR10: Edition = Edition {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    python_folder: "cifar-10-batches-py",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    label_ranges: &[10],
};

const CIFAR100: Edition = Edition {
    name: "cifar100",
    folder: "cifar-100-binary",
    python_folder: "cifar-100-python",
    train: &["train.bin"],
    test: "test.bin",
    label_ranges: &[20, 100],
};

pub(super) fn load10(folder: &Path) -> Result<Dataset> {
    load(folder, &CIFAR10)
}

pub(super) fn load100(folder: &Path) -> Result<Dataset> {
    load(folder, &CIFAR100)
}

/// The files that CIFAR-10 is read from.
pub(super) fn files10(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, &CIFAR10)
}

/// The files that CIFAR-100 is read from.
pub(super) fn files100(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, &CIFAR100)
}

fn files(folder: &Path, edition: &Edition) -> Result<Vec<PathBuf>> {
    let place = find(folder, edition)?;
    let files = edition.train.iter().chain([&edition.test]).map(|file| place.join(file));
    Ok(files.filter(|file| file.is_file()).collect())
}

fn load(folder: &Path, edition: &Edition) -> Result<Dataset> {
    check_folder(folder)?;
    let files = find(folder, edition)?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for file in edition.train {
        read(&files.join(file), edition, &mut images, &mut labels)?;
    }
    let normalization = Normalization::of_bytes(&images, 3, PLANE, 255.0);
    let train = Split { images: Images::U8(images), labels };
    let mut notes = Vec::new();
    let test_file = files.join(edition.test);
    let test = if test_file.is_file() {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        read(&test_file, edition, &mut images, &mut labels)?;
        Some(Split { images: Images::U8(images), labels })
    } else {
        notes.push(no_test_note(edition.test));
        None
    };
    let classes = edition.label_ranges.last().copied().unwrap_or(0);
    Ok(Dataset {
        name: edition.name.into(),
        train,
        test,
        classes,
        shape: vec![3, 32, 32],
        elements: "uint8".into(),
        layout: Layout::ChannelsFirst,
        channels_last: false,
        network: Network::default(),
        normalization,
        notes,
    })
}

/// The folder itself, or the one in it that has the official name.
fn find(folder: &Path, edition: &Edition) -> Result<PathBuf> {
    let lacks = |place: &Path| -> Vec<&str> {
        edition.train.iter().copied().filter(|file| !place.join(file).is_file()).collect()
    };
    let inner = folder.join(edition.folder);
    let place = if inner.is_dir() { inner } else { folder.to_path_buf() };
    let missing = lacks(&place);
    if missing.is_empty() {
        return Ok(place);
    }
    let python = folder.join(edition.python_folder).is_dir() || folder.join("batches.meta").is_file();
    let advice = if python {
        "this is the Python version of the data: get the binary version"
    } else {
        "unpack the binary version of the data there"
    };
    Err(Error::new(ErrorKind::NotFound, format!("{} lacks {}: {advice}", place.display(), missing.join(", "))))
}

fn read(path: &Path, edition: &Edition, images: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, "read", error))?;
    let ranges = edition.label_ranges;
    let record = ranges.len() + IMAGE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return Err(Error::corrupt(
            path,
            format!(
                "its {} bytes are not a whole number of records of {record} bytes: get the file again",
                bytes.len()
            ),
        ));
    }
    for (index, record) in bytes.chunks_exact(record).enumerate() {
        let (record_labels, image) = record.split_at(ranges.len());
        for (&label, &range) in record_labels.iter().zip(ranges) {
            if usize::from(label) >= range {
                return Err(Error::corrupt(
                    path,
                    format!("label {label} of record {index} is not below {range}: this is not {} data", edition.name),
                ));
            }
        }
        images.extend_from_slice(image);
        labels.extend(record_labels.last().map(|&label| u32::from(label)));
    }
    Ok(())
}
