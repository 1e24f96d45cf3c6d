//! Runs: a training loop over a program's examples.

use super::{Session, kept, memory};
use crate::{Compiled, Ended, Error, Examples, Overflow, Promoted, Promotion, Record, Settings, metrics};
use bitbudget_train::run::{self, Programs, Training};

impl Session {
    /// Trains over examples: a data set in [`Epochs`](crate::Epochs), or a program's own. Tensors that overflow are promoted as
    /// the settings and `promotion` say; `observe` gets a record after each step and epoch.
    ///
    /// # Errors
    /// If the examples do not fit the network, it is not finite before the first step, memory is too small, the device fails, or
    /// `observe` returns an error.
    pub fn train(
        &mut self,
        examples: &dyn Examples,
        settings: &Settings,
        promotion: Promotion,
        observe: &mut dyn FnMut(&Record) -> bitbudget_train::Result<()>,
    ) -> Result<Ended, Error> {
        self.exact()?;
        // A promotion replaces the training program.
        self.step = None;
        let Session { compiled, executor, exact: Some(exact), .. } = self else { return Err(super::not_ready()) };
        memory::check(executor, &[&compiled.train, &compiled.evaluate, exact])?;
        let values = kept(&mut self.kept, compiled, executor, true)?;
        let training = Training { programs: programs(compiled), fp32: exact, examples, settings };
        let mut promoted = |over: &[Overflow]| {
            let tensors = promote(compiled, over, promotion).map_err(bitbudget_train::Error::compile)?;
            Ok((!tensors.is_empty()).then(|| run::Promoted { programs: programs(compiled), tensors }))
        };
        Ok(run::train(executor, values, training, &mut promoted, observe)?)
    }
}

fn programs(compiled: &Compiled) -> Programs {
    Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() }
}

/// Promotes tensors, with a record of each that could be.
pub(super) fn promote(
    compiled: &mut Compiled,
    over: &[Overflow],
    promotion: Promotion,
) -> Result<Vec<metrics::Promotion>, crate::CompileError> {
    let tensors: Vec<u32> = over.iter().map(|over| over.tensor).collect();
    let promoted = compiled.promote(&tensors, promotion)?;
    let record = |Promoted { tensor, node, from, to, peak }: Promoted| {
        let over = over.iter().find(|over| over.tensor == tensor)?;
        let name = &compiled.training.node(node).name;
        Some(metrics::Promotion {
            step: over.step,
            tensor: if name.is_empty() { node.to_string() } else { name.clone() },
            overflow: over.ratio,
            from: from.to_string(),
            to: to.to_string(),
            peak,
            low_ratio: compiled.assignment.low_ratio_elements(),
        })
    };
    Ok(promoted.into_iter().filter_map(record).collect())
}
