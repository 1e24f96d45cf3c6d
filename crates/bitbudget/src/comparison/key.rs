//! Keys of results: a hash of everything that decides them.

use bitbudget_ir::Model;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The layout of records; results in others are computed again.
const LAYOUT: u32 = 3;

/// A hash over bytes and numbers.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a part. Parts are told apart by their lengths.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds numbers.
    pub fn add_numbers(&mut self, numbers: &[f32]) {
        self.0.update((numbers.len() as u64).to_le_bytes());
        numbers.iter().for_each(|number| self.0.update(number.to_le_bytes()));
    }

    /// The hash so far, as hexadecimal digits.
    pub fn digits(&self) -> String {
        self.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash of a network with its values, wherever they are stored.
    pub fn of_model(model: &Model) -> Fingerprint {
        let mut all = Fingerprint::default();
        all.add(model.graph.whole_text().as_bytes());
        for (name, values) in &model.values {
            all.add(name.as_bytes());
            all.add_numbers(values);
        }
        all
    }
}

/// The key of a result, from a description of everything that decides it.
pub fn key(description: &Value) -> String {
    let mut all = Fingerprint::default();
    all.add(&LAYOUT.to_le_bytes());
    all.add(env!("CARGO_PKG_VERSION").as_bytes());
    all.add(description.to_string().as_bytes());
    all.digits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitbudget_ir::Graph;
    use serde_json::json;

    #[test]
    fn whatever_decides_changes_the_key() {
        let mut model = Model { graph: Graph::new("a"), values: [("w".to_string(), vec![1.0, 2.0])].into() };
        let before = Fingerprint::of_model(&model).digits();
        assert_eq!(before.len(), 64);
        assert_eq!(Fingerprint::of_model(&model).digits(), before);
        model.values.insert("w".into(), vec![1.0, -2.0]);
        assert_ne!(Fingerprint::of_model(&model).digits(), before);
        assert_ne!(key(&json!({"seed": 1})), key(&json!({"seed": 2})));
        let split = |parts: [&str; 2]| {
            let mut all = Fingerprint::default();
            parts.iter().for_each(|part| all.add(part.as_bytes()));
            all.digits()
        };
        assert_ne!(split(["ab", "c"]), split(["a", "bc"]));
    }
}
