//! Runs: a training loop over a program's examples.

use super::promote::promote;
use super::{Session, kept, room};
use crate::{Compiled, Ended, Error, Examples, Overflow, Promotion, Record, Settings};
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
        room::check(executor, &[&compiled.train, &compiled.evaluate, exact])?;
        let values = kept(&mut self.kept, compiled, executor, true)?;
        let loss = compiled.loss().clone();
        let training = Training { programs: programs(compiled), fp32: exact, examples, settings, loss: &loss };
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
