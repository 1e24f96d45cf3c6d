//! Prints a line per network and way to train it: fingerprints of the assignment, of predicted bytes and of weights.
//!
//! `fingerprints [NAME]` takes only the networks whose name contains `NAME`.

use bitbudget_tests::fingerprints::{fingerprints, subjects};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/fixed");
    for subject in subjects(&folder)?.iter().filter(|subject| subject.name.contains(&wanted)) {
        for line in fingerprints(subject) {
            println!("{line}");
        }
    }
    Ok(())
}
