//! The harm of rounding and the cost of recomputation: measured by a profile, or estimated without data.

use crate::costs::{Costs, preference};
use crate::error::BudgetError;
use crate::network::Network;
use crate::setting::{Budget, Granularity};
use crate::statistics::statistics;
use bitbudget_formats::Format;
use bitbudget_precision::{Kind, Tensor};
use bitbudget_profile::Profile;

/// The weight of the paper's preference beside a profile, for effects that a profile cannot see (second order, momentum).
const UNSEEN: f64 = 0.01;

/// Formats of up to so many bits do as much harm to a statistic of a normalisation as they do to all tensors together: it is small, and all
/// that it is spread over moves with it.
const NARROW: u32 = 8;
const OF_STATISTIC: f64 = 1.0;

/// The harm of rounding one tensor to one format, on the scale of a budget: everything most coarsely is 1.
pub(crate) struct Harm<'a> {
    profile: Option<&'a Profile>,
    /// By node of the training graph, whether it is a statistic of a normalisation.
    statistics: Vec<bool>,
    /// The sums over all tensors of the worst harm, by profile and by preference.
    worst: [f64; 2],
}

impl<'a> Harm<'a> {
    /// The harm where `formats` says what each tensor may have.
    pub(crate) fn new(network: &Network<'_>, formats: &[Vec<Format>], budget: &'a Budget) -> Harm<'a> {
        let (tensors, profile) = (network.tensors, budget.profile());
        // A group's format is not chosen for its statistics.
        let is_alone = budget.granularity == Granularity::Tensor;
        let statistics = if is_alone { statistics(network.training) } else { vec![false; network.training.len()] };
        let worst = |harm: Vec<Vec<f64>>| harm.iter().map(|of| of.iter().copied().fold(0.0, f64::max)).sum::<f64>();
        let unscaled = Harm { profile, statistics: Vec::new(), worst: [1.0; 2] };
        let measured = |(t, formats): (&Tensor, &Vec<Format>)| -> Vec<f64> {
            formats.iter().map(|&format| unscaled.measured(t, format).unwrap_or(0.0)).collect()
        };
        let by_profile = tensors.iter().zip(formats).map(measured).collect();
        Harm { profile, statistics, worst: [worst(by_profile), worst(preference(tensors, formats))] }
    }

    fn measured(&self, tensor: &Tensor, format: Format) -> Option<f64> {
        match self.profile {
            Some(profile) => profile.cost(tensor.kind, tensor.node, format),
            None => Some(0.0),
        }
    }

    /// The harm of a format, if the profile tells.
    pub(crate) fn of(&self, tensor: &Tensor, format: Format) -> Option<f64> {
        let share = |harm: f64, worst: f64| if worst > 0.0 { harm / worst } else { 0.0 };
        let preferred = share(preference(std::slice::from_ref(tensor), &[vec![format]])[0][0], self.worst[1]);
        let is_statistic = tensor.kind == Kind::Output && self.statistics[tensor.node.index()];
        let narrow = if is_statistic && format.bits() <= NARROW { OF_STATISTIC } else { 0.0 };
        match self.profile {
            None => Some(preferred + narrow),
            Some(_) => Some(share(self.measured(tensor, format)?, self.worst[0]) + UNSEEN * preferred + narrow),
        }
    }
}

/// The costs of all choices; `estimated` is the seconds of each node of the training graph, which a profile overrules.
///
/// # Errors
/// If the profile does not tell what a format costs.
pub(crate) fn costs(
    network: &Network<'_>,
    estimated: &[f64],
    budget: &Budget,
    formats: &[Vec<Format>],
) -> Result<Costs, BudgetError> {
    let Network { training, tensors, .. } = *network;
    let harm = Harm::new(network, formats, budget);
    let mut missing: Vec<Format> = Vec::new();
    let mut of = |tensor: &Tensor, format: Format| {
        harm.of(tensor, format).unwrap_or_else(|| {
            if !missing.contains(&format) {
                missing.push(format);
            }
            0.0
        })
    };
    let rounding =
        tensors.iter().zip(formats).map(|(t, formats)| formats.iter().map(|&f| of(t, f)).collect()).collect();
    if !missing.is_empty() {
        return Err(BudgetError::Profile { formats: missing });
    }
    let (seconds, step_seconds) = match budget.profile() {
        Some(profile) => (training.ids().map(|id| profile.seconds_of(id)).collect(), profile.seconds.step),
        None => {
            let whole = estimated.iter().zip(training.live()).filter(|(_, live)| *live).map(|(s, _)| s).sum();
            (estimated.to_vec(), whole)
        }
    };
    let Budget { time_weight, max_slowdown, .. } = *budget;
    Ok(Costs { rounding, seconds, step_seconds, time_weight, max_slowdown })
}
