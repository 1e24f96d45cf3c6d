//! Learning-rate schedules.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// How the learning rate falls over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// The base rate throughout.
    Constant,
    /// `base (1 + cos(pi step / steps)) / 2`, step by step: the base rate at step 0, 0 at `steps` (the paper's schedule).
    Cosine,
    /// The base rate, a tenth of it from half of the steps on, a hundredth from three quarters on.
    Step,
}

impl LearningRate {
    /// The rate of step `step` (from 0) of a run of `steps`; after its end, that of its end.
    pub fn at(self, base: f32, step: u64, steps: u64) -> f32 {
        let progress = if step >= steps { 1.0 } else { step as f64 / steps as f64 };
        let factor = match self {
            LearningRate::Constant => 1.0,
            LearningRate::Cosine => (1.0 + (PI * progress).cos()) / 2.0,
            LearningRate::Step if progress >= 0.75 => 0.01,
            LearningRate::Step if progress >= 0.5 => 0.1,
            LearningRate::Step => 1.0,
        };
        (f64::from(base) * factor) as f32
    }
}

impl fmt::Display for LearningRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LearningRate::Constant => "constant",
            LearningRate::Cosine => "cosine",
            LearningRate::Step => "step",
        })
    }
}

impl FromStr for LearningRate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [LearningRate::Constant, LearningRate::Cosine, LearningRate::Step];
        all.into_iter().find(|schedule| schedule.to_string() == text).ok_or_else(|| {
            let message = format!("unknown learning-rate schedule `{text}`: write constant, cosine or step");
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_falls_from_base_to_zero() {
        let rate = |step| LearningRate::Cosine.at(0.1, step, 1000);
        assert_eq!((rate(0), rate(1000), rate(5000)), (0.1, 0.0, 0.0));
        assert!((rate(500) - 0.05).abs() < 1e-9);
        // cos(pi / 3) = 1/2 at a third of the run.
        assert!((LearningRate::Cosine.at(0.1, 1, 3) - 0.075).abs() < 1e-8);
        assert!((0..1000).all(|step| rate(step) > rate(step + 1)));
    }

    #[test]
    fn step_divides_by_ten_at_half_and_three_quarters() {
        let rates: Vec<f32> = (0..8).map(|step| LearningRate::Step.at(1.0, step, 8)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
    }

    #[test]
    fn constant_is_constant_and_empty_runs_are_legal() {
        assert_eq!(LearningRate::Constant.at(0.3, 7, 8), 0.3);
        assert_eq!(LearningRate::Cosine.at(0.3, 0, 0), 0.0);
    }

    #[test]
    fn names_round_trip() {
        for name in ["constant", "cosine", "step"] {
            assert_eq!(name.parse::<LearningRate>().unwrap().to_string(), name);
            assert_eq!(serde_json::to_string(&name.parse::<LearningRate>().unwrap()).unwrap(), format!("\"{name}\""));
        }
        assert_eq!("linear".parse::<LearningRate>().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
