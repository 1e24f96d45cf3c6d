//! Errors of profiles.

use bitbudget_exec::ExecError;

/// Why a profile cannot be measured, read or used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A setting has no meaning.
    #[error("{0}")]
    Setting(String),
    /// A step failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The threads that compute costs cannot be had.
    #[error("threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A number overflowed FP32, so that there is nothing to compare with.
    #[error(
        "{kind} `{name}` has numbers that are not finite in FP32{}, or take a network that has not diverged",
        match (gradient, moved) {
            (_, Some(rate)) => format!(" after a step at learning rate {rate:?}; use a smaller one (--lr)"),
            (true, None) => format!(" at loss scale {loss_scale:?}; use a smaller one (--loss-scale)"),
            (false, None) => "; scale the data down".to_string(),
        }
    )]
    NotFinite {
        /// The tensor's kind.
        kind: String,
        /// The tensor's name.
        name: String,
        /// Whether it is a gradient, which the loss scale is a factor of.
        gradient: bool,
        /// The loss scale.
        loss_scale: f32,
        /// The learning rate, where the numbers are finite before the step.
        moved: Option<f32>,
    },
    /// A program lacks a result, so it is not that of the probe.
    #[error("the program has no result {0}; compile it from the probe's own graph")]
    Missing(String),
    /// A file is not a profile, or a damaged one.
    #[error("not a profile: {0}; make one with `bitbudget profile`")]
    Format(String),
    /// The profile is of another network.
    #[error(
        "the profile is of another network (fingerprint {found}, not {expected}); make one of this network with \
         `bitbudget profile`"
    )]
    Network {
        /// That of the network.
        expected: String,
        /// That in the profile.
        found: String,
    },
}

impl ProfileError {
    /// Whether it is that a gradient is not finite.
    pub(crate) fn is_of_gradient(&self) -> bool {
        matches!(self, ProfileError::NotFinite { gradient: true, .. })
    }
}
