//! Demotion until the rest fits.

use crate::error::BudgetError;
use crate::network::Network;
use crate::search::Search;
use bitbudget_precision::{Assignment, Method, Setting, assign_with};

impl Search<'_> {
    /// As few groups as possible low, in the method's order, so that the rest fits; if not even all do, what takes least of all that
    /// was tried.
    ///
    /// Peaks fall with every group, but for gaps between tensors; so the fewest are found by bisection.
    pub(super) fn demoted(&self, method: Method, bytes: usize) -> Result<(Assignment, usize), BudgetError> {
        let Network { training, batch, tensors, pinned, .. } = self.network;
        let setting = Setting { method, low_ratio: 1.0, ..self.setting };
        let all = assign_with(training, batch, tensors, &setting, pinned)?;
        let with = |groups: usize| -> Result<(Assignment, usize), BudgetError> {
            let assignment = all.with_demoted(training, &all.demoted[..groups], pinned);
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
