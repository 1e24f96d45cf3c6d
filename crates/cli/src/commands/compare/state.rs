//! Results that are kept until a comparison is complete, and for the next one.

use crate::files::{Folder, save};
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A result with its key and what it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry<R> {
    /// The hash of everything that decides the record.
    pub(super) key: String,
    pub(super) record: R,
    /// Seconds that it took to come to.
    pub(super) seconds: f64,
    /// The median of its steps' seconds.
    pub(super) step_seconds: Option<f64>,
}

/// A folder of results.
pub(super) struct State {
    folder: Folder,
}

impl State {
    /// The results in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn open(folder: &Path) -> Result<State> {
        Ok(State { folder: Folder::make(folder)? })
    }

    /// A result that is kept, or that of `make` once it is; and whether it was kept.
    ///
    /// A new result is written whole or not at all, and then read, so that it is the same number by number as one that is
    /// kept. A file that is damaged or has another key counts as none.
    ///
    /// # Errors
    /// If the result cannot be made or kept.
    pub(super) fn kept_or<R: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        key: &str,
        make: impl FnOnce() -> Result<(R, f64, Option<f64>)>,
    ) -> Result<(Entry<R>, bool)> {
        let path = self.folder.path().join(format!("{name}-{}.json", &key[..16]));
        if let Some(entry) = read(&path, key) {
            return Ok((entry, true));
        }
        let (record, seconds, step_seconds) = make()?;
        let entry = Entry { key: key.to_string(), record, seconds, step_seconds };
        save(&path, serde_json::to_string_pretty(&entry)?.as_bytes())?;
        let entry = read(&path, key).with_context(|| format!("cannot read {} again", path.display()))?;
        Ok((entry, false))
    }
}

fn read<R: DeserializeOwned>(path: &Path, key: &str) -> Option<Entry<R>> {
    let text = std::fs::read_to_string(path).ok()?;
    let entry: Entry<R> = serde_json::from_str(&text).ok()?;
    (entry.key == key).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_or_of_another_key_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("a/b")).unwrap();
        let key = "0123456789abcdef0";
        let made = |n: f64| move || Ok((n, 1.0, None));
        let get = |key: &str, n: f64| {
            let (entry, kept) = state.kept_or("case", key, made(n)).unwrap();
            (entry.record, kept)
        };
        assert_eq!(get(key, 0.1), (0.1, false));
        assert_eq!(get(key, 0.2), (0.1, true));
        // The name is the same, the key is not.
        assert_eq!(get("0123456789abcdef1", 0.3), (0.3, false));
        let path = folder.path().join("a/b/case-0123456789abcdef.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(get("0123456789abcdef1", 0.4), (0.4, false));
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
        let failed = state.kept_or::<f64>("case", "fedcba9876543210", || anyhow::bail!("no"));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }
}
