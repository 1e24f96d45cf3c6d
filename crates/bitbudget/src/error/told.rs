//! Kind, place and help of the errors of the crates below.

use super::{CompileError, ErrorKind};
use crate::{BudgetError, MemoryError, PlanError, ProbeError, TrainerError, zoo};
use bitbudget_budget::SolverError;
use bitbudget_exec::{self as exec, ExecError};
use bitbudget_ir::GraphError;
use bitbudget_lower as lower;
use bitbudget_onnx::{ExportError, ImportError, ImportProblem};
use bitbudget_profile::ProfileError;
use bitbudget_train as train;

/// Kind, place and help of an error, besides its message.
pub(super) trait Told {
    fn kind(&self) -> ErrorKind;

    fn place(&self) -> Option<String>;

    fn help(&self) -> Option<String> {
        None
    }
}

impl Told for CompileError {
    fn kind(&self) -> ErrorKind {
        match self {
            CompileError::Graph(_) => ErrorKind::Unsupported,
            CompileError::Lower(error) => match error.kind() {
                lower::ErrorKind::Batch => ErrorKind::Invalid,
                lower::ErrorKind::Empty | lower::ErrorKind::Size | lower::ErrorKind::Program => ErrorKind::Unsupported,
            },
            CompileError::Pins(_) | CompileError::Assign(_) => ErrorKind::Invalid,
            CompileError::Plan(error) => Told::kind(error),
            CompileError::Budget(error) => of_budget(error),
            CompileError::Profile(error) => Told::kind(error),
        }
    }

    fn place(&self) -> Option<String> {
        CompileError::place(self)
    }

    fn help(&self) -> Option<String> {
        CompileError::help(self)
    }
}

fn of_budget(error: &BudgetError) -> ErrorKind {
    match error {
        BudgetError::Memory(_) => ErrorKind::OutOfMemory,
        BudgetError::Profile { .. } => ErrorKind::Mismatch,
        BudgetError::Assign(_) => ErrorKind::Invalid,
        BudgetError::Solver(SolverError::NotBuilt) | BudgetError::Build(_) => ErrorKind::Unsupported,
        BudgetError::Solver(SolverError::Threads(_)) => ErrorKind::Device,
        BudgetError::Solver(_)
        | BudgetError::Infeasible(_)
        | BudgetError::Unknown(_)
        | BudgetError::TooLarge { .. }
        | BudgetError::Exceeded { .. }
        | BudgetError::Threads { .. }
        | BudgetError::Machine { .. } => ErrorKind::Budget,
    }
}

impl Told for GraphError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }

    fn place(&self) -> Option<String> {
        Some(GraphError::place(self))
    }
}

impl Told for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            PlanError::Problems(_) => ErrorKind::Mismatch,
            PlanError::Kind(_) | PlanError::Syntax(_) | PlanError::Field { .. } | PlanError::Write(_) => {
                ErrorKind::Invalid
            }
        }
    }

    fn place(&self) -> Option<String> {
        PlanError::place(self)
    }

    fn help(&self) -> Option<String> {
        PlanError::help(self)
    }
}

impl Told for TrainerError {
    fn kind(&self) -> ErrorKind {
        match self {
            TrainerError::Decode(error) => error.kind(),
            TrainerError::Assignment { .. } => ErrorKind::Corrupt,
            TrainerError::Build { .. } => ErrorKind::Mismatch,
            TrainerError::Budget { .. } => ErrorKind::Budget,
            TrainerError::Compile(error) => Told::kind(error),
        }
    }

    fn place(&self) -> Option<String> {
        TrainerError::place(self)
    }

    fn help(&self) -> Option<String> {
        TrainerError::help(self)
    }
}

impl Told for ExecError {
    fn kind(&self) -> ErrorKind {
        match ExecError::kind(self) {
            exec::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            exec::ErrorKind::Inputs => ErrorKind::Mismatch,
            exec::ErrorKind::Device => ErrorKind::Device,
            exec::ErrorKind::Step => ErrorKind::Unsupported,
        }
    }

    fn place(&self) -> Option<String> {
        Some(ExecError::place(self).to_string())
    }
}

impl Told for train::Error {
    fn kind(&self) -> ErrorKind {
        match train::Error::kind(self) {
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

    fn place(&self) -> Option<String> {
        train::Error::place(self).map(str::to_string)
    }
}

impl Told for ProfileError {
    fn kind(&self) -> ErrorKind {
        match self {
            ProfileError::Setting(_) | ProfileError::Missing(_) => ErrorKind::Invalid,
            ProfileError::Exec(error) => Told::kind(error),
            ProfileError::Threads(_) => ErrorKind::Device,
            ProfileError::NotFinite { .. } => ErrorKind::NotFinite,
            ProfileError::Format(_) => ErrorKind::Corrupt,
            ProfileError::Network { .. } | ProfileError::Loss { .. } => ErrorKind::Mismatch,
        }
    }

    fn place(&self) -> Option<String> {
        ProfileError::place(self)
    }

    fn help(&self) -> Option<String> {
        ProfileError::help(self)
    }
}

impl Told for ProbeError {
    fn kind(&self) -> ErrorKind {
        match self {
            ProbeError::Compile(error) => Told::kind(error),
            ProbeError::Exec(error) => Told::kind(error),
        }
    }

    fn place(&self) -> Option<String> {
        match self {
            ProbeError::Compile(error) => error.place(),
            ProbeError::Exec(error) => Told::place(error),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            ProbeError::Compile(error) => error.help(),
            ProbeError::Exec(error) => Told::help(error),
        }
    }
}

impl Told for MemoryError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::OutOfMemory
    }

    fn place(&self) -> Option<String> {
        Some(self.what.clone())
    }

    fn help(&self) -> Option<String> {
        Some(self.advice.clone())
    }
}

impl Told for ImportError {
    fn kind(&self) -> ErrorKind {
        match self.io_kind() {
            Some(std::io::ErrorKind::NotFound) => ErrorKind::NotFound,
            Some(_) => ErrorKind::Io,
            None => ErrorKind::Unsupported,
        }
    }

    fn place(&self) -> Option<String> {
        self.problems().first().and_then(ImportProblem::place).map(str::to_string)
    }
}

impl Told for ExportError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }

    fn place(&self) -> Option<String> {
        None
    }
}

impl Told for zoo::Error {
    fn kind(&self) -> ErrorKind {
        match zoo::Error::kind(self) {
            zoo::ErrorKind::Option => ErrorKind::Invalid,
            zoo::ErrorKind::Graph => ErrorKind::Unsupported,
        }
    }

    fn place(&self) -> Option<String> {
        Some(zoo::Error::place(self))
    }

    fn help(&self) -> Option<String> {
        zoo::Error::help(self)
    }
}
