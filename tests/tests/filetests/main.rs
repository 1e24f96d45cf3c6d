//! Runs the files in `tests/filetests`: graph text with lines that say what to run and what must come out.
//! `tests/filetests/README.md` describes them. With `BITBUDGET_BLESS=1` outputs and errors in the files are rewritten.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

mod file;
mod outcome;
mod stages;

use std::path::{Path, PathBuf};

/// All graph files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_unstable();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let all = entries.into_iter().flat_map(below);
    all.filter(|path| path.extension().is_some_and(|extension| extension == "graph")).collect()
}

/// Runs the files of a folder and fails with all complaints about them.
fn run(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let bless = std::env::var_os("BITBUDGET_BLESS").is_some();
    let found = files(&root.join(folder));
    assert!(!found.is_empty(), "no files in {folder}");
    let mut complaints = Vec::new();
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display();
        match file::parse(&text) {
            Err(fault) => complaints.push(format!("{name}:{fault}")),
            Ok(cases) => {
                let outcome = outcome::of(&text, &cases, bless);
                complaints.extend(outcome.complaints.iter().map(|complaint| format!("{name}:{complaint}")));
                if bless && outcome.text != text {
                    std::fs::write(&path, outcome.text).unwrap();
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn text() {
    run("text");
}

#[test]
fn shapes() {
    run("shapes");
}

#[test]
fn rules() {
    run("rules");
}

#[test]
fn refusals() {
    run("refusals");
}

#[test]
fn plans() {
    run("plans");
}

#[test]
fn every_folder_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort_unstable();
    let names: Vec<_> = folders.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["plans", "refusals", "rules", "shapes", "text"]);
}
