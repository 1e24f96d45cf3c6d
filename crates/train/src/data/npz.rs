//! NumPy archives: `x`, `y` and, where there are any, `x_test`, `y_test`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::npy::{self, Array, Problem, Values};
use super::source::no_test_note;
use super::{Dataset, Images, Normalization, Split};
use crate::{Error, ErrorKind, Result};

/// Reads `x` of shape [N, ...] with `y` of [N], or `x` of [steps, batch, ...] with `y` of [steps, batch].
pub(super) fn load(path: &Path) -> Result<Dataset> {
    let file = File::open(path).map_err(|error| Error::io(path, "read", &error))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(path, error))?;
    let mut notes = Vec::new();
    let (shape, train) = match (read(path, &mut archive, "x")?, read(path, &mut archive, "y")?) {
        (Some(x), Some(y)) => split(path, ("x", x), ("y", y), &mut notes)?,
        (x, _) => {
            let missing = if x.is_none() { "x" } else { "y" };
            let mut names: Vec<&str> = archive.file_names().collect();
            names.sort_unstable();
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "{} has no array `{missing}` (it has: {}): write it with numpy.savez(file, x=..., y=...)",
                    path.display(),
                    names.join(", ")
                ),
            ));
        }
    };
    let test = match (read(path, &mut archive, "x_test")?, read(path, &mut archive, "y_test")?) {
        (Some(x), Some(y)) => {
            // What holds for the training arrays has been noted.
            let (test_shape, test) = split(path, ("x_test", x), ("y_test", y), &mut Vec::new())?;
            if test_shape != shape || std::mem::discriminant(&test.images) != std::mem::discriminant(&train.images) {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!(
                        "{}: examples of x are {} of shape {shape:?} but those of x_test {} of shape {test_shape:?}",
                        path.display(),
                        kind(&train.images),
                        kind(&test.images)
                    ),
                ));
            }
            Some(test)
        }
        (None, None) => {
            notes.push(no_test_note("x_test with y_test"));
            None
        }
        (x, _) => {
            let (there, missing) = if x.is_some() { ("x_test", "y_test") } else { ("y_test", "x_test") };
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} has {there} but no {missing}: store both or neither", path.display()),
            ));
        }
    };
    let normalization = match &train.images {
        Images::U8(_) => {
            notes.push("x holds bytes: they are divided by 255 and not normalised further.".into());
            Normalization::divide_by(255.0)
        }
        Images::F32(_) => {
            notes.push("x holds numbers: they are used as they are, without normalisation.".into());
            Normalization::divide_by(1.0)
        }
    };
    let labels = train.labels.iter().chain(test.iter().flat_map(|test| &test.labels));
    let classes = labels.max().map_or(0, |&label| label as usize + 1);
    let name = path.file_name().map_or_else(|| "npz".into(), |name| name.to_string_lossy().into_owned());
    Ok(Dataset { name, train, test, classes, shape, normalization, notes })
}

fn kind(images: &Images) -> &'static str {
    match images {
        Images::U8(_) => "bytes",
        Images::F32(_) => "numbers",
    }
}

fn zip_error(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(what) => Error::new(
            ErrorKind::Unsupported,
            format!("{}: {what}: write it with numpy.savez or numpy.savez_compressed", path.display()),
        ),
        error => Error::corrupt(path, format!("not a readable npz archive ({error}): write it again")),
    }
}

fn read(path: &Path, archive: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Option<Array>> {
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
            Error::new(ErrorKind::Unsupported, format!("{}: array `{name}` has {what}", path.display()))
        }
    })
}

/// The shape of one example, and the examples.
fn split(path: &Path, x: (&str, Array), y: (&str, Array), notes: &mut Vec<String>) -> Result<(Vec<usize>, Split)> {
    let ((x_name, x), (y_name, y)) = (x, y);
    let lead = y.shape.len();
    if !(1..=2).contains(&lead) || x.shape.len() <= lead || x.shape[..lead] != y.shape[..] {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "{}: {x_name} has shape {:?} and {y_name} {:?}: examples [N, ...] need class numbers [N], \
                 or [steps, batch, ...] need [steps, batch]",
                path.display(),
                x.shape,
                y.shape
            ),
        ));
    }
    if x.shape.contains(&0) {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!("{}: {x_name} has shape {:?}, which holds nothing", path.display(), x.shape),
        ));
    }
    if lead == 2 {
        notes.push(format!(
            "x and y hold {} steps of {}: they are taken as {} examples in that order.",
            y.shape[0],
            y.shape[1],
            y.shape[0] * y.shape[1]
        ));
    }
    let images = match x.values {
        Values::U8(values) => Images::U8(values),
        Values::F32(values) => Images::F32(values),
        Values::F64(values) => Images::F32(values.iter().map(|&value| value as f32).collect()),
        Values::I64(values) => Images::F32(values.iter().map(|&value| value as f32).collect()),
        Values::U64(values) => Images::F32(values.iter().map(|&value| value as f32).collect()),
    };
    let shape = x.shape[lead..].to_vec();
    if let Images::F32(values) = &images
        && let Some(index) = values.iter().position(|value| !value.is_finite())
    {
        let example = index / shape.iter().product::<usize>();
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!("{}: {x_name} has {} in example {example}: remove such examples", path.display(), values[index]),
        ));
    }
    let labels = labels(&y.values).map_err(|(index, what)| {
        Error::new(
            ErrorKind::Mismatch,
            format!("{}: {y_name} has {what} at example {index}: labels are class numbers from 0", path.display()),
        )
    })?;
    Ok((shape, Split { images, labels }))
}

/// Whole numbers from 0 as labels; otherwise the index and text of the first that is none.
fn labels(values: &Values) -> std::result::Result<Vec<u32>, (usize, String)> {
    fn each<T: Copy + std::fmt::Display>(
        values: &[T],
        label: impl Fn(T) -> Option<u32>,
    ) -> std::result::Result<Vec<u32>, (usize, String)> {
        let labels = values.iter().enumerate();
        labels.map(|(index, &value)| label(value).ok_or_else(|| (index, value.to_string()))).collect()
    }
    let whole =
        |value: f64| (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32);
    match values {
        Values::U8(values) => each(values, |value| Some(value.into())),
        Values::I64(values) => each(values, |value| value.try_into().ok()),
        Values::U64(values) => each(values, |value| value.try_into().ok()),
        Values::F32(values) => each(values, |value| whole(value.into())),
        Values::F64(values) => each(values, whole),
    }
}
