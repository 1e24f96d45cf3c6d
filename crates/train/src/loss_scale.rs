//! The loss scale, which lifts gradients into the range of a narrow format.

use std::str::FromStr;

use bitbudget_program::DynamicScale;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Where a dynamic scale starts (paper, "One training step").
pub const INITIAL_SCALE: f32 = 65536.0;
/// A dynamic scale is never below this: smaller ones mean that the training diverges.
pub const SMALLEST_SCALE: f32 = 1.0 / 16384.0;
/// A dynamic scale is never above this, 2^126: the largest power of two whose reciprocal is a normal FP32 number.
pub const LARGEST_SCALE: f32 = 8.507_059e37;

/// A dynamic scale doubles after this many steps without an overflow at least: an epoch of the paper's shortest ones, CIFAR-10
/// in batches of 128. A scale at its limit overflows after each doubling, so shorter intervals would skip a larger share of
/// the steps.
pub const SHORTEST_INTERVAL: u64 = 390;

/// Which loss scale to use: `dynamic`, a number, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossScaling {
    /// Always this factor.
    Fixed(f32),
    /// Halved after a step that overflows, doubled after an epoch's number of steps without one, but no fewer than
    /// [`SHORTEST_INTERVAL`].
    Dynamic,
    /// None, and no step is skipped.
    None,
}

