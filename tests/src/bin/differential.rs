//! Checks a folder of cases that `tests/differential` made: one line of JSON per network and check.
//!
//! `differential FOLDER [--save FOLDER] [--threads N]`

use bitbudget_tests::differential::{Case, Finding, Outcome, check, names};
use std::io::{Error, Result, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() -> Result<ExitCode> {
    let (mut folder, mut save, mut threads) = (None, None, 2);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Error::other(format!("{argument} needs a value")));
        match argument.as_str() {
            "--save" => save = Some(PathBuf::from(value()?)),
            "--threads" => threads = value()?.parse().map_err(Error::other)?,
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let folder = folder.ok_or_else(|| Error::other("usage: differential FOLDER [--save FOLDER] [--threads N]"))?;
    if let Some(save) = &save {
        std::fs::create_dir_all(save)?;
    }
    // Panics are findings.
    std::panic::set_hook(Box::new(|_| {}));
    let names = names(&folder)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let output = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let findings = check(&Case::read(&folder, name)?, save.as_deref());
                        let faults = findings.iter().filter(|f| matches!(f.outcome, Outcome::Failed(_))).count();
                        failed.fetch_add(faults, Ordering::Relaxed);
                        write(&output, &findings)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(Error::other("a worker panicked"))))
    })?;
    Ok(ExitCode::from(u8::from(failed.into_inner() > 0)))
}

fn write(output: &Mutex<std::io::Stdout>, findings: &[Finding]) -> Result<()> {
    let mut output = output.lock().map_err(|_| Error::other("a worker panicked"))?;
    for finding in findings {
        writeln!(output, "{}", serde_json::to_string(finding)?)?;
    }
    output.flush()
}
