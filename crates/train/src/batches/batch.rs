//! The inputs of one step.

use crate::{Error, ErrorKind, Result};
use bitbudget_exec::{self as exec, Inputs};
use bitbudget_report::counted;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The elements of an array, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// FP32 numbers.
    F32(Vec<f32>),
    /// Whole numbers: classes, tokens; 0 and 1 for truth values.
    Integers(Vec<i32>),
}

/// An input of a program in one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The dimensions, batch included.
    pub shape: Vec<usize>,
    /// The elements.
    pub numbers: Numbers,
}

/// The inputs of one step by name; a data set's batches reuse their memory from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The arrays. The images of a data set are [batch, c, h, w], or [batch, h, w, c] where the network takes them so.
    pub arrays: BTreeMap<String, Array>,
    /// The array of what the network should give: one class per row of scores, of which rows with a negative one do not count, or a number
    /// for each of its numbers. Empty where the network computes its own loss.
    pub labels: String,
    /// The dimension of that array that grows with the examples.
    pub axis: usize,
    /// The number of each example in its split, where the batch is of one.
    pub examples: Vec<u32>,
    /// How many examples from the first on count; the rest repeat others to fill the batch.
    pub valid: usize,
}

impl Batch {
    /// A batch whose examples all count: as many as the labels' first dimension says.
    ///
    /// # Errors
    /// `Invalid` if `labels` does not name an array.
    pub fn new(arrays: impl IntoIterator<Item = (String, Array)>, labels: &str) -> Result<Batch> {
        let mut batch = Batch { arrays: arrays.into_iter().collect(), labels: labels.into(), ..Batch::default() };
        batch.valid = batch.target()?.shape.first().copied().unwrap_or(1);
        Ok(batch)
    }

    /// The array of what the network should give.
    ///
    /// # Errors
    /// `Invalid` if there is none.
    pub(crate) fn target(&self) -> Result<&Array> {
        let missing = || Error::new(ErrorKind::Invalid, format!("a batch has no labels `{}`", self.labels));
        self.arrays.get(&self.labels).ok_or_else(missing)
    }

    /// Its numbers.
    ///
    /// # Errors
    /// `Invalid` if there is none, or it holds integers.
    pub(crate) fn target_numbers(&self) -> Result<&[f32]> {
        match &self.target()?.numbers {
            Numbers::F32(numbers) => Ok(numbers),
            Numbers::Integers(_) => {
                let message = format!("a batch has integers for its targets `{}`: give FP32 numbers", self.labels);
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// The class of each row of scores, those included that do not count.
    ///
    /// # Errors
    /// `Invalid` if there is no such array of integers, or more examples are said to count than there are.
    pub fn classes(&self) -> Result<&[i32]> {
        let invalid = |reason: String| Err(Error::new(ErrorKind::Invalid, format!("a batch {reason}")));
        match &self.target()?.numbers {
            Numbers::Integers(classes) if !classes.is_empty() && self.valid <= classes.len() => Ok(classes),
            Numbers::Integers(classes) => {
                let (have, valid) = (counted(classes.len() as u64, "label", "labels"), self.valid);
                invalid(format!("of {have} says that {valid} count"))
            }
            Numbers::F32(_) => invalid(format!("has FP32 numbers for its labels `{}`: give integers", self.labels)),
        }
    }

    /// The arrays as inputs of a step.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs::new(self.arrays.iter().map(|(name, Array { shape, numbers })| {
            let numbers = match numbers {
                Numbers::F32(numbers) => exec::Numbers::F32(numbers),
                Numbers::Integers(numbers) => exec::Numbers::Integers(numbers),
            };
            (name.as_str(), exec::Array { shape, numbers })
        }))
    }

    /// The most extreme of all FP32 numbers by an order, the first of equal ones, with the number of its example in its split.
    pub fn most(&self, by: impl Fn(&f32, &f32) -> Ordering) -> Option<(f32, Option<u32>)> {
        let count = if self.examples.is_empty() { self.valid } else { self.examples.len() };
        let example = |at: usize, len: usize| self.examples.get(at.checked_div(len.checked_div(count)?)?).copied();
        let mut most: Option<(f32, Option<u32>)> = None;
        for (_, numbers) in self.numbers() {
            for (at, &x) in numbers.iter().enumerate() {
                if most.is_none_or(|(other, _)| by(&x, &other).is_gt()) {
                    most = Some((x, example(at, numbers.len())));
                }
            }
        }
        most
    }

    /// The FP32 arrays with their names.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.arrays.iter().filter_map(|(name, array)| match &array.numbers {
            Numbers::F32(numbers) => Some((name.as_str(), numbers.as_slice())),
            Numbers::Integers(_) => None,
        })
    }
}
