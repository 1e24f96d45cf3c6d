//! Examples as named arrays: any number of inputs, of numbers or whole numbers, and the targets of the loss.

use std::collections::BTreeSet;
use std::path::Path;

use super::folder::no_test_note;
use super::npy::{self, Values};
use super::npz;
use super::ports::{Interface, Port};
use crate::random::{Purpose, generator};
use crate::{Error, ErrorKind, Result};
use bitbudget_program::Loss;
use bitbudget_report::counted;
use rand::Rng;

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
    /// The inputs of the network, and behind them the targets.
    pub ports: Vec<Port>,
    /// The number of targets.
    pub targets: usize,
    /// Examples to train with.
    pub train: Columns,
    /// Examples to test with.
    pub test: Option<Columns>,
    /// Assumptions, in sentences for the user.
    pub notes: Vec<String>,
}

impl Arrays {
    /// Reads an npz file: an array for each input under its name (`x` for a single one) and for each target (`y` for a single one); the same
    /// with `_test` behind the names, if there are test examples.
    ///
    /// Rows whose class is negative, or `ignored`, do not count. Targets may lack dimensions of size one. Bytes (uint8) of inputs of numbers
    /// are divided by 255, as those of labelled images are.
    ///
    /// # Errors
    /// Names every array that is missing or does not fit the network.
    pub fn load(path: &Path, interface: &Interface, ignored: Option<i32>) -> Result<Arrays> {
        let mut archive = npz::open(path)?;
        let ports: Vec<Port> = interface.inputs.iter().chain(&interface.targets).cloned().collect();
        let (mut notes, mut read) = (Vec::new(), BTreeSet::new());
        let mut split = |suffix: &str| -> Result<Option<Columns>> {
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for port in &ports {
                match array(path, &mut archive, (interface, port), suffix)? {
                    Ok(array) => found.push(array),
                    Err(name) => missing.push(format!("`{name}`")),
                }
            }
            if found.is_empty() && !suffix.is_empty() {
                return Ok(None);
            }
            if suffix.is_empty() {
                notes.extend(found.iter().filter_map(Found::note));
            }
            read.extend(found.iter().map(|found| found.name.clone()));
            let mut problems = Vec::new();
            if !missing.is_empty() {
                let names: Vec<&str> =
                    archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name)).collect();
                problems.push(format!("there is no array {} (the file has: {})", missing.join(", "), names.join(", ")));
            }
            let (mut columns, mut examples) = (Vec::new(), None);
            for found in &found {
                match column(found, &mut examples) {
                    Ok(column) => columns.push(column),
                    Err(problem) => problems.push(problem),
                }
            }
            if problems.is_empty() {
                problems.extend(columns.last_mut().and_then(|last| wrong_target(last, interface, ignored)));
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
        if test.is_none() {
            notes.push(no_test_note("array whose name ends in _test"));
        }
        notes.extend(npz::unread(&archive, |name| read.contains(name)));
        let name = path.file_name().map_or_else(|| "npz".into(), |name| name.to_string_lossy().into_owned());
        Ok(Arrays { name, ports, targets: interface.targets.len(), train, test, notes })
    }

    /// Random examples, none to test with: numbers from -1 to 1 (truth values for binary cross-entropy), and whole numbers in their ranges.
    pub fn random(interface: &Interface, examples: usize, seed: u64) -> Arrays {
        let ports: Vec<Port> = interface.inputs.iter().chain(&interface.targets).cloned().collect();
        let is_truth = |at: usize| at >= interface.inputs.len() && interface.loss == Loss::BinaryCrossEntropy;
        let column = |(at, port): (usize, &Port)| {
            let (outer, inner) = port.parts();
            let count = outer * inner * if port.axis.is_some() { examples } else { 1 };
            let mut random = generator(Purpose::Arrays, seed, 0, at as u64);
            match port.integers {
                true => {
                    let below = port.below.unwrap_or(2).clamp(1, LARGEST as usize) as u32;
                    Column::Integers((0..count).map(|_| (random.next_u32() % below) as i32).collect())
                }
                false if is_truth(at) => Column::Numbers((0..count).map(|_| (random.next_u32() % 2) as f32).collect()),
                false => {
                    let number = |bits: u32| (f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0) as f32;
                    Column::Numbers((0..count).map(|_| number(random.next_u32())).collect())
                }
            }
        };
        let columns = ports.iter().enumerate().map(column).collect();
        let notes = vec!["The data is random: its loss says nothing about real data.".into()];
        let (name, train) = ("random".into(), Columns { examples, columns });
        Arrays { name, ports, targets: interface.targets.len(), train, test: None, notes }
    }

