//! Options that fit data to a network.

use bitbudget_train::data::{Fitting, Layout, Resize};
use clap::Args;

/// How data are made to fit the network's input.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct FittingArgs {
    /// How the examples of an npz file lie: channels-first [c, h, w], channels-last [h, w, c], or auto, as fits the network.
    #[arg(long, value_name = "LAYOUT", default_value = "auto", requires = "data")]
    layout: Layout,
    /// How images of another size are adapted: auto pads by up to a quarter or resizes with the same aspect ratio; none
    /// refuses them; fit resizes and adds zeros; stretch resizes to any aspect ratio.
    #[arg(long, value_name = "HOW", default_value = "auto", requires = "data")]
    resize: Resize,
    /// The label of padded tokens, say, or of pixels without a class, which do not count. Negative labels of tokens and pixels
    /// never count.
    #[arg(long, value_name = "CLASS", requires = "data")]
    pub(crate) ignore_label: Option<i32>,
}

impl FittingArgs {
    pub(crate) fn fitting(self) -> Fitting {
        Fitting { layout: self.layout, resize: self.resize }
    }
}
