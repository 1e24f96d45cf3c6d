//! IDX files, as MNIST, Fashion-MNIST and KMNIST come, compressed with gzip or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use bitbudget_report::counted;
use flate2::read::MultiGzDecoder;

use super::folder::{check_folder, no_test_note};
use super::{Dataset, Images, Layout, Network, Normalization, Split};
use crate::{Error, ErrorKind, Result};

const CLASSES: usize = 10;

/// A split as its two files have it.
struct Pair {
    height: usize,
    width: usize,
    images: Vec<u8>,
    labels: Vec<u32>,
}

/// `train-images-idx3-ubyte` and so on, also with a dot before `idx`, also with `.gz`.
pub(super) fn load(folder: &Path) -> Result<Dataset> {
    check_folder(folder)?;
    let train = read_split(folder, "train")?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!(
                "{} has neither train-images-idx3-ubyte nor train-labels-idx1-ubyte (plain or .gz): \
                 put the four IDX files there",
                folder.display()
            ),
        )
    })?;
    let test = read_split(folder, "t10k")?;
    let Pair { height, width, images, labels } = train;
    let normalization = Normalization::of_bytes(&images, 1, height * width, 255.0);
    let mut notes = Vec::new();
    let test = match test {
        Some(Pair { height: h, width: w, .. }) if (h, w) != (height, width) => {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{}: training images are {height}x{width} but test images {h}x{w}", folder.display()),
            ));
        }
        Some(Pair { images, labels, .. }) => Some(Split { images: Images::U8(images), labels }),
        None => {
            notes.push(no_test_note("t10k-images-idx3-ubyte"));
            None
        }
    };
    Ok(Dataset {
        name: "mnist".into(),
        train: Split { images: Images::U8(images), labels },
        test,
        classes: CLASSES,
        shape: vec![1, height, width],
        elements: "uint8".into(),
        layout: Layout::ChannelsFirst,
        channels_last: false,
        network: Network::default(),
        normalization,
        notes,
    })
}

/// The files of a split; none where neither of its files is there.
fn read_split(folder: &Path, stem: &str) -> Result<Option<Pair>> {
    let images_file = find(folder, &format!("{stem}-images"), "idx3-ubyte");
    let labels_file = find(folder, &format!("{stem}-labels"), "idx1-ubyte");
    let (images_file, labels_file) = match (images_file, labels_file) {
        (None, None) => return Ok(None),
        (Some(images), Some(labels)) => (images, labels),
        (images, _) => {
            let missing = if images.is_none() { "images-idx3-ubyte" } else { "labels-idx1-ubyte" };
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{} lacks {stem}-{missing} (plain or .gz)", folder.display()),
            ));
        }
    };
    let (shape, images) = read_idx(&images_file, 3)?;
    let (_, labels) = read_idx(&labels_file, 1)?;
    let (count, height, width) = (shape[0], shape[1], shape[2]);
    if count != labels.len() {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "{} has {} but {} has {}",
                images_file.display(),
                counted(count as u64, "image", "images"),
                labels_file.display(),
                counted(labels.len() as u64, "label", "labels")
            ),
        ));
    }
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        let label = labels[index];
        let what = format!(
            "label {label} of image {index} is not below {CLASSES}: labels count from 0; write data with more classes as an npz file"
        );
        return Err(Error::corrupt(&labels_file, what));
    }
    Ok(Some(Pair { height, width, images, labels: labels.into_iter().map(u32::from).collect() }))
}

/// The files that are read.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let parts = [("images", "idx3-ubyte"), ("labels", "idx1-ubyte")];
    let files = ["train", "t10k"].iter().flat_map(|split| parts.map(|(part, kind)| (format!("{split}-{part}"), kind)));
    files.filter_map(|(stem, kind)| find(folder, &stem, kind)).collect()
}

fn find(folder: &Path, stem: &str, kind: &str) -> Option<PathBuf> {
    let names = [format!("{stem}-{kind}"), format!("{stem}.{kind}")];
    let candidates = names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    candidates.into_iter().find(|path| path.is_file())
}

/// Shape and bytes of an IDX file of unsigned bytes with `rank` dimensions.
fn read_idx(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let unreadable = |error: std::io::Error| match error.kind() {
        // What a damaged or truncated gzip stream gives.
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            Error::corrupt(path, format!("truncated or damaged ({error}): get the file again"))
        }
        _ => Error::io(path, "read", error),
    };
    let mut start = [0; 2];
    let gzip = File::open(path).and_then(|mut file| file.read_exact(&mut start)).map(|()| start == [0x1f, 0x8b]);
    let gzip = gzip.map_err(unreadable)?;
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let mut word = [0; 4];
    reader.read_exact(&mut word).map_err(unreadable)?;
    if word[..3] != [0, 0, 8] || usize::from(word[3]) != rank {
        let magic = u32::from_be_bytes(word);
        return Err(Error::corrupt(
            path,
            format!(
                "starts with {magic:#010x}, not with {:#010x} of an IDX file of rank {rank} of bytes",
                0x800 + rank
            ),
        ));
    }
    let mut shape = Vec::new();
    let mut length: u64 = 1;
    for _ in 0..rank {
        reader.read_exact(&mut word).map_err(unreadable)?;
        let size = u32::from_be_bytes(word);
        shape.push(size as usize);
        length = length.saturating_mul(u64::from(size));
    }
    if length == 0 {
        return Err(Error::corrupt(path, format!("its shape {shape:?} has no elements")));
    }
    let mut bytes = Vec::new();
    reader.take(length.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 != length {
        let what = if (bytes.len() as u64) < length { "truncated" } else { "longer than it says" };
        return Err(Error::corrupt(
            path,
            format!("{what}: shape {shape:?} needs {length} bytes of data; get it again"),
        ));
    }
    Ok((shape, bytes))
}
