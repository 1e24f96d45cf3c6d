//! Runs the files in `tests/filetests`: graph text with lines that say what to run and what must come out.
//! `tests/filetests/README.md` describes them. With `BITBUDGET_BLESS=1` outputs and errors in the files are rewritten.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

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

/// What the runner makes of a file: complaints, and the text when it is blessed.
fn judged(text: &str) -> (Vec<String>, String) {
    let cases = file::parse(text).unwrap();
    (outcome::of(text, &cases, false).complaints, outcome::of(text, &cases, true).text)
}

const RELU: &str =
    "graph \"g\" v2 {\n  %0 = input {name=\"x\"} : f32[N]\n  %1 = relu(%0) : f32[N]\n  return \"y\" = %1\n}\n";

#[test]
fn what_is_not_as_the_file_says_is_complained_of() {
    for (lines, complaint) in [
        ("// run: parse", "1: parse: nothing is expected"),
        ("// run: parse\n// check: = relu\n// check: input", "`input` is missing in order"),
        ("// run: parse\n// absent: relu", "`relu` is in"),
        ("// run: parse\n//| graph", "the output differs"),
        ("// run: verify\n// error: wrong", "nothing is refused"),
        ("// run: verify\n// error: other\n// replace: relu => add", "`other` is not refused here"),
        (
            "// run: verify\n// check: ok\n// replace: relu => add",
            "refused in line 6: add `%1` on (f32[N]): needs 2 operands",
        ),
        ("// run: parse\n// check: g\n// replace: tanh => add", "`tanh`, which is to be replaced, is not there"),
        ("// run: parse FORMAT=fp32\n// check: g", "the word `FORMAT` is not there"),
        ("// run: plan bath=2\n// check: g", "`plan` has no option `bath`"),
        ("// run: parse\n// check: = OP(\n// replace: relu => OP", "there is no operator `OP`"),
        ("// run: parse OP=relu|tanh\n// check: = relu(\n// replace: relu => OP", "OP=tanh `= relu(` is missing"),
    ] {
        let (complaints, _) = judged(&format!("{lines}\n{RELU}"));
        assert!(complaints.iter().any(|said| said.contains(complaint)), "{lines}: {complaints:?}");
    }
    assert!(file::parse("// check: relu\n").is_err_and(|fault| fault == "1: `check:` before a `run:` line"));
    assert!(file::parse(RELU).is_err_and(|fault| fault == "1: no `run:` line in this case"));
}

#[test]
fn blessing_writes_outputs_and_errors_and_nothing_else() {
    let output: String = RELU.lines().map(|line| format!("//| {line}\n")).collect();
    let refused = "// error: add `%1` on (f32[N]): needs 2 operands, has 1";
    let add = "// replace: relu => add";
    for (lines, blessed) in [
        ("// run: parse".to_string(), format!("// run: parse\n{output}")),
        (
            "// run: verify\n//| wrong\n// Prose.\n// run: verify".into(),
            "// run: verify\n//| ok\n// Prose.\n// run: verify\n//| ok\n".into(),
        ),
        (format!("// run: verify\n{add}\n// error: wrong"), format!("// run: verify\n{add}\n{refused}\n")),
        ("// run: parse\n// check: tanh".into(), "// run: parse\n// check: tanh\n".into()),
    ] {
        assert_eq!(judged(&format!("{lines}\n{RELU}")).1, format!("{blessed}{RELU}"));
    }
}
