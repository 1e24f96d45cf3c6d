//! Prints a line per network and way to train it: fingerprints of the assignment, of predicted bytes and of weights.
//!
//! `fingerprints FOLDER [NAME]` takes random networks from a folder of cases, and only networks whose name contains `NAME`.

use bitbudget_tests::fingerprints::{fingerprints, subjects};
use std::io::{Error, Result};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or_else(|| Error::other("usage: fingerprints FOLDER [NAME]"))?;
    let wanted = arguments.next().unwrap_or_default();
    for subject in subjects(&folder)?.iter().filter(|subject| subject.name.contains(&wanted)) {
        for line in fingerprints(subject) {
            println!("{line}");
        }
    }
    Ok(())
}
