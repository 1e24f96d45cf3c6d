//! Runs a folder of the standard's tests that `tests/evidence/node_tests.py` made: one line of JSON per test.
//!
//! `standard FOLDER`

use bitbudget_tests::differential::names;
use bitbudget_tests::standard::check;
use std::io::{Error, Result, Write};
use std::path::PathBuf;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| Error::other("usage: standard FOLDER"))?;
    // Panics are findings.
    std::panic::set_hook(Box::new(|_| {}));
    let mut output = std::io::stdout().lock();
    for name in names(&folder)? {
        writeln!(output, "{}", serde_json::to_string(&check(&folder, &name)?)?)?;
    }
    Ok(())
}
