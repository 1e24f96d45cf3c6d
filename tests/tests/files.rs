//! The files of a crate form layers: no circle of imports, and `lib.rs` holds modules and re-exports only.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The crates whose `src` is one folder of such files.
const CRATES: [&str; 1] = ["solver"];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates").join(name).join("src")
}

/// By file, what it imports from its crate. Test modules are left out.
fn imports(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let files = std::fs::read_dir(source(name)).unwrap().map(|entry| entry.unwrap().path());
    let imports = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let modules = code
            .split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '{')).collect::<String>());
        (path.file_stem().unwrap().to_string_lossy().into_owned(), modules.collect())
    };
    files.filter(|path| path.extension().is_some_and(|e| e == "rs")).map(imports).collect()
}

#[test]
fn no_file_imports_a_file_that_imports_it() {
    for name in CRATES {
        let mut left = imports(name);
        let files: BTreeSet<String> = left.keys().cloned().collect();
        for (file, modules) in &left {
            let others: Vec<_> = modules.difference(&files).collect();
            assert!(others.is_empty(), "{name}: {file} imports {others:?} from lib.rs, not from their files");
        }
        // Takes files away whose imports are gone, until none is left.
        while !left.is_empty() {
            let is_free = |modules: &BTreeSet<String>| modules.iter().all(|module| !left.contains_key(module));
            let free: Vec<String> =
                left.iter().filter(|(_, modules)| is_free(modules)).map(|(file, _)| file.clone()).collect();
            assert!(!free.is_empty(), "{name}: a circle of imports among {:?}", left.keys());
            free.iter().for_each(|file| drop(left.remove(file)));
        }
    }
}

#[test]
fn lib_rs_holds_modules_and_re_exports_only() {
    for name in CRATES {
        let text = std::fs::read_to_string(source(name).join("lib.rs")).unwrap();
        let others: Vec<&str> = text
            .lines()
            .filter(|line| !["//!", "mod ", "pub mod ", "pub use ", "#["].iter().any(|start| line.starts_with(start)))
            .filter(|line| !line.is_empty())
            .collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}