    /// Hands the shapes and elements of all examples on, to be hashed.
    pub fn for_each_part(&self, add: &mut dyn FnMut(&[u8])) {
        add(format!("{:?}", self.ports).as_bytes());
        for columns in std::iter::once(&self.train).chain(&self.test) {
            for column in &columns.columns {
                match column {
                    Column::Numbers(numbers) => numbers.iter().for_each(|number| add(&number.to_le_bytes())),
                    Column::Integers(numbers) => numbers.iter().for_each(|number| add(&number.to_le_bytes())),
                }
            }
        }
    }

    /// The array by which results are judged, where there is one for all.
    pub(crate) fn judged(&self) -> Option<&Port> {
        if self.targets == 1 { self.ports.last() } else { None }
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

/// A target without the dimensions of size one that the network's does not have, and with those that it has.
fn squeezed(port: &Port, mut array: npy::Array) -> npy::Array {
    if array.shape.len() == port.shape.len() {
        return array;
    }
    let is_kept = |axis: usize| Some(axis) == port.axis || port.shape[axis] != 1;
    let kept: Vec<usize> = (0..port.shape.len()).filter(|&axis| is_kept(axis)).collect();
    let mut sizes = array.shape.clone();
    while let (true, Some(at)) = (sizes.len() > kept.len(), sizes.iter().rposition(|&size| size == 1)) {
        sizes.remove(at);
    }
    if sizes.len() == kept.len() {
        let mut shape = vec![1; port.shape.len()];
        kept.into_iter().zip(sizes).for_each(|(axis, size)| shape[axis] = size);
        array.shape = shape;
    }
    array
}

/// Makes ignored labels negative, and says why the loss does not take a target.
fn wrong_target(target: &mut Column, interface: &Interface, ignored: Option<i32>) -> Option<String> {
    match (&interface.loss, target) {
        (Loss::CrossEntropy { .. }, Column::Integers(labels)) => classes(labels, interface.classes, ignored),
        (Loss::BinaryCrossEntropy, Column::Numbers(numbers)) => {
            let at = numbers.iter().position(|x| !(0.0..=1.0).contains(x))?;
            Some(format!(
                "target {} at element {at} is not from 0 to 1, as the loss bce takes them; for other numbers give --loss mse",
                numbers[at]
            ))
        }
        _ => None,
    }
}

/// An array of the file for a port.
struct Found<'a> {
    port: &'a Port,
    /// Its name in the file.
    name: String,
    is_target: bool,
    array: npy::Array,
}

impl Found<'_> {
    /// Whether its numbers are bytes of images.
    fn is_scaled(&self) -> bool {
        !self.is_target && !self.port.integers && self.array.elements == "uint8"
    }

    fn note(&self) -> Option<String> {
        let name = &self.name;
        let is_bytes = !self.port.integers && self.array.elements == "uint8";
        is_bytes.then(|| match self.is_target {
            true => {
                format!("{name} holds bytes: as targets they are used as they are, from 0 to 255, not divided by 255.")
            }
            false => {
                format!("{name} holds bytes: they are divided by 255; stored as floats they would be used as they are.")
            }
        })
    }

    /// What the network takes there.
    fn takes(&self) -> String {
        format!("the network takes {} of shape {}", self.port.kind(), self.port.shown())
    }

    /// Which element of which example the number of an element is.
    fn place(&self, at: usize) -> String {
        let Some(axis) = self.port.axis else { return format!("at element {at}") };
        let [along, behind] = [self.array.shape[axis], self.array.shape[axis + 1..].iter().product()];
        let example = at / behind.max(1) % along.max(1) / self.port.shape[axis].max(1);
        format!("at element {at} (example {example})")
    }
}

/// The array for a port, or the name that it should have.
fn array<'a>(
    path: &Path,
    archive: &mut npz::Archive,
    (interface, port): (&Interface, &'a Port),
    suffix: &str,
) -> Result<std::result::Result<Found<'a>, String>> {
    let is_target = interface.targets.contains(port);
    let (alike, short) = if is_target { (&interface.targets, "y") } else { (&interface.inputs, "x") };
    let short = (alike.len() == 1).then_some(short);
    let mut names = [short, Some(port.name.as_str())];
    if !is_target || matches!(interface.loss, Loss::Output { .. }) {
        // The network's own name is sure: `x` may be an input that its output does not depend on.
        names.reverse();
    }
    for name in names.into_iter().flatten().map(|name| format!("{name}{suffix}")) {
        if let Some(array) = npz::read(path, archive, &name)? {
            let array = if is_target { squeezed(port, array) } else { array };
            return Ok(Ok(Found { port, name, is_target, array }));
        }
    }
    Ok(Err(format!("{}{suffix}", short.unwrap_or(&port.name))))
}

