//! The facade's error: one shape for everything that can fail.

use crate::{BudgetError, CompileError, MemoryError, PlanError, ProbeError, TrainerError};
use bitbudget_exec::{self as exec, ExecError};
use bitbudget_ir::GraphError;
use bitbudget_onnx::{ExportError, ImportError, ImportProblem};
use bitbudget_profile::ProfileError;
use bitbudget_train as train;
use std::error::Error as StdError;
use std::fmt;

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or an option has no meaning, or not together with the others.
    Invalid,
    /// A file or folder is not there.
    NotFound,
    /// Reading or writing failed.
    Io,
    /// The content of a file is damaged, or that of another kind of file.
    Corrupt,
    /// Two things that have to agree do not: data and network, profile and network, inputs and program.
    Mismatch,
    /// A network, a file or data that are legal but not handled.
    Unsupported,
    /// No assignment fits the budget, or none was found.
    Budget,
    /// Numbers that have to be finite are not.
    NotFinite,
    /// There is not enough memory, on this machine or on a device.
    OutOfMemory,
    /// A device or its threads cannot be had, or fail.
    Device,
}

/// What failed: its message is a sentence that says what is wrong, where, and what to do; these are told apart too.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Option<String>,
    help: Option<String>,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error in words.
    pub(crate) fn new(kind: ErrorKind, reason: &str) -> Error {
        Error { kind, place: None, help: None, source: reason.into() }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: a node with its operator, a tensor, an input, where one can be told.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// What to do, where the message says so apart from the reason.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Error {
    /// The error that the message is of.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl ErrorKind {
    /// The kind of an error of this library, whatever crate it comes from; nothing for errors from elsewhere.
    pub fn of(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error.kind);
        }
        if error.is::<MemoryError>() {
            return Some(ErrorKind::OutOfMemory);
        }
        let compile = error.downcast_ref().map(of_compile);
        let compile = compile.or_else(|| error.downcast_ref().map(of_trainer));
        let run = error.downcast_ref().map(of_exec).or_else(|| error.downcast_ref().map(of_train));
        let probe = error.downcast_ref().map(of_profile).or_else(|| error.downcast_ref().map(of_probe));
        let onnx = error.downcast_ref().map(of_import);
        compile.or(run).or(probe).or(onnx)
    }
}

fn of_compile(error: &CompileError) -> ErrorKind {
    match error {
        CompileError::Graph(_) | CompileError::Lower(_) => ErrorKind::Unsupported,
        CompileError::Pins(_) | CompileError::Plan(_) | CompileError::Assign(_) => ErrorKind::Invalid,
        CompileError::Budget(BudgetError::Memory(_)) => ErrorKind::OutOfMemory,
        CompileError::Budget(_) => ErrorKind::Budget,
        CompileError::Profile(error) => of_profile(error),
    }
}

fn of_trainer(error: &TrainerError) -> ErrorKind {
    match error {
        TrainerError::Decode(_) | TrainerError::Assignment(_) => ErrorKind::Corrupt,
        TrainerError::Build(_) => ErrorKind::Mismatch,
        TrainerError::Budget { .. } => ErrorKind::Budget,
        TrainerError::Compile(error) => of_compile(error),
    }
}

fn of_exec(error: &ExecError) -> ErrorKind {
    match error.kind() {
        exec::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        exec::ErrorKind::Inputs => ErrorKind::Mismatch,
        exec::ErrorKind::Device => ErrorKind::Device,
        exec::ErrorKind::Step => ErrorKind::Unsupported,
    }
}

fn of_train(error: &train::Error) -> ErrorKind {
    match error.kind() {
        train::ErrorKind::NotFound => ErrorKind::NotFound,
        train::ErrorKind::Corrupt => ErrorKind::Corrupt,
        train::ErrorKind::Mismatch => ErrorKind::Mismatch,
        train::ErrorKind::Unsupported => ErrorKind::Unsupported,
        train::ErrorKind::Io => ErrorKind::Io,
        train::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        train::ErrorKind::Device => ErrorKind::Device,
        _ => ErrorKind::Invalid,
    }
}

fn of_profile(error: &ProfileError) -> ErrorKind {
    match error {
        ProfileError::Setting(_) | ProfileError::Missing(_) => ErrorKind::Invalid,
        ProfileError::Exec(error) => of_exec(error),
        ProfileError::Threads(_) => ErrorKind::Device,
        ProfileError::NotFinite { .. } => ErrorKind::NotFinite,
        ProfileError::Format(_) => ErrorKind::Corrupt,
        ProfileError::Network { .. } => ErrorKind::Mismatch,
    }
}

fn of_probe(error: &ProbeError) -> ErrorKind {
    match error {
        ProbeError::Compile(error) => of_compile(error),
        ProbeError::Exec(error) => of_exec(error),
    }
}

fn of_import(error: &ImportError) -> ErrorKind {
    match error.io_kind() {
        Some(std::io::ErrorKind::NotFound) => ErrorKind::NotFound,
        Some(_) => ErrorKind::Io,
        None => ErrorKind::Unsupported,
    }
}

/// The place of the first fault.
fn first<'e>(faults: impl IntoIterator<Item = &'e GraphError>) -> Option<String> {
    faults.into_iter().next().map(GraphError::place)
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Error {
        let place = match &error {
            CompileError::Graph(faults) => first(faults),
            _ => None,
        };
        Error { kind: of_compile(&error), place, help: None, source: Box::new(error) }
    }
}

impl From<GraphError> for Error {
    fn from(error: GraphError) -> Error {
        CompileError::from(error).into()
    }
}

impl From<TrainerError> for Error {
    fn from(error: TrainerError) -> Error {
        Error { kind: of_trainer(&error), place: None, help: None, source: Box::new(error) }
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Error {
        CompileError::from(error).into()
    }
}

impl From<ExecError> for Error {
    fn from(error: ExecError) -> Error {
        let place = Some(error.place().to_string());
        Error { kind: of_exec(&error), place, help: None, source: Box::new(error) }
    }
}

impl From<train::Error> for Error {
    fn from(error: train::Error) -> Error {
        let place = error.place().map(str::to_string);
        Error { kind: of_train(&error), place, help: None, source: Box::new(error) }
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Error {
        let place = match &error {
            ProfileError::NotFinite { kind, name, .. } => Some(format!("{kind} `{name}`")),
            ProfileError::Exec(error) => Some(error.place().to_string()),
            _ => None,
        };
        Error { kind: of_profile(&error), place, help: None, source: Box::new(error) }
    }
}

impl From<ProbeError> for Error {
    fn from(error: ProbeError) -> Error {
        Error { kind: of_probe(&error), place: None, help: None, source: Box::new(error) }
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Error {
        let (place, help) = (Some(error.what.clone()), Some(error.advice.clone()));
        Error { kind: ErrorKind::OutOfMemory, place, help, source: Box::new(error) }
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Error {
        let place = error.problems().first().and_then(ImportProblem::place).map(str::to_string);
        Error { kind: of_import(&error), place, help: None, source: Box::new(error) }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Error {
        Error { kind: ErrorKind::Unsupported, place: None, help: None, source: Box::new(error) }
    }
}
