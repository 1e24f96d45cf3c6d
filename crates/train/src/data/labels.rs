//! Arrays of labels.

use super::npy::{Array, Values};
use bitbudget_report::counted;

/// The class of examples with the ignored label.
pub(super) const IGNORED: u32 = u32::MAX;

/// The labels of examples.
#[derive(Debug, PartialEq)]
pub(super) struct Labels {
    /// One class per example.
    pub(super) classes: Vec<u32>,
    /// The number of columns of one-hot labels.
    pub(super) columns: Option<usize>,
    /// The assumption that was made, if any.
    pub(super) note: Option<String>,
}

/// Reads class numbers [N], in one column [N, 1], or one-hot [N, outputs], all below `outputs` but the number to be ignored.
///
/// Errors say what is in the array, at which example, and what to do, as a continuation of the array's name.
pub(super) fn labels(y: &Array, outputs: usize, ignored: Option<i32>) -> Result<Labels, String> {
    let shape = &y.shape;
    let inner = shape.iter().skip(1).copied().filter(|&size| size != 1).collect::<Vec<_>>();
    if let Values::Text(_) = &y.values {
        let first = y.values.show(0);
        return Err(format!(
            "holds text, {first} at example 0: {}",
            numbered("numpy.unique(y, return_inverse=True)[1]")
        ));
    }
    match (shape.len(), &inner[..]) {
        (1.., []) => Ok(Labels {
            classes: class_numbers(&y.values, outputs, ignored)?,
            columns: None,
            note: match shape.len() {
                1 if y.elements == "bool" => Some("holds booleans: False is class 0, True is class 1".into()),
                1 => None,
                _ => Some(format!("has shape {shape:?}: its only column is taken for class numbers")),
            },
        }),
        (2, &[columns]) => one_hot(y, columns, outputs),
        _ => Err(format!(
            "has shape {shape:?} ({}), not one label per example: {}",
            y.elements,
            numbered("one class number per example")
        )),
    }
}

fn numbered(store: &str) -> String {
    format!("labels are class numbers that count from 0; store {store}")
}

fn len(values: &Values) -> usize {
    match values {
        Values::U8(values) => values.len(),
        Values::F32(values) => values.len(),
        Values::F64(values) => values.len(),
        Values::I64(values) => values.len(),
        Values::U64(values) => values.len(),
        Values::Text(values) => values.len(),
    }
}

fn class_numbers(values: &Values, outputs: usize, ignored: Option<i32>) -> Result<Vec<u32>, String> {
    let mut classes = Vec::with_capacity(len(values));
    for index in 0..len(values) {
        let label = values.whole(index);
        let is_ignored = label.is_some() && label == ignored.map(i128::from);
        let class = label.and_then(|label| u32::try_from(label).ok()).filter(|&class| (class as usize) < outputs);
        let class = if is_ignored { Some(IGNORED) } else { class };
        let Some(class) = class else { return Err(no_class(values, index, outputs)) };
        classes.push(class);
    }
    Ok(classes)
}

/// Why an element is not a class, and what to do.
fn no_class(values: &Values, index: usize, outputs: usize) -> String {
    let at = format!("holds {} at example {index}", values.show(index));
    let Some(label) = values.whole(index) else {
        return format!(
            "{at}: labels are whole numbers that count from 0; store the number of each example's class, or train on numbers with \
             --loss mse"
        );
    };
    if label < 0 {
        return format!(
            "{at}, but labels count from 0: number the classes from 0, or leave such examples out with --ignore-label={label}"
        );
    }
    let network_has = format!("the network has {}", super::dataset::outputs(outputs));
    let why = format!("{at}, but {network_has} and labels count from 0, so the largest is {}", outputs.max(1) - 1);
    let all: Option<Vec<i128>> = (0..len(values)).map(|index| values.whole(index)).collect();
    let range = all.and_then(|all| all.iter().copied().min().zip(all.iter().copied().max()));
    match range {
        Some((0, 1)) if outputs == 1 => format!("{why}; for truth values give --loss bce"),
        Some((1, largest)) if largest <= outputs as i128 => {
            format!("{why}; no label is 0, so they seem to count from 1: subtract 1 from each")
        }
        Some((0.., largest)) if largest < 1 << 16 => {
            let needed = super::dataset::outputs(largest as usize + 1);
            format!("{why}; use a network with at least {needed}, or correct such labels")
        }
        _ => format!("{why}; number the classes from 0"),
    }
}

fn one_hot(y: &Array, columns: usize, outputs: usize) -> Result<Labels, String> {
    let shape = &y.shape;
    let at = |row: usize, column: usize| row * columns + column;
    let mut classes = Vec::with_capacity(shape[0]);
    for row in 0..shape[0] {
        let hot = |&column: &usize| y.values.whole(at(row, column)) == Some(1);
        let cold = |&column: &usize| y.values.whole(at(row, column)) == Some(0);
        let hots: Vec<usize> = (0..columns).filter(hot).collect();
        match hots[..] {
            [class] if (0..columns).filter(cold).count() == columns - 1 => classes.push(class as u32),
            _ => {
                let mut shown: Vec<String> = (0..columns.min(6)).map(|column| y.values.show(at(row, column))).collect();
                shown.extend((columns > 6).then(|| "...".to_string()));
                let is_binary = (0..columns).all(|column| hot(&column) || cold(&column));
                let advice = if is_binary {
                    format!(
                        "every example must have exactly one class, but this one has {}; store class numbers [N]",
                        hots.len()
                    )
                } else {
                    let or = if columns == outputs { "; for numbers as targets give --loss mse" } else { "" };
                    numbered("one per example, such as numpy.argmax(y, axis=1)") + or
                };
                return Err(format!(
                    "has shape {shape:?} ({}) and is not one-hot: example {row} has [{}]; {advice}",
                    y.elements,
                    shown.join(", ")
                ));
            }
        }
    }
    if columns != outputs {
        return Err(format!(
            "has shape {shape:?} ({}), one-hot labels of {}, but the network has {}: use a network with {}, or store \
             numpy.argmax(y, axis=1)",
            y.elements,
            counted(columns as u64, "class", "classes"),
            super::dataset::outputs(outputs),
            super::dataset::outputs(columns)
        ));
    }
    let classes_of = counted(columns as u64, "class", "classes");
    let note = Some(format!("has shape {shape:?}: it is taken for one-hot labels of {classes_of}"));
    Ok(Labels { classes, columns: Some(columns), note })
}