/// The elements of an array; all arrays have as many examples as the first.
fn column(found: &Found<'_>, examples: &mut Option<usize>) -> std::result::Result<Column, String> {
    let Found { port, name, is_target, array } = found;
    let as_numbers = if *is_target && port.integers { "; for numbers as targets give --loss mse" } else { "" };
    let fits = array.shape.len() == port.shape.len()
        && array.shape.iter().zip(&port.shape).enumerate().all(|(axis, (&found, &wanted))| {
            match Some(axis) == port.axis {
                true => found > 0 && found % wanted.max(1) == 0,
                false => found == wanted,
            }
        });
    if !fits {
        let is_number = matches!(array.values, Values::F32(_) | Values::F64(_));
        let is_alike = array.shape.len() == port.shape.len() && array.shape.len() > 1 && !array.shape.contains(&0);
        let is_class = port.below.is_some() && found.is_target && is_alike;
        let advice = match (is_number, is_class) {
            (true, _) => as_numbers,
            (false, true) => "; --class-axis says which dimension of the network's output holds the classes",
            (false, false) => "",
        };
        return Err(format!("array `{name}` has shape {:?}, {}{advice}", array.shape, found.takes()));
    }
    if let Some(axis) = port.axis {
        let count = array.shape[axis] / port.shape[axis].max(1);
        let expected = *examples.get_or_insert(count);
        if count != expected {
            let [count, expected] = [count, expected].map(|n| counted(n as u64, "example", "examples"));
            return Err(format!("array `{name}` has {count} where others have {expected}"));
        }
    }
    let count: usize = array.shape.iter().product();
    let wrong = |at: usize| format!("array `{name}` holds {} {}", array.values.show(at), found.place(at));
    if port.integers {
        let whole = |at: usize| match array.values.whole(at) {
            Some(whole) if whole.abs() > LARGEST => Err(format!("{}, {}", wrong(at), found.takes())),
            Some(whole) if !is_target && !is_index(whole, port.below) => {
                let below = port.below.unwrap_or_default();
                Err(format!("{}, but the network takes whole numbers from 0 to {}", wrong(at), below.saturating_sub(1)))
            }
            Some(whole) => Ok(whole as i32),
            None => Err(format!("{}, {}{as_numbers}", wrong(at), found.takes())),
        };
        return Ok(Column::Integers((0..count).map(whole).collect::<std::result::Result<_, _>>()?));
    }
    let numbers: Vec<f32> = match &array.values {
        Values::U8(values) if found.is_scaled() => values.iter().map(|&x| f32::from(x) / 255.0).collect(),
        Values::U8(values) => values.iter().map(|&x| f32::from(x)).collect(),
        Values::F32(values) => values.clone(),
        Values::F64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::I64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::U64(values) => values.iter().map(|&x| x as f32).collect(),
        Values::Text(_) => return Err(format!("array `{name}` holds text, {}", found.takes())),
    };
    match numbers.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(wrong(at)),
        None => Ok(Column::Numbers(numbers)),
    }
}

/// Whether a number is an index of so many. ONNX has negative ones count from the end, but in data they are padding or a mistake.
fn is_index(whole: i128, below: Option<usize>) -> bool {
    below.is_none_or(|below| (0..below as i128).contains(&whole))
}

/// Makes ignored labels negative, and says which one is no class.
fn classes(labels: &mut [i32], classes: usize, ignored: Option<i32>) -> Option<String> {
    labels.iter_mut().filter(|label| Some(**label) == ignored).for_each(|label| *label = -1);
    if labels.iter().all(|&label| label < 0) {
        return Some(
            "every label is ignored (negative, or that of --ignore-label): there is nothing to train on".into(),
        );
    }
    let at = labels.iter().position(|&label| usize::try_from(label).is_ok_and(|label| label >= classes))?;
    let (count, classes) = (classes, counted(classes as u64, "class", "classes"));
    let advice = if count == 1 { "; for truth values give --loss bce" } else { "" };
    Some(format!(
        "label {} at element {at} is too large: the network has {classes}, counted from 0{advice}",
        labels[at]
    ))
}
