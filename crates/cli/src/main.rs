//! The command line `bitbudget`: parses arguments, composes the passes, shows progress and prints.
//!
//! Exit codes: 0 success, 2 a wrong argument, file or network, 4 too little memory; messages go to standard error.

mod args;
mod budget;
mod commands;
mod memory;
mod model;
mod output;
mod progress;
mod report;

use bitbudget::{BudgetError, CompileError, MemoryError};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let result = match arguments.command {
        args::Command::Zoo(args) => commands::zoo::run(&args),
        args::Command::Inspect(args) => commands::inspect::run(&args),
        args::Command::Assign(args) => commands::assign::run(&args),
        args::Command::Compile(args) => commands::compile::run(&args),
        args::Command::Train(args) => commands::train::run(&args),
        args::Command::Eval(args) => commands::eval::run(&args),
        args::Command::Explain(args) => commands::explain::run(&args),
        args::Command::Bench(args) => commands::bench::run(&args),
        args::Command::Report(args) => commands::report::run(&args),
        args::Command::Profile(args) => commands::profile::run(&args),
        args::Command::Compare(args) => commands::compare::run(&args),
        args::Command::Completions(args) => commands::completions::run(&args),
        args::Command::Man(args) => commands::man::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, such as `head`, is no error.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::remark("error", format!("{error:#}"));
            ExitCode::from(if is_out_of_memory(&error) { 4 } else { 2 })
        }
    }
}

/// Whether an error is that there is too little memory, which other arguments may not help.
fn is_out_of_memory(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let budget = cause.downcast_ref().and_then(|error: &CompileError| match error {
            CompileError::Budget(error) => Some(error),
            _ => None,
        });
        let io: Option<&std::io::Error> = cause.downcast_ref();
        matches!(budget, Some(BudgetError::Memory(_)))
            || cause.is::<MemoryError>()
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
    })
}
