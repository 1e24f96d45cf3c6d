//! What rounding and recomputing cost: measured by a profile, or estimated without data.

use super::{Budget, BudgetError};
use bitbudget_formats::Format;
use bitbudget_ir::{Graph, NodeId, Op, TensorType};
use bitbudget_precision::Tensor;
use bitbudget_precision::budget::{Costs, preference};
use bitbudget_profile::Profile;

/// What a profile cannot see (second order, momentum) counts this much beside what it does, by the paper's preference.
const UNSEEN: f64 = 0.01;
/// Arithmetic and copies of a machine with AVX-512 and two cores, per second; only their ratio to the whole step counts.
pub(crate) const FLOPS: f64 = 250e9;
pub(crate) const BYTES: f64 = 10e9;

/// The harm of rounding one tensor to one format, on the scale of a budget: everything most coarsely is 1.
pub(super) struct Harm<'a> {
    profile: Option<&'a Profile>,
    /// The sums over all tensors of the worst harm, by profile and by preference.
    worst: [f64; 2],
}

impl<'a> Harm<'a> {
    /// The harm where `formats` says what each tensor may have.
    pub(super) fn new(tensors: &[Tensor], formats: &[Vec<Format>], profile: Option<&'a Profile>) -> Harm<'a> {
        let worst = |harm: Vec<Vec<f64>>| harm.iter().map(|of| of.iter().copied().fold(0.0, f64::max)).sum::<f64>();
        let unscaled = Harm { profile, worst: [1.0; 2] };
        let measured = |(t, formats): (&Tensor, &Vec<Format>)| -> Vec<f64> {
            formats.iter().map(|&format| unscaled.measured(t, format).unwrap_or(0.0)).collect()
        };
        let by_profile = tensors.iter().zip(formats).map(measured).collect();
        Harm { profile, worst: [worst(by_profile), worst(preference(tensors, formats))] }
    }

    fn measured(&self, tensor: &Tensor, format: Format) -> Option<f64> {
        match self.profile {
            Some(profile) => profile.cost(crate::profile_kind(tensor.kind), tensor.node, format),
            None => Some(0.0),
        }
    }

    /// The harm of a format, if the profile tells.
    pub(super) fn of(&self, tensor: &Tensor, format: Format) -> Option<f64> {
        let share = |harm: f64, worst: f64| if worst > 0.0 { harm / worst } else { 0.0 };
        let preferred = share(preference(std::slice::from_ref(tensor), &[vec![format]])[0][0], self.worst[1]);
        match self.profile {
            None => Some(preferred),
            Some(_) => Some(share(self.measured(tensor, format)?, self.worst[0]) + UNSEEN * preferred),
        }
    }
}

/// The costs of all choices.
///
/// # Errors
/// If the profile does not tell what a format costs.
pub(super) fn costs(
    training: &Graph,
    batch: usize,
    budget: &Budget,
    tensors: &[Tensor],
    formats: &[Vec<Format>],
) -> Result<Costs, BudgetError> {
    let harm = Harm::new(tensors, formats, budget.profile());
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
            let seconds = estimated_seconds(training, batch);
            let whole = seconds.iter().zip(training.live()).filter(|(_, live)| *live).map(|(s, _)| s).sum();
            (seconds, whole)
        }
    };
    let Budget { time_weight, max_slowdown, .. } = *budget;
    Ok(Costs { rounding, seconds, step_seconds, time_weight, max_slowdown })
}

/// Seconds that each node takes, from its work and the bytes that it touches.
fn estimated_seconds(graph: &Graph, batch: usize) -> Vec<f64> {
    let bytes = |id: NodeId| graph.ty(id).shape.elements(batch) as f64 * 4.0;
    let of = |id: NodeId| {
        if graph.op(id).source_name().is_some() || matches!(graph.op(id), Op::Reshape(_)) {
            return 0.0;
        }
        let operands = graph.operands(id);
        let types: Vec<&TensorType> = operands.iter().map(|&o| graph.ty(o)).collect();
        let work = graph.op(id).work(&types, graph.ty(id), batch);
        let touched: f64 = operands.iter().map(|&o| bytes(o)).sum::<f64>() + bytes(id);
        (work.flops as f64 / FLOPS).max(touched / BYTES)
    };
    graph.ids().map(of).collect()
}
