//! Evaluations.

use super::precision::Precision;
use super::{Session, kept, room};
use crate::{Batches, Compiled, Error, Evaluation, Format, Program};

impl Session {
    /// The size of an evaluation's batches: that of training, or less where a batch of that size would take more memory than a
    /// training step.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn evaluation_batch(&mut self, precision: Precision) -> Result<usize, Error> {
        Ok(match precision {
            Precision::Assigned => self.compiled.evaluate.batch,
            Precision::Fp32 => self.exact()?.batch,
        })
    }

    /// Loss and metrics over batches of [`Session::evaluation_batch`] examples: those of a data set
    /// ([`EvalBatches`](crate::EvalBatches)), or any iterator over batches.
    ///
    /// # Errors
    /// If the batches do not fit the network, there is none, memory is too small or the device fails.
    pub fn evaluate(&mut self, batches: &mut dyn Batches, precision: Precision) -> Result<Evaluation, Error> {
        self.exact()?;
        let Session { compiled, executor, exact: Some(exact), .. } = self else { return Err(super::not_ready()) };
        room::check(executor, &[&compiled.evaluate, exact])?;
        let program = match precision {
            Precision::Assigned => &compiled.evaluate,
            Precision::Fp32 => &*exact,
        };
        let values = kept(&mut self.kept, compiled, executor, false)?;
        let loaded = executor.load(program)?;
        Ok(bitbudget_train::evaluation::evaluate(executor, values, &loaded, batches, compiled.loss())?)
    }

    /// The evaluation without rounding.
    pub(super) fn exact(&mut self) -> Result<&Program, Error> {
        let exact = match self.exact.take() {
            Some(exact) => exact,
            None => self.compiled.evaluate_fp32()?,
        };
        Ok(self.exact.insert(exact))
    }
}

impl Compiled {
    /// Whether any tensor is rounded; otherwise evaluations in both precisions are the same.
    pub fn is_rounded(&self) -> bool {
        self.assignment.formats.iter().any(|&format| format != Format::FP32)
    }
}
