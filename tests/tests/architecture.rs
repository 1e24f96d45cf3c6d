//! What only one crate knows, and who does not know whom (`docs/architecture.md`), read from the manifests.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A member of the workspace.
struct Member {
    folder: PathBuf,
    manifest: String,
    description: String,
    /// Names of what it depends on: in what it ships, and in tests and benches only.
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

/// The members by name without the prefix `bitbudget-`.
fn members() -> BTreeMap<String, Member> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let short = |name: &Value| name.as_str().unwrap().trim_start_matches("bitbudget-").to_string();
    let member = |package: &Value| {
        let names = |dev: bool| {
            let all = package["dependencies"].as_array().unwrap().iter();
            all.filter(|d| (d["kind"] == "dev") == dev).map(|d| short(&d["name"])).collect()
        };
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        Member {
            folder: manifest.parent().unwrap().to_path_buf(),
            manifest: std::fs::read_to_string(&manifest).unwrap(),
            description: package["description"].as_str().unwrap_or_default().to_string(),
            dependencies: names(false),
            dev_dependencies: names(true),
        }
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (short(&package["name"]), member(package))).collect()
}

/// All Rust files below a folder, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_unstable();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

#[test]
fn only_one_crate_knows_each_foreign_one() {
    let members = members();
    let foreign: &[(&str, &[&str])] = &[
        ("petgraph", &["ir"]),
        ("egg", &["rewrite"]),
        ("onnx-protobuf", &["onnx"]),
        ("protobuf", &["onnx"]),
        ("prost", &["bitbudget", "train"]),
        ("candle-core", &["exec"]),
        ("clap", &["cli"]),
        ("clap_complete", &["cli"]),
        ("clap_mangen", &["cli"]),
        ("indicatif", &["cli"]),
        ("comfy-table", &["cli"]),
        ("anyhow", &["cli"]),
        ("safetensors", &["train"]),
        ("flate2", &["train"]),
        ("clarabel", &["solver"]),
        ("microlp", &["solver"]),
        ("toml", &["bitbudget"]),
        ("sha2", &["bitbudget", "cli", "exec"]),
        ("crc32c", &["train"]),
        ("csv", &["cli"]),
        ("corosensei", &["emulator"]),
        ("libloading", &["emulator"]),
    ];
    for (name, expected) in foreign {
        let users = members.iter().filter(|(_, member)| member.dependencies.contains(*name));
        let users: BTreeSet<String> = users.map(|(user, _)| user.clone()).collect();
        assert_eq!(users, set(expected), "who depends on {name}");
    }
}

#[test]
fn passes_do_not_know_each_other() {
    let members = members();
    let own: BTreeSet<&String> = members.keys().collect();
    // Exactly these: a new edge is a decision, to be made here and in docs/architecture.md.
    let expected: &[(&str, &[&str])] = &[
        ("formats", &[]),
        ("ir", &["formats"]),
        ("kernels", &["formats"]),
        ("cuda", &["formats", "ir", "program"]),
        ("onnx", &["ir"]),
        ("zoo", &["ir"]),
        ("autodiff", &["ir"]),
        ("solver", &[]),
        ("precision", &["formats", "ir"]),
        ("rewrite", &["formats", "ir"]),
        ("schedule", &["formats", "ir"]),
        ("program", &["formats", "ir"]),
        ("select", &["cuda", "formats", "ir", "kernels", "program"]),
        ("lower", &["formats", "ir", "program", "schedule"]),
        ("exec", &["cuda", "formats", "ir", "kernels", "program", "select"]),
        ("profile", &["exec", "formats", "ir", "precision", "program"]),
        ("budget", &["formats", "ir", "precision", "profile", "report", "solver"]),
        ("train", &["exec", "formats", "program", "report"]),
        ("report", &[]),
        (
            "bitbudget",
            &[
                "autodiff",
                "budget",
                "exec",
                "formats",
                "ir",
                "lower",
                "onnx",
                "precision",
                "profile",
                "program",
                "report",
                "rewrite",
                "schedule",
                "select",
                "train",
                "zoo",
            ],
        ),
    ];
    for (name, dependencies) in expected {
        let known: BTreeSet<String> = members[*name].dependencies.iter().filter(|d| own.contains(d)).cloned().collect();
        assert_eq!(known, set(dependencies), "what {name} depends on");
    }
    let listed: BTreeSet<&str> =
        expected.iter().map(|(name, _)| *name).chain(["benches", "cli", "emulator", "testkit", "tests"]).collect();
    assert_eq!(own.iter().map(|name| name.as_str()).collect::<BTreeSet<_>>(), listed, "every member is listed");
    let of_cli: BTreeSet<String> = members["cli"].dependencies.iter().filter(|d| own.contains(d)).cloned().collect();
    assert_eq!(of_cli, set(&["bitbudget", "report", "train"]), "the command line is a user of the facade");
    for (name, member) in &members {
        for above in ["cli", "tests"] {
            assert!(!member.dependencies.contains(above), "{name} depends on {above}");
            assert!(!member.dev_dependencies.contains(above), "{name} depends on {above}");
        }
        assert!(!member.dependencies.contains("testkit"), "{name} ships testkit");
        assert!(!member.dependencies.contains("emulator"), "{name} ships emulator");
    }
}

