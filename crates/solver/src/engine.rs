//! Engines by name.

use std::fmt;
use std::str::FromStr;

/// Which code solves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// This crate's own.
    #[default]
    Embedded,
    /// HiGHS, if the crate was built with the feature `highs`.
    Highs,
}

impl Engine {
    /// All engines, in this build or not.
    pub const ALL: [Engine; 2] = [Engine::Embedded, Engine::Highs];

    /// The name, as options and solutions have it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Embedded => "embedded",
            Engine::Highs => "highs",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Engine, String> {
        let all = Engine::ALL.map(Engine::name).join(", ");
        Engine::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or(format!("unknown engine `{name}`; expected one of {all}"))
    }
}
