//! Labelled examples, and the network that they are for.

use super::layout::Layout;
use super::normalization::Normalization;
use crate::{Error, ErrorKind, Result};
use bitbudget_report::counted;

/// A number of a network's outputs.
pub(super) fn outputs(n: usize) -> String {
    counted(n as u64, "output", "outputs")
}

/// The network that data are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The name of the input that takes the examples.
    pub input: String,
    /// The shape of one example there.
    pub shape: Vec<usize>,
    /// The name of the input that takes the labels.
    pub labels: String,
    /// The number of outputs.
    pub classes: usize,
}

/// The stored values of a split's examples, one example after the other, each in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Images {
    /// Bytes, as image files have them.
    U8(Vec<u8>),
    /// Numbers.
    F32(Vec<f32>),
}

impl Images {
    /// The number of stored values over all examples.
    pub fn len(&self) -> usize {
        match self {
            Images::U8(values) => values.len(),
            Images::F32(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Examples and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Examples x values per example.
    pub images: Images,
    /// One class per example.
    pub labels: Vec<u32>,
}

impl Split {
    /// Leaves out the examples of a class, and says how many these were.
    pub(super) fn leave_out(&mut self, class: u32, length: usize) -> usize {
        fn kept<T: Copy>(all: &[T], labels: &[u32], class: u32, length: usize) -> Vec<T> {
            let rows = all.chunks(length.max(1)).zip(labels);
            rows.filter(|&(_, &label)| label != class).flat_map(|(row, _)| row.iter().copied()).collect()
        }
        let before = self.labels.len();
        if self.labels.contains(&class) {
            self.images = match &self.images {
                Images::U8(all) => Images::U8(kept(all, &self.labels, class, length)),
                Images::F32(all) => Images::F32(kept(all, &self.labels, class, length)),
            };
            self.labels.retain(|&label| label != class);
        }
        before - self.labels.len()
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// A set of labelled examples to train and, where there are any, to test with.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Short name for reports.
    pub name: String,
    /// Examples to train with.
    pub train: Split,
    /// Examples to test with.
    pub test: Option<Split>,
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// Shape of one example; after [`fit`](super::fit()) images are channels, height, width.
    pub shape: Vec<usize>,
    /// The type of the values in the files: `uint8`, `float64`.
    pub elements: String,
    /// How images lie in the files, where their format says it.
    pub layout: Layout,
    /// Whether the network takes images as height, width, channels: batches have this order.
    pub channels_last: bool,
    /// The network whose inputs batches are for, set by [`fit`](super::fit()).
    pub network: Network,
    /// How stored values become the network's input. An evaluation uses that of the training data.
    pub normalization: Normalization,
    /// Assumptions and changes, in sentences for the user.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Leaves out the examples of a class, with a note that calls it by its label in the data.
    pub(super) fn leave_out(&mut self, class: u32, label: &str) {
        let length = self.example_len();
        let left_out: usize =
            std::iter::once(&mut self.train).chain(&mut self.test).map(|split| split.leave_out(class, length)).sum();
        if left_out > 0 {
            let examples = counted(left_out as u64, "example", "examples");
            self.notes.push(format!("Left out: {examples} with the ignored label {label}."));
        }
    }

    /// The first so many training examples, or all if there are fewer.
    pub fn first(&self, examples: usize) -> Split {
        let examples = examples.min(self.train.len());
        let values = (examples * self.example_len()).min(self.train.images.len());
        let images = match &self.train.images {
            Images::U8(all) => Images::U8(all[..values].to_vec()),
            Images::F32(all) => Images::F32(all[..values].to_vec()),
        };
        Split { images, labels: self.train.labels[..examples].to_vec() }
    }

    /// Bytes that all examples take at most in a network's shape, while they are brought into it; 0 if they have it.
    pub fn bytes_to_fit(&self, network: &Network) -> usize {
        if self.shape == network.shape {
            return 0;
        }
        let length = network.shape.iter().fold(1usize, |product, &size| product.saturating_mul(size));
        let bytes = |split: &Split| {
            let each = match &split.images {
                Images::U8(_) => size_of::<u8>(),
                Images::F32(_) => size_of::<f32>(),
            };
            split.len().saturating_mul(length).saturating_mul(each)
        };
        let (train, test) = (bytes(&self.train), self.test.as_ref().map_or(0, bytes));
        // One split is there twice, before and after a change.
        train.saturating_add(test).saturating_add(train.max(test))
    }

    /// The number of values of one example.
    pub fn example_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks that images, labels, shape and normalisation agree.
    ///
    /// # Errors
    /// `Mismatch`, naming every disagreement.
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let length = self.example_len();
        if length == 0 {
            problems.push(format!("examples of shape {:?} have no values", self.shape));
        }
        if !self.normalization.fits(length) {
            problems.push(format!(
                "the normalisation ({}, {}, divisor {}) does not fit examples of shape {:?}",
                counted(self.normalization.mean.len() as u64, "mean", "means"),
                counted(self.normalization.std.len() as u64, "deviation", "deviations"),
                self.normalization.divisor,
                self.shape
            ));
        }
        for (name, split) in std::iter::once(("training", &self.train)).chain(self.test.iter().map(|t| ("test", t))) {
            if split.is_empty() {
                problems.push(format!("there is no {name} example"));
            }
            if Some(split.images.len()) != split.len().checked_mul(length) {
                problems.push(format!(
                    "{} cannot be {} of shape {:?}",
                    counted(split.images.len() as u64, &format!("{name} value"), &format!("{name} values")),
                    counted(split.len() as u64, "example", "examples"),
                    self.shape
                ));
            }
            if let Some(index) = split.labels.iter().position(|&label| label as usize >= self.classes) {
                let label = split.labels[index];
                let classes = counted(self.classes as u64, "class", "classes");
                problems.push(format!("{name} label {label} (example {index}) is too large for {classes}"));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Mismatch, format!("{}: {}", self.name, problems.join("; ")))),
        }
    }
}
