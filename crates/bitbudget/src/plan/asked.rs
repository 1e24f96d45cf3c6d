//! The settings that an assignment was asked for with.

use crate::options::Options;
use bitbudget_ir::Loss;
use bitbudget_precision::Pin;

/// How an assignment was asked for, beside what itself and its budget say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// The share of elements to make low at least, for the methods that use it.
    pub(crate) low_ratio: f64,
    /// The seed of random choices.
    pub(crate) seed: u64,
    /// Formats that are asked for, whatever the method would choose.
    pub(crate) pins: Vec<Pin>,
    /// The loss, which the training graph ends in.
    pub(crate) loss: Loss,
}

impl Asked {
    /// The settings that options ask for.
    pub(crate) fn of(options: &Options) -> Asked {
        let (pins, loss) = (options.pins.clone(), options.loss.clone());
        Asked { low_ratio: options.low_ratio, seed: options.seed, pins, loss }
    }
}
