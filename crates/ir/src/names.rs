//! Names that nothing else has.

use std::collections::BTreeSet;

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
}

impl Names {
    /// Takes a name as it is, taken or not.
    pub fn take(&mut self, name: &str) {
        self.taken.insert(name.to_string());
    }

    /// Takes `base`, followed by a number if `base` is empty or taken, and returns it.
    pub fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        let mut count = 1;
        while name.is_empty() || !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{base}.{count}");
        }
        name
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Names {
        Names { taken: names.into_iter().collect() }
    }
}
