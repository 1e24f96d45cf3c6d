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
        "{kind} `{name}` has numbers that are not finite in FP32{}; {}",
        when(*.gradient, *.loss_scale, *.moved), finite(*.gradient, *.moved)
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
    #[error("the program has no result {0}; {help}", help = PROBE)]
    Missing(String),
    /// A file is not a profile, or a damaged one.
    #[error("not a profile: {0}; {help}", help = MAKE)]
    Format(String),
    /// The profile was measured with another loss.
    #[error("the profile was measured with the loss {found}, not {expected}; {help}", help = MAKE_WITH_THIS)]
    Loss {
        /// The loss that is trained.
        expected: String,
        /// That of the profile.
        found: String,
    },
    /// The profile is of another network.
    #[error("the profile is of another network (fingerprint {found}, not {expected}); {help}", help = MAKE_OF_THIS)]
    Network {
        /// That of the network.
        expected: String,
        /// That in the profile.
        found: String,
    },
}

const PROBE: &str = "compile it from the probe's own graph";
const MAKE: &str = "make one with `bitbudget profile`";
const MAKE_WITH_THIS: &str = "make one with this loss, `bitbudget profile --loss`";
const MAKE_OF_THIS: &str = "make one of this network with `bitbudget profile`";

/// In what step numbers are not finite.
fn when(gradient: bool, loss_scale: f32, moved: Option<f32>) -> String {
    match (gradient, moved) {
        (_, Some(rate)) => format!(" after a step at learning rate {rate:?}"),
        (true, None) => format!(" at loss scale {loss_scale:?}"),
        (false, None) => String::new(),
    }
}

/// How to get finite numbers.
fn finite(gradient: bool, moved: Option<f32>) -> String {
    let help = match (gradient, moved) {
        (_, Some(_)) => "use a smaller one (--lr)",
        (true, None) => "use a smaller one (--loss-scale)",
        (false, None) => "scale the data down",
    };
    format!("{help}, or take a network that has not diverged")
}

impl ProfileError {
    /// Where: the tensor, the part of a step, or the profile.
    pub fn place(&self) -> Option<String> {
        match self {
            ProfileError::NotFinite { kind, name, .. } => Some(format!("{kind} `{name}`")),
            ProfileError::Exec(error) => Some(error.place().to_string()),
            ProfileError::Missing(result) => Some(format!("result {result}")),
            ProfileError::Format(_) | ProfileError::Loss { .. } | ProfileError::Network { .. } => {
                Some("the profile".to_string())
            }
            ProfileError::Threads(_) => Some("threads".to_string()),
            ProfileError::Setting(_) => None,
        }
    }

    /// Advice, where it is known.
    pub fn help(&self) -> Option<String> {
        match self {
            ProfileError::NotFinite { gradient, moved, .. } => Some(finite(*gradient, *moved)),
            ProfileError::Missing(_) => Some(PROBE.to_string()),
            ProfileError::Format(_) => Some(MAKE.to_string()),
            ProfileError::Loss { .. } => Some(MAKE_WITH_THIS.to_string()),
            ProfileError::Network { .. } => Some(MAKE_OF_THIS.to_string()),
            ProfileError::Setting(_) | ProfileError::Exec(_) | ProfileError::Threads(_) => None,
        }
    }

    /// Whether it is that a gradient is not finite.
    pub(crate) fn is_of_gradient(&self) -> bool {
        matches!(self, ProfileError::NotFinite { gradient: true, .. })
    }
}
