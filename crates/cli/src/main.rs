//! The command line `bitbudget`: parses arguments, composes the passes, shows progress and prints.
//!
//! Exit codes: 0 success, 2 a wrong argument, file or network, 3 numbers that are not finite, 4 too little memory; messages go to
//! standard error.

mod advice;
mod args;
mod budget;
mod commands;
mod console;
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

use bitbudget::{Available, ErrorKind};
use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

/// Bytes without which not even the arguments can be read.
const START: usize = 4 << 20;

fn main() -> ExitCode {
    let enough = Available::now().check("bitbudget", START, 0, "raise the limit (`ulimit -v`, or the container's)");
    if let Err(error) = enough {
        output::remark("error", error);
        return ExitCode::from(4);
    }
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
            output::remark("error", output::whole(&error));
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
        output::remark("error", output::whole(&error));
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
        let io: Option<&std::io::Error> = cause.downcast_ref();
        ErrorKind::of(cause) == Some(ErrorKind::OutOfMemory)
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use bitbudget::zoo::{Network, Spec, build};
    use bitbudget::{Executor, Method, Options, Target, compile};

    /// The errors of a step that the machine has too little memory for, as the crates on the way wrap it.
    #[test]
    fn too_little_memory_has_a_status_of_its_own_wherever_it_runs_out() {
        let spec = Spec {
            network: Network::SqueezeNet,
            width: 0.1,
            classes: 10,
            input: [3, 32, 32],
            seed: 0,
            ..Spec::default()
        };
        let options = Options { batch: 2, method: Method::Fp32, ..Options::default() };
        let mut program = compile(build(&spec).unwrap(), &options).unwrap().train;
        program.arena = usize::MAX / 2;
        let error = || Executor::new(Target::Cpu, 1).unwrap().load(&program).unwrap_err();
        let message = error().to_string();
        let of_train = || bitbudget_train::Error::from(error());
        for error in [
            anyhow::Error::from(error()),
            of_train().into(),
            bitbudget::Error::from(error()).into(),
            bitbudget::Error::from(of_train()).into(),
        ] {
            let error = Err::<(), _>(error).context("cannot train net.onnx").unwrap_err();
            assert_eq!((status(&error), output::whole(&error)), (4, format!("cannot train net.onnx: {message}")));
        }
        let other = bitbudget_train::Error::new(bitbudget_train::ErrorKind::Invalid, "no");
        assert_eq!(status(&bitbudget::Error::from(other).into()), 2);
    }
}