impl FromStr for LossScaling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse::<f32>() {
            _ if text == "dynamic" => Ok(LossScaling::Dynamic),
            _ if text == "none" => Ok(LossScaling::None),
            Ok(scale) if scale.is_normal() && scale > 0.0 && scale <= LARGEST_SCALE => Ok(LossScaling::Fixed(scale)),
            _ => {
                let message = format!(
                    "loss scale `{text}` is neither `dynamic`, `none` nor a number from 2^-126 ({:e}) to 2^126 ({:e})",
                    f32::MIN_POSITIVE,
                    LARGEST_SCALE
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

/// The loss scale from step to step; a checkpoint keeps it.
///
/// ```
/// use bitbudget_train::loss_scale::{LossScaler, LossScaling};
///
/// let mut scaler = LossScaler::new(LossScaling::Dynamic, 100);
/// assert_eq!(scaler.scale(), 65536.0);
/// let apply = scaler.update(false);
/// assert!(!apply, "a step whose gradients overflow is skipped");
/// assert_eq!(scaler.scale(), 32768.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScaler {
    scaling: LossScaling,
    scale: f32,
    growth_interval: u64,
    clean_steps: u64,
}

impl LossScaler {
    /// The scale at the start of a run whose epochs have so many steps.
    pub fn new(scaling: LossScaling, steps_per_epoch: u64) -> Self {
        let scale = match scaling {
            LossScaling::Fixed(scale) => scale,
            LossScaling::Dynamic => INITIAL_SCALE,
            LossScaling::None => 1.0,
        };
        LossScaler { scaling, scale, growth_interval: steps_per_epoch.max(SHORTEST_INTERVAL), clean_steps: 0 }
    }

    /// A dynamic scale as another run left it.
    pub fn resumed(self, left: Option<DynamicScale>) -> Self {
        match left.filter(|_| self.scaling == LossScaling::Dynamic) {
            Some(DynamicScale { scale, clean_steps }) => {
                LossScaler { scale: scale.clamp(SMALLEST_SCALE, LARGEST_SCALE), clean_steps, ..self }
            }
            None => self,
        }
    }

    /// The scale as another run can go on with it, if it is dynamic.
    pub fn dynamic(&self) -> Option<DynamicScale> {
        let LossScaler { scale, clean_steps, .. } = *self;
        (self.scaling == LossScaling::Dynamic).then_some(DynamicScale { scale, clean_steps })
    }

    /// The factor of the next step's loss.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Takes note of whether every parameter gradient of a step was finite and returns whether to apply its update.
    ///
    /// A step that overflows is skipped with a fixed scale too.
    pub fn update(&mut self, finite: bool) -> bool {
        if self.scaling == LossScaling::Dynamic {
            self.clean_steps = if finite { self.clean_steps + 1 } else { 0 };
            if !finite {
                self.scale = (self.scale / 2.0).max(SMALLEST_SCALE);
            } else if self.clean_steps >= self.growth_interval {
                self.scale = (self.scale * 2.0).min(LARGEST_SCALE);
                self.clean_steps = 0;
            }
        }
        finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finite steps one after the other.
    fn finite(scaler: &mut LossScaler, steps: u64) {
        (0..steps).for_each(|_| assert!(scaler.update(true)));
    }

    #[test]
    fn dynamic_scale_doubles_after_an_epoch_and_halves_on_overflow() {
        let mut scaler = LossScaler::new(LossScaling::Dynamic, 500);
        finite(&mut scaler, 499);
        assert_eq!(scaler.scale(), 65536.0);
        finite(&mut scaler, 1);
        assert_eq!(scaler.scale(), 131_072.0);
        finite(&mut scaler, 499);
        assert!(!scaler.update(false));
        assert_eq!(scaler.scale(), 65536.0);
        // An overflow starts the count again.
        finite(&mut scaler, 499);
        assert_eq!(scaler.scale(), 65536.0);
        finite(&mut scaler, 1);
        assert_eq!(scaler.scale(), 131_072.0);
    }

    #[test]
    fn another_run_goes_on_with_the_scale() {
        for stop in [1, 5, 400, 800] {
            let mut whole = LossScaler::new(LossScaling::Dynamic, 1);
            let is_finite = |step: u64| step % 450 != 3;
            (0..stop).for_each(|step| assert_eq!(whole.update(is_finite(step)), is_finite(step)));
            let mut second = LossScaler::new(LossScaling::Dynamic, 1).resumed(whole.dynamic());
            for step in stop..2000 {
                assert_eq!(second.scale(), whole.scale(), "at step {step} after {stop}");
                assert_eq!(second.update(is_finite(step)), whole.update(is_finite(step)));
            }
            let fixed = LossScaler::new(LossScaling::Fixed(8.0), 1).resumed(whole.dynamic());
            assert_eq!((fixed.scale(), fixed.dynamic()), (8.0, None));
        }
    }

    #[test]
    fn with_few_steps_an_epoch_the_interval_counts_steps() {
        // Gradients overflow above a scale of 2^10, as at the limit of a narrow format.
        let skipped = |steps_per_epoch| {
            let mut scaler = LossScaler::new(LossScaling::Dynamic, steps_per_epoch);
            let steps = (0..2000).map(|_| u32::from(!scaler.update(scaler.scale() <= 1024.0)));
            steps.sum::<u32>()
        };
        // Six halvings at the start, then one in 391 steps.
        assert_eq!([1, 4, 22, 390].map(skipped), [11; 4]);
        assert_eq!(skipped(1000), 7);
    }

    #[test]
    fn dynamic_scale_stays_within_its_bounds() {
        assert_eq!((LARGEST_SCALE, SMALLEST_SCALE), (2f32.powi(126), 2f32.powi(-14)));
        assert!((1.0 / LARGEST_SCALE).is_normal());
        let mut scaler = LossScaler::new(LossScaling::Dynamic, 0);
        finite(&mut scaler, 120 * SHORTEST_INTERVAL);
        assert_eq!(scaler.scale(), LARGEST_SCALE);
        for _ in 0..300 {
            scaler.update(false);
        }
        assert_eq!(scaler.scale(), SMALLEST_SCALE);
    }

    #[test]
    fn fixed_scale_skips_but_stays() {
        let mut scaler = LossScaler::new("1024".parse().unwrap(), 2);
        assert!(!scaler.update(false));
        for _ in 0..10 {
            assert!(scaler.update(true));
        }
        assert_eq!(scaler.scale(), 1024.0);
    }

    #[test]
    fn state_survives_a_checkpoint_and_options_are_checked() {
        let mut scaler = LossScaler::new(LossScaling::Dynamic, 5);
        scaler.update(true);
        let text = serde_json::to_string(&scaler).unwrap();
        assert_eq!(serde_json::from_str::<LossScaler>(&text).unwrap(), scaler);
        for text in ["0", "-1", "inf", "NaN", "", "auto", "3e38"] {
            assert_eq!(text.parse::<LossScaling>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
