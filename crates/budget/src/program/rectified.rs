//! Which formats a rectifier's input and output may have together.

use crate::classes::{Classes, Rectifier};
use bitbudget_formats::Format;

/// The classes of a rectifier's input and output, whether the output repeats the input's rounding in its format, and whether
/// there is a format that both may have.
#[derive(Clone, Copy)]
pub(super) struct Rectified {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) repeats: bool,
    pub(super) has_common: bool,
}

impl Rectified {
    /// Whether input and output may have these formats: one, or apart two. Two are offered where the output's takes less memory;
    /// else the input's would be as good for both. Where there is none that both may have, the gradient can read the output
    /// if its format holds what the input's does.
    pub(super) fn fit(&self, input: Format, output: Format, apart: bool) -> bool {
        match (self.has_common, apart) {
            (true, true) => input.bytes() > output.bytes(),
            (true, false) => input == output,
            (false, apart) => apart != input.is_subset_of(output),
        }
    }
}

/// The rectifiers of classes, where `repeats` says for each tensor whose rounding it repeats.
pub(super) fn rectified(classes: &Classes, repeats: &[Option<usize>]) -> Vec<Rectified> {
    let rectified = |of: &Rectifier| {
        let [input, output] = of.tensors.map(|tensor| classes.class_of[tensor]);
        let repeats = of.has_common && repeats[of.tensors[1]] == Some(of.tensors[0]);
        Rectified { input, output, repeats, has_common: of.has_common }
    };
    classes.rectifiers.iter().map(rectified).collect()
}
