//! NumPy archives: `x`, `y` and, where there are any, `x_test`, `y_test`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use bitbudget_report::counted;
use zip::ZipArchive;
use zip::result::ZipError;

use super::folder::no_test_note;
use super::labels::{IGNORED, labels};
use super::npy::{self, Array, Problem, Values};
use super::{Dataset, Images, Layout, Network, Normalization, Split};
use crate::{Error, ErrorKind, Result};

/// An npz file.
pub(super) type Archive = ZipArchive<BufReader<File>>;

/// Bytes that are read of an array for its header.
const LONGEST_HEADER: u64 = 1 << 16;

/// The shapes of all arrays of an archive, by name; those that cannot be read are left out.
///
/// # Errors
/// If it is missing, or not an archive.
pub fn shapes(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    let mut archive = open(path)?;
    let mut found = BTreeMap::new();
    for at in 0..archive.len() {
        let Ok(member) = archive.by_index(at) else { continue };
        let Some(name) = member.name().strip_suffix(".npy").map(str::to_string) else { continue };
        let mut header = Vec::new();
        if member.take(LONGEST_HEADER).read_to_end(&mut header).is_ok() {
            found.extend(npy::shape(&header).map(|shape| (name, shape)));
        }
    }
    Ok(found)
}

/// A note on the arrays that are not read, if there are any: a misspelt one is easily missed.
pub(super) fn unread(archive: &Archive, is_read: impl Fn(&str) -> bool) -> Option<String> {
    let names = archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name));
    let others: Vec<String> = names.filter(|name| !is_read(name)).map(|name| format!("`{name}`")).collect();
    (!others.is_empty()).then(|| format!("Arrays that the network does not take: {}.", others.join(", ")))
}

/// Reads `x` of shape [N, ...] with labels `y` of N examples, or `x` of [steps, batch, ...] with `y` of [steps, batch]. An array with the
/// name of the network's input stands for `x`. Examples with the label `ignored` are left out.
pub(super) fn load(path: &Path, network: &Network, ignored: Option<i32>) -> Result<Dataset> {
    let mut archive = open(path)?;
    let mut notes = Vec::new();
    let input = match archive.index_for_name(&format!("{}.npy", network.input)) {
        Some(_) => network.input.as_str(),
        None => "x",
    };
    let (x, y) = (read(path, &mut archive, input)?, read(path, &mut archive, "y")?);
    let missing = match (&x, &y) {
        (None, None) => "neither array `x` nor array `y`",
        (None, _) => "no array `x`",
        _ => "no array `y`",
    };
    let (Some(x), Some(y)) = (x, y) else {
        let names: Vec<&str> = archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name)).collect();
        let has = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
        let message =
            format!("{} has {missing} (it has: {has}): write it with numpy.savez(file, x=..., y=...)", path.display());
        return Err(Error::new(ErrorKind::Mismatch, message));
    };
    let elements = x.elements.clone();
    let input_test = format!("{input}_test");
    let reading = Reading { path, network, ignored };
    let train = reading.examples((input, x), ("y", y), &mut notes)?;
    let test = match (read(path, &mut archive, &input_test)?, read(path, &mut archive, "y_test")?) {
        (Some(x), Some(y)) => {
            // What holds for the training arrays has been noted.
            let test_elements = x.elements.clone();
            let test = reading.examples((&input_test, x), ("y_test", y), &mut Vec::new())?;
            let kinds = [&train, &test].map(|part| std::mem::discriminant(&part.split.images));
            if test.shape != train.shape || kinds[0] != kinds[1] {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!(
                        "{}: examples of {input} have shape {:?} ({elements}) but those of {input_test} {:?} ({test_elements}): store both alike",
                        path.display(),
                        train.shape,
                        test.shape
                    ),
                ));
            }
            Some(test)
        }
        (None, None) => {
            notes.push(no_test_note(&format!("{input_test} with y_test")));
            None
        }
        (x, _) => {
            let (there, missing) =
                if x.is_some() { (input_test.as_str(), "y_test") } else { ("y_test", input_test.as_str()) };
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} has {there} but no {missing}: store both or neither", path.display()),
            ));
        }
    };
    notes.extend(unread(&archive, |name| [input, &input_test, "y", "y_test"].contains(&name)));
    let left_out = train.left_out + test.as_ref().map_or(0, |test| test.left_out);
    if let Some(label) = ignored.filter(|_| left_out > 0) {
        let examples = counted(left_out as u64, "example", "examples");
        notes.push(format!("Left out: {examples} with the ignored label {label}."));
    }
    let normalization = normalization(input, &train.split.images, &elements, &mut notes);
    let classes = [Some(&train), test.as_ref()].into_iter().flatten().map(|part| part.classes).max().unwrap_or(0);
    if let Some(&smallest) = train.split.labels.iter().min().filter(|&&smallest| smallest > 0) {
        notes.push(format!("No label of y is 0, the smallest is {smallest}; labels count from 0."));
    }
    let name = path.file_name().map_or_else(|| "npz".into(), |name| name.to_string_lossy().into_owned());
    Ok(Dataset {
        name,
        shape: train.shape,
        train: train.split,
        test: test.map(|test| test.split),
        classes,
        elements,
        layout: Layout::Auto,
        channels_last: false,
        network: Network::default(),
        normalization,
        notes,
    })
}

