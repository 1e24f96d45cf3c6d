//! Profiles: what rounding each tensor to each format would cost.

use super::{Session, room};
use crate::{Batch, Error, Inputs, Model, Profile, ProfileError, ProfileSettings, profiling};
use bitbudget_profile::{Probe, Programs, measure};

/// A network ready to be profiled at a batch size.
#[derive(Debug)]
pub struct Profiler<'s> {
    session: &'s mut Session,
    probe: Probe,
    programs: Programs,
}

impl Session {
    /// Prepares a profile at a batch size.
    ///
    /// # Errors
    /// If the network cannot be lowered at that batch, or memory is too small.
    pub fn profiler(&mut self, batch: usize) -> Result<Profiler<'_>, Error> {
        let (probe, programs) = profiling(&self.compiled.training, batch)?;
        room::check(&self.executor, &[&programs.step, &programs.forward, &programs.training])?;
        Ok(Profiler { session: self, probe, programs })
    }
}

impl Profiler<'_> {
    /// Measures over batches at the weights that the trainer was compiled with; `done` is called after each.
    ///
    /// # Errors
    /// If a setting has no meaning, a batch does not fit the network, or some number is not finite.
    pub fn measure(
        self,
        settings: ProfileSettings,
        batches: &[Batch],
        done: &mut dyn FnMut(),
    ) -> Result<Profile, ProfileError> {
        let Profiler { session: Session { compiled, executor, .. }, probe, programs } = self;
        let model = Model { graph: compiled.forward.clone(), values: compiled.values.clone() };
        let inputs: Vec<Inputs<'_>> = batches.iter().map(Batch::inputs).collect();
        measure(&model, &probe, &programs, executor, settings, &inputs, done)
    }
}
