//! Why a network cannot be built.

use crate::Network;
use bitbudget_ir::GraphError;
use std::fmt;

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Options of its specification have no meaning.
    Option,
    /// An operator refuses its operands.
    Graph,
}

/// Why a network cannot be built: everything that is wrong with its specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    network: Network,
    faults: Vec<Fault>,
    source: Option<GraphError>,
}

/// The fault of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    option: &'static str,
    reason: String,
    help: String,
}

impl Fault {
    pub(crate) fn new(option: &'static str, reason: String, help: impl Into<String>) -> Fault {
        Fault { option, reason, help: help.into() }
    }
}

impl Error {
    pub(crate) fn of_options(network: Network, faults: Vec<Fault>) -> Error {
        Error { network, faults, source: None }
    }

    pub(crate) fn of_graph(network: Network, error: GraphError) -> Error {
        Error { network, faults: Vec::new(), source: Some(error) }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        if self.source.is_some() { ErrorKind::Graph } else { ErrorKind::Option }
    }

    /// Where: the network, with the first option that is wrong, or the operator.
    pub fn place(&self) -> String {
        let network = self.network;
        match (&self.source, self.faults.first()) {
            (Some(error), _) => format!("{network}, {}", error.place()),
            (None, Some(fault)) => format!("{network}, {}", fault.option),
            (None, None) => network.to_string(),
        }
    }

    /// Advice about the first option that is wrong.
    pub fn help(&self) -> Option<String> {
        self.faults.first().map(|fault| fault.help.clone())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter().map(|Fault { reason, help, .. }| format!("{reason}; {help}"));
        let all: Vec<String> = faults.chain(self.source.iter().map(ToString::to_string)).collect();
        write!(f, "cannot build {}: {}", self.network, all.join("; "))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