/// Opens an archive; anything else is refused by its first bytes, with how to write one.
pub(super) fn open(path: &Path) -> Result<Archive> {
    let unreadable = |error| Error::io(path, "read", error);
    let mut file = File::open(path).map_err(unreadable)?;
    // The directory of an archive stands at its end.
    if file.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let message = format!(
            "{} is a pipe or a device: an npz file must be a regular file, which can be read from its end",
            path.display()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    if file.metadata().map_err(unreadable)?.is_dir() {
        let message =
            format!("{} is a folder, not an npz file: name the file in it, as in npz:DIR/FILE.npz", path.display());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let mut start = Vec::new();
    file.by_ref().take(6).read_to_end(&mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let what = match start.as_slice() {
        b"\x93NUMPY" => "it is a single NumPy array; write both",
        [] => "it is empty, not an npz file; write one",
        [b'P', b'K', ..] => {
            return ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(path, error));
        }
        _ => "it is not an npz file, a zip archive of arrays; write one",
    };
    Err(Error::corrupt(path, format!("{what} with numpy.savez(file, x=..., y=...)")))
}

/// A number with three decimal places at most, or as a power of ten where that says too little.
fn short(number: f32) -> String {
    match number.abs() {
        0.0 | 0.01..1e6 => ((f64::from(number) * 1e3).round() / 1e3).to_string(),
        _ => format!("{number:.2e}"),
    }
}

/// How values become the network's input, with a note.
fn normalization(input: &str, images: &Images, elements: &str, notes: &mut Vec<String>) -> Normalization {
    match images {
        Images::U8(values) => {
            let (smallest, largest) = (values.iter().min().unwrap_or(&0), values.iter().max().unwrap_or(&0));
            let hint = if *largest <= 1 { "; stored as floats they would be used as they are" } else { "" };
            notes.push(format!(
                "{input} holds bytes from {smallest} to {largest}: they are divided by 255 and not normalised further{hint}."
            ));
            Normalization::divide_by(255.0)
        }
        Images::F32(values) => {
            let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let is_bytes = smallest >= 0.0 && (16.0..=255.0).contains(&largest);
            let hint = if is_bytes { "; stored as uint8 they would be divided by 255" } else { "" };
            notes.push(format!(
                "{input} holds {elements} values from {} to {}: they are used as they are, without normalisation{hint}.",
                short(smallest),
                short(largest)
            ));
            Normalization::divide_by(1.0)
        }
    }
}

fn zip_error(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(what) => Error::new(
            ErrorKind::Unsupported,
            format!("{}: {what}: write it with numpy.savez or numpy.savez_compressed", path.display()),
        ),
        error => Error::corrupt(path, format!("the npz file is truncated or damaged ({error}): write it again")),
    }
}

pub(super) fn read(path: &Path, archive: &mut Archive, name: &str) -> Result<Option<Array>> {
    let mut entry = match archive.by_name(&format!("{name}.npy")) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(zip_error(path, error)),
    };
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| {
        Error::corrupt(path, format!("array `{name}` is truncated or damaged ({error}): write the file again"))
    })?;
    npy::parse(&bytes).map(Some).map_err(|problem| match problem {
        Problem::Corrupt(what) => Error::corrupt(path, format!("array `{name}`: {what}")),
        Problem::Unsupported(what) => {
            let store = if name.starts_with('y') {
                "class numbers that count from 0, such as numpy.unique(y, return_inverse=True)[1]"
            } else {
                "numbers, such as x.astype(numpy.float32)"
            };
            let message = format!("{}: array `{name}` has {what}: store {store}", path.display());
            Error::new(ErrorKind::Unsupported, message)
        }
    })
}

/// Examples with what is known of them.
struct Examples {
    shape: Vec<usize>,
    split: Split,
    /// One more than the largest label, or the columns of one-hot labels.
    classes: usize,
    /// How many examples have the ignored label.
    left_out: usize,
}

/// What arrays are read for.
struct Reading<'a> {
    path: &'a Path,
    network: &'a Network,
    ignored: Option<i32>,
}

