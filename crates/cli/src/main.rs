//! The command line `bitbudget`: parses arguments, composes the passes, shows progress and prints.
//!
//! Exit codes: 0 success, 2 a wrong argument, file or network, 3 numbers that are not finite, 4 too little memory; messages go to
//! standard error.

mod advice;
mod args;
mod budget;
mod commands;
mod data;
mod divergence;
mod effect;
mod files;
mod memory;
mod model;
mod output;
mod progress;
mod report;
mod threads;

use bitbudget::{BudgetError, CompileError, MemoryError};
use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match parsed() {
        Ok(arguments) => arguments,
        Err(shown) => return show(&shown),
    };
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
        Err(error) => {
            output::remark("error", format!("{error:#}"));
            ExitCode::from(status(&error))
        }
    }
}

/// Reads the arguments; help is as wide as other text.
fn parsed() -> Result<args::Arguments, clap::Error> {
    let matches = args::Arguments::command().term_width(output::width().into()).try_get_matches()?;
    args::Arguments::from_arg_matches(&matches)
}

/// Prints help to standard output, or what is wrong with the arguments to standard error.
fn show(shown: &clap::Error) -> ExitCode {
    let text = shown.render();
    if shown.use_stderr() {
        output::tell(text.ansi().to_string().trim_end());
    } else if let Err(error) = output::say_styled(&text) {
        output::remark("error", format!("{error:#}"));
        return ExitCode::from(2);
    }
    ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2))
}

/// The exit status that tells what kind of error ended the command.
fn status(error: &anyhow::Error) -> u8 {
    if divergence::is_divergence(error) {
        divergence::STATUS
    } else if is_out_of_memory(error) {
        4
    } else {
        2
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
