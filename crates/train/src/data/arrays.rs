//! Examples as named arrays: any number of inputs, of numbers or whole numbers, and a class for each row of scores.

use std::path::Path;

use super::folder::no_test_note;
use super::npy::{self, Values};
use super::npz;
use super::ports::{Interface, Port};
use crate::{Error, ErrorKind, Result};
use bitbudget_report::counted;

/// The largest whole number that programs hold, 2^24.
const LARGEST: i128 = 1 << 24;

/// The elements of an array over all examples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Column {
    Numbers(Vec<f32>),
    Integers(Vec<i32>),
}

/// Some examples: an array for each port.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    pub(crate) examples: usize,
    pub(crate) columns: Vec<Column>,
}

/// Examples to train and, where there are any, to test with.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrays {
    /// Short name for reports.
    pub name: String,
    /// The inputs of the network, and the labels last.
    pub ports: Vec<Port>,
    /// Examples to train with.
    pub train: Columns,
    /// Examples to test with.
    pub test: Option<Columns>,
    /// Assumptions, in sentences for the user.
    pub notes: Vec<String>,
}

impl Arrays {
    /// Reads an npz file: an array for each input under its name (`x` for a single one) and the classes as `y`; the same with
    /// `_test` behind the names, if there are test examples.
    ///
    /// Rows whose class is negative, or `ignored`, do not count.
    ///
    /// # Errors
    /// Names every array that is missing or does not fit the network.
    pub fn load(path: &Path, interface: &Interface, ignored: Option<i32>) -> Result<Arrays> {
        let mut archive = npz::open(path)?;
        let ports: Vec<Port> = interface.inputs.iter().chain([&interface.labels]).cloned().collect();
        let mut split = |suffix: &str| -> Result<Option<Columns>> {
            let (mut found, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
            for (at, port) in ports.iter().enumerate() {
                let is_labels = at + 1 == ports.len();
                let other = if is_labels { Some("y") } else { (ports.len() == 2).then_some("x") };
                let mut array = None;
                for name in [other, Some(port.name.as_str())].into_iter().flatten() {
                    if array.is_none() {
                        array = npz::read(path, &mut archive, &format!("{name}{suffix}"))?;
                    }
                }
                match array {
                    Some(array) => found.push((port, array)),
                    None => missing.push(format!("`{}{suffix}`", other.unwrap_or(&port.name))),
                }
            }
            if found.is_empty() && !suffix.is_empty() {
                return Ok(None);
            }
            if !missing.is_empty() {
                problems.push(format!("there is no array {}", missing.join(", ")));
            }
            let (mut columns, mut examples) = (Vec::new(), None);
            for (port, array) in &found {
                match column(port, array, &mut examples) {
                    Ok(column) => columns.push(column),
                    Err(problem) => problems.push(problem),
                }
            }
            if let (Some(Column::Integers(labels)), true) = (columns.last_mut(), problems.is_empty()) {
                problems.extend(classes(labels, interface.classes, ignored));
            }
            match problems.is_empty() {
                true => Ok(Some(Columns { examples: examples.unwrap_or(0), columns })),
                false => {
                    let message = format!("{}: {}", path.display(), problems.join("; "));
                    Err(Error::new(ErrorKind::Mismatch, message))
                }
            }
        };
        let (train, test) = (split("")?, split("_test")?);
        let train = train.ok_or_else(|| Error::new(ErrorKind::Mismatch, format!("{} is empty", path.display())))?;
        let mut notes = Vec::new();
        if test.is_none() {
            notes.push(no_test_note("each array under its name with _test behind it"));
        }
        let name = path.file_name().map_or_else(|| "npz".into(), |name| name.to_string_lossy().into_owned());
        Ok(Arrays { name, ports, train, test, notes })
    }

    /// The first so many training examples, or all if there are fewer.
    pub(crate) fn first(&self, examples: usize) -> Columns {
        let taken = examples.min(self.train.examples);
        let columns = self.ports.iter().zip(&self.train.columns).map(|(port, column)| {
            let (outer, inner) = port.parts();
            let (outer, all) = if port.axis.is_some() { (outer, self.train.examples) } else { (1, 1) };
            let rows = |taken: usize| (0..outer).map(move |o| o * all * inner..(o * all + taken.min(all)) * inner);
            match column {
                Column::Numbers(all) => Column::Numbers(rows(taken).flat_map(|row| all[row].iter().copied()).collect()),
                Column::Integers(all) => {
                    Column::Integers(rows(taken).flat_map(|row| all[row].iter().copied()).collect())
                }
            }
        });
        Columns { examples: taken, columns: columns.collect() }
    }
}

/// The elements of an array for a port; all arrays have as many examples as the first.
fn column(port: &Port, array: &npy::Array, examples: &mut Option<usize>) -> std::result::Result<Column, String> {
    let name = &port.name;
    let takes = || format!("the network takes {} of shape {}", port.kind(), port.shown());
    let fits = array.shape.len() == port.shape.len()
        && array.shape.iter().zip(&port.shape).enumerate().all(|(axis, (&found, &wanted))| {
            match Some(axis) == port.axis {
                true => found > 0 && found % wanted.max(1) == 0,
                false => found == wanted,
            }
        });
    if !fits {
        return Err(format!("array `{name}` has shape {:?}, {}", array.shape, takes()));
    }
    if let Some(axis) = port.axis {
        let found = array.shape[axis] / port.shape[axis].max(1);
        let expected = *examples.get_or_insert(found);
        if found != expected {
            let [found, expected] = [found, expected].map(|n| counted(n as u64, "example", "examples"));
            return Err(format!("array `{name}` has {found} where others have {expected}"));
        }
    }
    let count: usize = array.shape.iter().product();
    if port.integers {
        let whole = |at: usize| match array.values.whole(at) {
            Some(whole) if whole.abs() <= LARGEST => Ok(whole as i32),
            _ => Err(format!("array `{name}` holds {} at element {at}, {}", array.values.show(at), takes())),
        };
        return Ok(Column::Integers((0..count).map(whole).collect::<std::result::Result<_, _>>()?));
    }
    let numbers: Vec<f32> = match &array.values {
        Values::U8(values) => values.iter().map(|&x| f32::from(x)).collect(),
        Values::F32(values) => values.clone(),
        Values::F64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::I64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::U64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::Text(_) => return Err(format!("array `{name}` holds text, {}", takes())),
    };
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(format!("array `{name}` holds {} at element {at}", array.values.show(at))),
        None => Ok(Column::Numbers(numbers)),
    }
}

/// Makes ignored labels negative, and says which one is no class.
fn classes(labels: &mut [i32], classes: usize, ignored: Option<i32>) -> Option<String> {
    labels.iter_mut().filter(|label| Some(**label) == ignored).for_each(|label| *label = -1);
    let at = labels.iter().position(|&label| usize::try_from(label).is_ok_and(|label| label >= classes))?;
    let classes = counted(classes as u64, "class", "classes");
    Some(format!("label {} at element {at} is too large: the network has {classes}, counted from 0", labels[at]))
}
