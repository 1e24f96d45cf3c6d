//! A run that diverged, in words.

use anyhow::Error;
use bitbudget::{Compiled, NamedTensor};
use bitbudget_exec::{Executor, Inputs, Values};
use bitbudget_profile::ProfileError;
use bitbudget_train::divergence::{Divergence, NotFinite};
use bitbudget_train::loss_scale::LossScaling;
use std::path::Path;

/// The exit status of a command whose numbers are not finite.
pub(crate) const STATUS: u8 = 3;

/// A run diverged; the command ends with a status of its own.
#[derive(Debug)]
pub(crate) struct Diverged(pub(crate) String);

impl std::fmt::Display for Diverged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Diverged {}

/// Whether an error is that numbers are not finite.
pub(crate) fn is_divergence(error: &Error) -> bool {
    let profiled = |e: &ProfileError| matches!(e, ProfileError::NotFinite { .. });
    error.is::<Diverged>() || error.downcast_ref::<ProfileError>().is_some_and(profiled)
}

/// What was not finite in a run, where, and what to do.
pub(crate) fn explained(
    divergence: &Divergence,
    compiled: &Compiled,
    executor: &mut Executor,
    values: &mut Values,
    scaling: LossScaling,
) -> String {
    let Divergence { found, step, loss_scale, learning_rate, steps, skipped, batch } = divergence;
    let examples = batch.images.len() / batch.labels.len().max(1);
    let bad = batch.images.iter().position(|x| !x.is_finite());
    if let Some(example) = bad.and_then(|at| at.checked_div(examples)) {
        return format!(
            "the run diverged: example {example} of the batch of step {step} holds {}; it is in the data, remove it there",
            batch.images[bad.unwrap_or(0)]
        );
    }
    let inputs = Inputs {
        examples: &batch.images,
        labels: &batch.labels,
        loss_scale: *loss_scale,
        learning_rate: *learning_rate,
        ..Inputs::default()
    };
    let mut first = || match compiled.first_not_finite(executor, values, &inputs) {
        Ok(Some(tensor)) => place(&tensor),
        Ok(None) => "no tensor of the step alone tells why".to_string(),
        Err(error) => format!("which tensor is the first cannot be told ({error})"),
    };
    let lower = match step {
        0 => format!(
            "it is the first step, so scale the data or the initial weights down, or give the tensor a wider format \
             (--pin); --lr {learning_rate:e} has no part in it"
        ),
        _ => format!("lower --lr (it was {learning_rate:e})"),
    };
    match found {
        NotFinite::Loss => format!("the run diverged: the loss was not finite at step {step}: {}; {lower}", first()),
        NotFinite::Gradients => {
            let share = 100.0 * *skipped as f64 / (*steps).max(1) as f64;
            let advice = match scaling {
                LossScaling::Dynamic => "lower --lr, or give the gradient a wider format (--pin)",
                LossScaling::Fixed(_) | LossScaling::None => "use --loss-scale dynamic or a smaller number",
            };
            format!(
                "the run diverged: {skipped} of {steps} steps ({share:.1}%) were skipped, since gradients were not finite \
                 while the loss was: at step {step}, with loss scale {loss_scale}, {}; {advice}",
                first()
            )
        }
        NotFinite::Kept(name) => {
            let advice = match learning_rate {
                0.0 => "scale the data down".to_string(),
                rate => format!("lower --lr (it was {rate:e})"),
            };
            format!("the run diverged: {} was not finite after step {step}; {advice}", compiled.kept(name))
        }
        NotFinite::Scores { fp32, examples, of } => format!(
            "the run diverged: after the last step, step {step}, the scores of {examples} of {of} test examples are not finite{}; \
             lower --lr",
            if *fp32 { " when evaluated in fp32" } else { "" }
        ),
    }
}

fn place(tensor: &NamedTensor) -> String {
    let NamedTensor { computes, is_gradient, format } = tensor;
    let what = if *is_gradient { "gradient" } else { "tensor" };
    format!("{computes}, stored in {format}, is the first {what} that is not finite")
}

/// What becomes of the file of a network that was not trained to its end.
pub(crate) fn unsaved(save: Option<&Path>) -> String {
    match save {
        Some(path) if path.exists() => format!("\nnothing was saved: {} stays as it was", path.display()),
        Some(path) => format!("\nnothing was saved: {} was not written", path.display()),
        None => String::new(),
    }
}
