//! The arrays that a program is given in each step.

use super::Network;

/// An array that each step of a program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name that binds it.
    pub name: String,
    /// Whether its elements are whole numbers or truth values.
    pub integers: bool,
    /// The dimensions for one example.
    pub shape: Vec<usize>,
    /// The dimension that grows with the examples; without one the array is the same for all of them.
    pub axis: Option<usize>,
}

impl Port {
    /// The dimensions for people, with `N` for the examples.
    pub(crate) fn shown(&self) -> String {
        let size = |(axis, &size): (usize, &usize)| match (Some(axis) == self.axis, size) {
            (true, 1) => "N".to_string(),
            (true, factor) => format!("{factor}*N"),
            (false, size) => size.to_string(),
        };
        format!("[{}]", self.shape.iter().enumerate().map(size).collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn kind(&self) -> &'static str {
        if self.integers { "whole numbers" } else { "numbers" }
    }

    /// Elements of the dimensions before the examples, and of an example behind them.
    pub(crate) fn parts(&self) -> (usize, usize) {
        let (outer, inner) = self.shape.split_at(self.axis.unwrap_or(0));
        (outer.iter().product(), inner.iter().product())
    }
}

/// Everything that a network is given: its inputs, and the classes of its rows of scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The inputs of the network.
    pub inputs: Vec<Port>,
    /// The class of each row of scores.
    pub labels: Port,
    /// The number of scores of a row.
    pub classes: usize,
}

impl Interface {
    /// The same for data of labelled images or rows of numbers: one input of numbers, one class for each example.
    pub fn network(&self) -> Option<Network> {
        let [input] = self.inputs.as_slice() else { return None };
        let is_led = input.axis == Some(0) && input.shape.first() == Some(&1) && !input.integers;
        (is_led && self.labels.shape == [1]).then(|| Network {
            input: input.name.clone(),
            shape: input.shape[1..].to_vec(),
            labels: self.labels.name.clone(),
            classes: self.classes,
        })
    }
}
