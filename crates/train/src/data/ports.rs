//! The arrays that a program is given in each step.

use super::Network;
use bitbudget_program::Loss;

/// An array that each step of a program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name that binds it.
    pub name: String,
    /// Whether its elements are whole numbers or truth values.
    pub integers: bool,
    /// Whole numbers are from 0 to below this, where that is known.
    pub below: Option<usize>,
    /// The dimensions for one example.
    pub shape: Vec<usize>,
    /// The dimension that grows with the examples; without one the array is the same for all of them.
    pub axis: Option<usize>,
}

impl Port {
    /// The dimensions for people, with `N` for the examples.
    pub fn shown(&self) -> String {
        let size = |(axis, &size): (usize, &usize)| match (Some(axis) == self.axis, size) {
            (true, 1) => "N".to_string(),
            (true, factor) => format!("{factor}*N"),
            (false, size) => size.to_string(),
        };
        format!("[{}]", self.shape.iter().enumerate().map(size).collect::<Vec<_>>().join(", "))
    }

    /// The kind of its elements, for people.
    pub fn kind(&self) -> &'static str {
        if self.integers { "whole numbers" } else { "numbers" }
    }

    /// Elements of the dimensions before the examples, and of an example behind them.
    pub(crate) fn parts(&self) -> (usize, usize) {
        let (outer, inner) = self.shape.split_at(self.axis.unwrap_or(0));
        (outer.iter().product(), inner.iter().product())
    }
}

/// Everything that a network is given: its inputs, and what it should give.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// The inputs of the network.
    pub inputs: Vec<Port>,
    /// The arrays that the loss compares the network's result with: one for a loss of a name, any number where the network computes its own.
    pub targets: Vec<Port>,
    /// The loss.
    pub loss: Loss,
    /// The number of scores of a row, where there are classes.
    pub classes: usize,
}

impl Interface {
    /// The same for data of labelled images or rows of numbers: one input of numbers, one class for each example.
    pub fn network(&self) -> Option<Network> {
        let ([input], [labels]) = (self.inputs.as_slice(), self.targets.as_slice()) else { return None };
        let is_led = input.axis == Some(0) && input.shape.first() == Some(&1) && !input.integers;
        let has_classes = matches!(self.loss, Loss::CrossEntropy { .. }) && labels.shape == [1];
        (is_led && has_classes).then(|| Network {
            input: input.name.clone(),
            shape: input.shape[1..].to_vec(),
            labels: labels.name.clone(),
            classes: self.classes,
        })
    }
}
