//! Stopping criteria of a search.

use std::time::{Duration, Instant};

/// When a search stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// The time limit.
    pub(crate) deadline: Instant,
    /// The number of nodes and neighbourhoods, if effort is counted.
    pub(crate) effort: Option<usize>,
    /// The relative gap between incumbent and dual bound at which the search stops.
    pub(crate) gap: f64,
    /// Whether the search stops as soon as the sign of the optimum is known.
    pub(crate) sign: bool,
}

impl Stop {
    /// Stops after some seconds or at a relative gap.
    pub(crate) fn after(seconds: f64, gap: f64) -> Stop {
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, 1e6) } else { 1e6 };
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        Stop { deadline, effort: None, gap, sign: false }
    }

    /// Returns the seconds until the deadline.
    pub(crate) fn seconds_left(&self) -> f64 {
        self.deadline.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    /// Returns the instant at which a fraction of the remaining time is over.
    pub(crate) fn after_fraction(&self, fraction: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(fraction * self.seconds_left())
    }
}
