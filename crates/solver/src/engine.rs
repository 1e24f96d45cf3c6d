//! The engines.

use std::fmt;
use std::str::FromStr;

/// The code that solves a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The engine of this crate.
    #[default]
    Embedded,
    /// HiGHS, in builds with the feature `highs`.
    Highs,
}

impl Engine {
    /// All engines, including those that are not in this build.
    pub const ALL: [Engine; 2] = [Engine::Embedded, Engine::Highs];

    /// Returns the name, as used in options and solutions.
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

/// A text that names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine `{}`; expected one of {}", .0, Engine::ALL.map(Engine::name).join(", "))]
pub struct ParseEngineError(String);

impl FromStr for Engine {
    type Err = ParseEngineError;

    fn from_str(name: &str) -> Result<Engine, ParseEngineError> {
        Engine::ALL.into_iter().find(|engine| engine.name() == name).ok_or(ParseEngineError(name.into()))
    }
}
