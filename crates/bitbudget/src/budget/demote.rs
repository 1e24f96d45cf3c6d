//! Demotion until the rest fits.

use super::search::Search;
use crate::CompileError;
use bitbudget_precision::{Assignment, Method, assign_with};

impl Search<'_> {
    /// As few groups as possible low, in the method's order, so that the rest fits; nothing if not even all do.
    ///
    /// Peaks fall with every group, but for gaps between tensors; so the fewest are found by bisection.
    pub(super) fn demoted(
        &self,
        method: Method,
        seed: u64,
        bytes: usize,
    ) -> Result<Option<(Assignment, usize)>, CompileError> {
        let all = assign_with(self.training, self.batch, method, 1.0, seed, self.formats, self.pinned)?;
        let with = |groups: usize| -> Result<(Assignment, usize), CompileError> {
            let assignment = all.with_demoted(self.training, &all.demoted[..groups], self.pinned);
            let peak = self.peak(&assignment)?;
            Ok((assignment, peak))
        };
        let mut found = None;
        let (mut first, mut end) = (0, all.demoted.len() + 1);
        while first < end {
            let middle = (first + end) / 2;
            let (assignment, peak) = with(middle)?;
            if peak <= bytes {
                found = Some((assignment, peak));
                end = middle;
            } else {
                first = middle + 1;
            }
        }
        Ok(found)
    }
}
