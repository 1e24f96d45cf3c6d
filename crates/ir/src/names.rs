//! Names that nothing else has.

use std::collections::{BTreeMap, BTreeSet};

/// The names that are taken, to which new ones are added.
///
/// ```
/// use bitbudget_ir::Names;
///
/// let mut names: Names = ["w".to_string(), "w.velocity".to_string()].into_iter().collect();
/// assert_eq!(names.fresh("b.velocity"), "b.velocity");
/// assert_eq!(names.fresh("w.velocity"), "w.velocity.2");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Names {
    taken: BTreeSet<String>,
    /// The number that the last name with a base got.
    counts: BTreeMap<String, usize>,
}

impl Names {
    /// Takes a name as it is, taken or not.
    pub fn take(&mut self, name: &str) {
        self.taken.insert(name.to_string());
    }

    /// Takes `base`, followed by a number if `base` is empty or taken, and returns it.
    pub fn fresh(&mut self, base: &str) -> String {
        if !base.is_empty() && self.taken.insert(base.to_string()) {
            return base.to_string();
        }
        let count = self.counts.entry(base.to_string()).or_insert(1);
        loop {
            *count += 1;
            let name = format!("{base}.{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Names {
        Names { taken: names.into_iter().collect(), counts: BTreeMap::new() }
    }
}
