//! Demotion until the rest fits.

use super::search::Search;
use crate::CompileError;
use bitbudget_precision::{Assignment, Method, assign};

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
        let with = |ratio: f64| -> Result<(Assignment, usize), CompileError> {
            let assignment = assign(self.training, self.batch, method, ratio, seed, self.formats)?;
            let peak = self.peak(&assignment)?;
            Ok((assignment, peak))
        };
        let all = assign(self.training, self.batch, method, 1.0, seed, self.formats)?;
        let total = all.elements().max(1) as f64;
        let mut ratios = vec![0.0];
        let mut low = 0u64;
        for &group in &all.demoted {
            low = low.saturating_add(all.groups[group].elements);
            ratios.push(low as f64 / total);
        }
        let mut found = None;
        let (mut first, mut end) = (0, ratios.len());
        while first < end {
            let middle = (first + end) / 2;
            let (assignment, peak) = with(ratios[middle])?;
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
