//! Demotion until the rest fits.

use super::search::Search;
use crate::CompileError;
use bitbudget_precision::{Assignment, Method, assign_with};

impl Search<'_> {
    /// As few groups as possible low, in the method's order, so that the rest fits; if not even all do, what takes least of all that
    /// was tried.
    ///
    /// Peaks fall with every group, but for gaps between tensors; so the fewest are found by bisection.
    pub(super) fn demoted(&self, method: Method, bytes: usize) -> Result<(Assignment, usize), CompileError> {
        let all = assign_with(self.training, self.batch, method, 1.0, self.seed, self.formats, self.pinned)?;
        let with = |groups: usize| -> Result<(Assignment, usize), CompileError> {
            let assignment = all.with_demoted(self.training, &all.demoted[..groups], self.pinned);
            let peak = self.peak(&assignment)?;
            Ok((assignment, peak))
        };
        let mut found = with(all.demoted.len())?;
        let (mut first, mut end) = (0, all.demoted.len());
        while first < end {
            let middle = (first + end) / 2;
            let other = with(middle)?;
            let fits = other.1 <= bytes;
            (first, end) = if fits { (first, middle) } else { (middle + 1, end) };
            if fits || other.1 < found.1 {
                found = other;
            }
        }
        Ok(found)
    }
}