#[test]
fn members_share_what_the_workspace_says() {
    for (name, member) in members() {
        for field in ["version", "edition", "rust-version", "license", "repository", "publish"] {
            assert!(member.manifest.contains(&format!("\n{field}.workspace = true\n")), "{name}: {field}");
        }
        assert!(member.manifest.contains("\n[lints]\nworkspace = true\n"), "{name}: lints");
        // Versions of dependencies stand in the root manifest only.
        let lines = member.manifest.lines().skip_while(|line| !line.ends_with("dependencies]"));
        let lines = lines
            .take_while(|line| !line.starts_with("[lints]") && !line.starts_with("[["))
            .filter(|l| !l.is_empty() && !l.starts_with(['[', '#']));
        for line in lines {
            let own = line.contains("workspace = true") || line.contains("path = \".\"");
            assert!(own, "{name}: {line}");
        }
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for (name, member) in members() {
        assert!(member.description.ends_with('.') && member.description.len() > 20, "{name}: description");
        let file = ["src/lib.rs", "src/main.rs"].map(|file| member.folder.join(file)).into_iter().find(|f| f.exists());
        let text = std::fs::read_to_string(file.unwrap()).unwrap();
        assert!(text.starts_with("//! "), "{name}: crate documentation");
        // An example that runs as a doc test, in every library that ships.
        if !["benches", "cli", "tests"].contains(&name.as_str()) {
            assert!(text.lines().any(|line| line == "//! ```"), "{name}: example");
        }
    }
}

/// Outputs go through one room, which follows links, spares devices, replaces files as a whole and locks them.
#[test]
fn files_are_written_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let writes =
        ["fs::write(", "File::create", "OpenOptions", "fs::rename(", "create_dir", "serialize_to_file", "tempfile::"];
    let mut seen = 0;
    for path in members()
        .iter()
        .filter(|(name, _)| !["emulator", "tests"].contains(&name.as_str()))
        .flat_map(|(_, member)| sources(&member.folder.join("src")))
    {
        let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        // The second tells the kernel to measure memory from now on, the third keeps compiled code, of which nothing is lost.
        let may = ["crates/cli/src/files/", "crates/cli/src/memory.rs", "crates/exec/src/nvidia/compiler.rs"];
        let may = may.iter().any(|place| relative.starts_with(place));
        let code = std::fs::read_to_string(&path).unwrap();
        let shipped = code.split("#[cfg(test)]").next().unwrap_or_default();
        if let Some(line) = shipped.lines().find(|line| writes.iter().any(|write| line.contains(write))) {
            assert!(may || relative.ends_with("tests.rs"), "{relative}: {line}");
            seen += 1;
        }
    }
    assert!(seen > 2, "the search finds nothing");
}

#[test]
fn unsafe_code_stands_where_it_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let may = ["crates/emulator/src", "crates/formats/src", "crates/kernels/src", "crates/exec/src/nvidia"];
    // Written in two parts, so that this file does not find itself.
    let keyword = concat!("un", "safe ");
    let mut seen = 0;
    for (_, member) in members() {
        for path in sources(&member.folder).into_iter().filter(|path| !path.starts_with(root.join("target"))) {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let code = std::fs::read_to_string(&path).unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            // With what may follow the keyword, so that names and texts do not count.
            let mut found = code.filter(|line| {
                ["{", "fn ", "extern ", "impl "].iter().any(|n| line.contains(&format!("{keyword}{n}")))
            });
            if let Some(line) = found.next() {
                assert!(may.iter().any(|folder| relative.starts_with(folder)), "{relative}: {line}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "the search finds nothing");
}
