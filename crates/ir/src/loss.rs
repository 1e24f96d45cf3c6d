//! The loss that a training minimises.

use std::fmt;
use std::str::FromStr;

/// A loss: one number for a batch, from the network's result and what it should have been.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Cross-entropy of scores with the class of each example, token or pixel; the mean over the labels that count, by the weights of
    /// their classes (PyTorch `cross_entropy`).
    CrossEntropy {
        /// The share of the target that is spread over all classes, from 0 to below 1.
        smoothing: f64,
        /// A weight for each class; none where all weigh the same.
        weights: Vec<f32>,
        /// The dimension of the classes in the scores, counted from 0; by default the last one, or the second one of images.
        axis: Option<usize>,
    },
    /// Cross-entropy of logits with numbers from 0 to 1 of the same shape (PyTorch `binary_cross_entropy_with_logits`).
    BinaryCrossEntropy,
    /// The mean of squared differences (PyTorch `mse_loss`).
    MeanSquared,
    /// The mean of absolute differences (PyTorch `l1_loss`).
    MeanAbsolute,
    /// Squared differences up to `delta`, absolute ones above (PyTorch `huber_loss`).
    Huber {
        /// The difference from which it is linear, above 0.
        delta: f64,
    },
    /// An output that the network computes itself: one number, or numbers for each example, whose mean is taken.
    Output {
        /// The output's name.
        name: String,
    },
}

impl Default for Loss {
    /// Cross-entropy in which all classes weigh the same.
    fn default() -> Loss {
        Loss::CrossEntropy { smoothing: 0.0, weights: Vec::new(), axis: None }
    }
}

impl Loss {
    /// Checks its numbers.
    ///
    /// # Errors
    /// If one is out of range.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Loss::CrossEntropy { smoothing, .. } if !(0.0..1.0).contains(smoothing) => {
                Err(format!("a label smoothing of {smoothing} is not a share from 0 to below 1"))
            }
            Loss::CrossEntropy { weights, .. } => match weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
                Some(weight) => Err(format!("a class weight of {weight} is not a number of 0 or more")),
                None if !weights.is_empty() && weights.iter().all(|&w| w == 0.0) => {
                    Err("the weights of all classes are 0, so that nothing is trained".into())
                }
                None => Ok(()),
            },
            Loss::Huber { delta } if !(*delta > 0.0 && delta.is_finite()) => {
                Err(format!("a Huber delta of {delta} is not a number above 0"))
            }
            _ => Ok(()),
        }
    }
}

/// The name, without the numbers.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::CrossEntropy { .. } => f.write_str("cross-entropy"),
            Loss::BinaryCrossEntropy => f.write_str("bce"),
            Loss::MeanSquared => f.write_str("mse"),
            Loss::MeanAbsolute => f.write_str("l1"),
            Loss::Huber { .. } => f.write_str("huber"),
            Loss::Output { name } => write!(f, "output:{name}"),
        }
    }
}

/// The loss of a name, with the numbers that PyTorch takes by default.
impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Loss, String> {
        Ok(match text {
            "cross-entropy" => Loss::default(),
            "bce" => Loss::BinaryCrossEntropy,
            "mse" => Loss::MeanSquared,
            "l1" => Loss::MeanAbsolute,
            "huber" => Loss::Huber { delta: 1.0 },
            _ => match text.strip_prefix("output:") {
                Some(name) if !name.is_empty() => Loss::Output { name: name.to_string() },
                _ => return Err("expected cross-entropy, bce, mse, l1, huber, or output:NAME".into()),
            },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Loss;

    #[test]
    fn names_read_back_and_numbers_are_checked() {
        for name in ["cross-entropy", "bce", "mse", "l1", "huber", "output:loss/total"] {
            let loss: Loss = name.parse().unwrap();
            assert_eq!((loss.to_string().as_str(), loss.check()), (name, Ok(())));
        }
        assert!("output:".parse::<Loss>().is_err() && "MSE".parse::<Loss>().is_err());
        let weights = |weights: &[f32]| Loss::CrossEntropy { smoothing: 0.0, weights: weights.to_vec(), axis: None };
        for wrong in [
            Loss::CrossEntropy { smoothing: 1.0, weights: Vec::new(), axis: None },
            Loss::CrossEntropy { smoothing: f64::NAN, weights: Vec::new(), axis: None },
            weights(&[1.0, -1.0]),
            weights(&[f32::NAN]),
            weights(&[0.0, 0.0]),
            Loss::Huber { delta: 0.0 },
            Loss::Huber { delta: f64::INFINITY },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(weights(&[0.0, 2.5]).check().is_ok());
    }
}
