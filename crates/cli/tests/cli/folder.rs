//! A folder in which the command runs.

use assert_cmd::Command;
use bitbudget::zoo::{Network, Spec, build};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A folder with a small network `net.onnx` in it.
pub(crate) struct Folder(TempDir);

/// The result of a command.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The small network of most tests: SqueezeNet of width 0.1 on 3x16x16.
pub(crate) fn network() -> Vec<u8> {
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 16, 16], seed: 0, ..Spec::default() };
    bitbudget::onnx::export_bytes(&build(&spec).unwrap()).unwrap()
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("net.onnx", &network());
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// The names of all files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Runs `bitbudget` with arguments separated by blanks; one that hangs is killed and has no exit code.
    pub(crate) fn run(&self, arguments: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitbudget"));
        command
            .current_dir(self.0.path())
            .env("RUST_BACKTRACE", "1")
            .env_remove("COLUMNS")
            .timeout(Duration::from_secs(60));
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &str) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments}: {}", run.stderr);
        run
    }

    /// Runs a command that must be refused: exit code 2, a message with all of the words, nothing else left behind.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &str, words: &[&str]) {
        self.fails(2, arguments, words);
    }

    /// Runs a command whose numbers must not be finite: exit code 3, otherwise as [`Folder::refused`].
    #[track_caller]
    pub(crate) fn diverges(&self, arguments: &str, words: &[&str]) {
        self.fails(3, arguments, words);
    }

    /// Runs a command that must take too much memory: exit code 4, otherwise as [`Folder::refused`].
    #[track_caller]
    pub(crate) fn too_large(&self, arguments: &str, words: &[&str]) {
        self.fails(4, arguments, words);
    }

    #[track_caller]
    fn fails(&self, status: i32, arguments: &str, words: &[&str]) {
        let before = self.files();
        let Run { code, stdout, stderr } = self.run(arguments);
        assert_eq!(code, Some(status), "{arguments}: {stdout}{stderr}");
        assert!(stderr.starts_with("error: "), "{arguments}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments}: no `{word}` in {stderr}");
        }
        for noise in ["panicked", "RUST_BACKTRACE", "stack backtrace", ".rs:"] {
            assert!(!stderr.contains(noise), "{arguments}: {stderr}");
        }
        assert_eq!(stdout, "", "{arguments}");
        assert_eq!(self.files(), before, "{arguments}");
    }
}
