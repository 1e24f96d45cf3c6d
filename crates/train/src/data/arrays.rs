//! Examples as named arrays: any number of inputs, of numbers or whole numbers, and the targets of the loss.

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
    /// Rows whose class is negative, or `ignored`, do not count. Targets may lack dimensions of size one.
    ///
    /// # Errors
    /// Names every array that is missing or does not fit the network.
    pub fn load(path: &Path, interface: &Interface, ignored: Option<i32>) -> Result<Arrays> {
        let mut archive = npz::open(path)?;
        let (inputs, targets) = (interface.inputs.len(), interface.targets.len());
        let ports: Vec<Port> = interface.inputs.iter().chain(&interface.targets).cloned().collect();
        let mut split = |suffix: &str| -> Result<Option<Columns>> {
            let (mut found, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
            for (at, port) in ports.iter().enumerate() {
                let is_target = at >= inputs;
                let other = if is_target { (targets == 1).then_some("y") } else { (inputs == 1).then_some("x") };
                let mut array = None;
                let mut names = [other, Some(port.name.as_str())];
                if matches!(interface.loss, Loss::Output { .. }) {
                    // The network names its targets itself.
                    names.reverse();
                }
                for name in names.into_iter().flatten() {
                    if array.is_none() {
                        array = npz::read(path, &mut archive, &format!("{name}{suffix}"))?;
                    }
                }
                match array {
                    Some(array) if is_target => found.push((port, squeezed(port, array))),
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
                let is_target = interface.targets.contains(port);
                match column(port, array, is_target, &mut examples) {
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
        let mut notes = Vec::new();
        if test.is_none() {
            notes.push(no_test_note("array whose name ends in _test"));
        }
        let name = path.file_name().map_or_else(|| "npz".into(), |name| name.to_string_lossy().into_owned());
        Ok(Arrays { name, ports, targets, train, test, notes })
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

/// The elements of an array for a port; all arrays have as many examples as the first.
fn column(
    port: &Port,
    array: &npy::Array,
    is_target: bool,
    examples: &mut Option<usize>,
) -> std::result::Result<Column, String> {
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
        let is_number = matches!(array.values, Values::F32(_) | Values::F64(_));
        let advice =
            if is_target && port.integers && is_number { "; for numbers as targets give --loss mse" } else { "" };
        return Err(format!("array `{name}` has shape {:?}, {}{advice}", array.shape, takes()));
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
            Some(_) => Err(format!("array `{name}` holds {} at element {at}, {}", array.values.show(at), takes())),
            None => {
                let advice = if is_target { "; for numbers as targets give --loss mse" } else { "" };
                Err(format!("array `{name}` holds {} at element {at}, {}{advice}", array.values.show(at), takes()))
            }
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
    let (count, classes) = (classes, counted(classes as u64, "class", "classes"));
    let advice = if count == 1 { "; for truth values give --loss bce" } else { "" };
    Some(format!(
        "label {} at element {at} is too large: the network has {classes}, counted from 0{advice}",
        labels[at]
    ))
}
