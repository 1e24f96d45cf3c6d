//! The peaks of methods that do not search: no search needs more memory than they do.

use crate::error::BudgetError;
use crate::network::Network;
use crate::search::Search;
use crate::setting::Granularity;
use bitbudget_formats::Format;
use bitbudget_precision::{Assignment, Method, Setting, assign_with};

/// The assignments of other methods that the budget allows with their peaks, and a method that fits with formats it does not allow.
pub type Others = (Vec<(Assignment, usize)>, Option<Method>);

impl Search<'_> {
    /// The assignments of other methods that the budget allows, with their true peaks: each with input and loss in FP32, as this method
    /// has them, and as it is, which keeps the other method's name.
    ///
    /// Those of demotion have as few groups low as fit `bytes`. Names also a method that fits with formats that the budget does not
    /// allow, if there is one.
    ///
    /// # Errors
    /// If a step cannot be built.
    pub fn others(&self, bytes: usize) -> Result<Others, BudgetError> {
        // Other methods give one group several formats.
        let is_by_tensor = self.budget.granularity == Granularity::Tensor;
        let (mut found, mut forbidden): (Vec<(Assignment, usize)>, Option<Method>) = (Vec::new(), None);
        for method in Method::ALL.into_iter().filter(|&method| method != Method::Ilp) {
            let (assignment, peak) = match method {
                Method::Demote | Method::DemoteSmallest | Method::Random => self.demoted(method, bytes)?,
                _ => {
                    let Network { training, batch, tensors, pinned, .. } = self.network;
                    let setting = Setting { method, low_ratio: 0.0, ..self.setting };
                    let assignment = assign_with(training, batch, tensors, &setting, pinned)?;
                    let peak = self.peak(&assignment)?;
                    (assignment, peak)
                }
            };
            if !is_by_tensor || !self.permits(&assignment) {
                forbidden = forbidden.or(Some(method).filter(|_| peak <= bytes));
                continue;
            }
            if found.iter().any(|(other, _)| other.chosen == assignment.chosen) {
                continue;
            }
            let exact = self.chosen(assignment.chosen.clone(), Vec::new())?;
            if exact.chosen == assignment.chosen {
                found.push((exact, peak));
                continue;
            }
            let peak_of_exact = self.peak(&exact)?;
            found.extend([(exact, peak_of_exact), (assignment, peak)]);
        }
        Ok((found, forbidden))
    }

    /// Whether the budget allows an assignment's formats.
    fn permits(&self, assignment: &Assignment) -> bool {
        let permits = |(at, format): (usize, &Format)| match self.is_exact(at) {
            true => *format == Format::FP32 || self.given(at).contains(format),
            false => self.allowed[at].contains(format),
        };
        assignment.chosen.iter().enumerate().all(permits)
    }
}
