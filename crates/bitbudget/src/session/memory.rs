//! The memory of a session.

use super::Session;
use super::room::largest;
use crate::{Error, Footprint};

impl Session {
    /// Bytes that a training step takes, as predicted.
    pub fn predicted(&self) -> Footprint {
        self.executor.predicted(&self.compiled.train)
    }

    /// The same for a run with its evaluations: one without rounding can need more than a training step.
    ///
    /// # Errors
    /// If the graph cannot be lowered.
    pub fn predicted_for_run(&mut self) -> Result<Footprint, Error> {
        self.exact()?;
        let exact = self.exact.as_ref().map_or_else(Footprint::default, |exact| self.executor.predicted(exact));
        let evaluate = self.executor.predicted(&self.compiled.evaluate);
        let all = [self.predicted(), evaluate, exact];
        Ok(largest(&all))
    }

    /// Bytes that are held for what ran so far; nothing before.
    pub fn allocated(&self) -> Footprint {
        let kept = self.kept.as_ref();
        kept.map_or_else(Footprint::default, |kept| self.executor.allocated(&kept.values))
    }
}