impl Reading<'_> {
    fn examples(
        &self,
        (x_name, x): (&str, Array),
        (y_name, mut y): (&str, Array),
        notes: &mut Vec<String>,
    ) -> Result<Examples> {
        let Reading { path, network, ignored } = *self;
        let mismatch = |what: String| Err(Error::new(ErrorKind::Mismatch, format!("{}: {what}", path.display())));
        let lead = if is_in_steps(&x, &y, network) { 2 } else { 1 };
        if x.shape.first() != y.shape.first() || y.shape.is_empty() {
            return mismatch(format!(
                "{x_name} has shape {:?} ({}) and {y_name} {:?} ({}): the first axis counts the examples in both; store one label for each example",
                x.shape, x.elements, y.shape, y.elements
            ));
        }
        if x.shape.contains(&0) {
            return mismatch(format!("{x_name} has shape {:?} ({}), which holds nothing", x.shape, x.elements));
        }
        if lead == 2 {
            let count = y.shape[0] * y.shape[1];
            notes.push(format!(
                "x and y hold {} of {}: they are taken as {} in that order.",
                counted(y.shape[0] as u64, "step", "steps"),
                y.shape[1],
                counted(count as u64, "example", "examples")
            ));
            y.shape = vec![count];
        }
        // An example that is a single number has no axis.
        let shape = if x.shape.len() == lead { vec![1] } else { x.shape[lead..].to_vec() };
        let infinite = match &x.values {
            Values::F32(values) => values.iter().position(|value| !value.is_finite()),
            Values::F64(values) => values.iter().position(|&value| !(value as f32).is_finite()),
            _ => None,
        };
        if let Some(index) = infinite {
            let (shown, example) = (x.values.show(index), index / shape.iter().product::<usize>());
            let beyond = matches!(&x.values, Values::F64(values) if values[index].is_finite());
            let beyond = if beyond { ", which FP32 cannot hold" } else { "" };
            return mismatch(format!(
                "{x_name} has {shown} in example {example}{beyond}: remove or correct such examples"
            ));
        }
        let images = match x.values {
            Values::U8(values) => Images::U8(values),
            Values::F32(values) => Images::F32(values),
            Values::F64(values) => Images::F32(values.into_iter().map(|value| value as f32).collect()),
            Values::I64(values) => Images::F32(values.into_iter().map(|value| value as f32).collect()),
            Values::U64(values) => Images::F32(values.into_iter().map(|value| value as f32).collect()),
            values @ Values::Text(_) => {
                return mismatch(format!("{x_name} holds text, {} in example 0: store numbers", values.show(0)));
            }
        };
        let labels = match labels(&y, network.classes, ignored) {
            Ok(labels) => labels,
            Err(problem) => return mismatch(format!("{y_name} {problem}")),
        };
        notes.extend(labels.note.map(|note| format!("{y_name} {note}.")));
        let mut split = Split { images, labels: labels.classes };
        let left_out = split.leave_out(IGNORED, shape.iter().product());
        if let (true, Some(label)) = (split.is_empty(), ignored) {
            return mismatch(format!("every label of {y_name} is {label}, the ignored one: no example is left"));
        }
        let largest = split.labels.iter().max().map_or(0, |&label| label as usize + 1);
        Ok(Examples { shape, split, classes: labels.columns.unwrap_or(largest), left_out })
    }
}

/// Whether x is [steps, batch, ...] and y [steps, batch]: the network's input has as many axes as the rest of x.
fn is_in_steps(x: &Array, y: &Array, network: &Network) -> bool {
    let count = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let is_led = y.shape.len() == 2 && x.shape.get(..2) == Some(&y.shape[..]);
    // An example that has the input's values as it is needs no other reading.
    let fits = is_led && count(&x.shape[1..]) == count(&network.shape);
    is_led && !fits && x.shape.len() == network.shape.len() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_archive_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let error = open(&folder.path().join(name)).unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, message) = refused("");
        assert!(kind == ErrorKind::Invalid && message.contains("is a folder, not an npz file"), "{message}");
        assert!(message.contains("npz:DIR/FILE.npz"), "{message}");
        for (name, bytes, words) in [
            ("text.npz", b"label,pixel\n".as_slice(), "it is not an npz file, a zip archive of arrays; write one"),
            ("short.npz", b"abc", "it is not an npz file"),
            ("empty.npz", b"", "it is empty, not an npz file; write one with numpy.savez(file, x=..., y=...)"),
            ("array.npz", b"\x93NUMPY\x01\x00", "it is a single NumPy array; write both with numpy.savez"),
            ("cut.npz", b"PK\x03\x04", "the npz file is truncated or damaged"),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let (kind, message) = refused(name);
            assert!(kind == ErrorKind::Corrupt && message.contains(&format!("{name}: {words}")), "{message}");
        }
    }
}
