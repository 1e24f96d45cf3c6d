//! A run that diverged, in words.

use crate::advice::{Extremes, Setup, extremes, extremes_with, list, update};
use crate::output::{number, percent, small};
use crate::report::hardly_trained;
use anyhow::Error;
use bitbudget::{Cause, Compiled, ErrorKind, Inputs, NamedTensor, Precision, ProbeError, SEVERAL, Saturated, Session};
use bitbudget_train::divergence::{Divergence, Growth, NotFinite};
use bitbudget_train::evaluation::Evaluation;
use bitbudget_train::loss_scale::{LossScaling, SMALLEST_SCALE};
use bitbudget_train::metrics;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
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
    error.chain().any(|cause| cause.is::<Diverged>() || ErrorKind::of(cause) == Some(ErrorKind::NotFinite))
}

/// The numbers of a run that were not finite, their place, and advice.
pub(crate) fn explained(divergence: &Divergence, session: &mut Session, setup: Setup<'_>) -> metrics::Diverged {
    let extremes = extremes(divergence, session.compiled(), setup);
    let inputs: String = extremes.inputs.iter().map(|what| format!("{what}; ")).collect();
    let mut run = Run { divergence, session, setup, extremes };
    let (tensor, what) = match (run.bad_example(), &divergence.found) {
        (Some(text), _) => (None, text),
        (None, NotFinite::Loss) => run.loss(),
        (None, NotFinite::Gradients) => run.gradients(),
        (None, NotFinite::Kept(name)) => (Some(name.clone()), run.kept(name)),
        (None, NotFinite::Scores { fp32, test, evaluation }) => run.scores(*fp32, *test, evaluation),
    };
    // Numbers that are out of the ordinary before anything is computed come first.
    metrics::Diverged { step: divergence.step, tensor, message: format!("the run diverged: {inputs}{what}") }
}

/// A run that diverged, with what is needed to run its last step again. What is found is a tensor's name and a text.
struct Run<'a> {
    divergence: &'a Divergence,
    session: &'a mut Session,
    setup: Setup<'a>,
    extremes: Extremes,
}

impl Run<'_> {
    /// An example that is not finite itself.
    fn bad_example(&self) -> Option<String> {
        let Divergence { batch, step, .. } = self.divergence;
        let (x, example) = batch.most(|a, b| b.is_finite().cmp(&a.is_finite())).filter(|(x, _)| !x.is_finite())?;
        let example = example.map_or("an example".to_string(), |example| format!("example {example}"));
        Some(format!("{example}, in the batch of step {step}, holds {x}; it is in the data, remove it there"))
    }

    /// The cause in the last step, with a loss scale.
    fn step(&mut self, loss_scale: f32) -> Found {
        let Divergence { batch, learning_rate, .. } = self.divergence;
        let inputs = Inputs { loss_scale, learning_rate: *learning_rate, ..batch.inputs() };
        self.session.cause_in_step(&inputs)
    }

    fn loss(&mut self) -> (Option<String>, String) {
        let Divergence { step, loss_scale, .. } = *self.divergence;
        let cause = self.step(loss_scale);
        let advice = advice(&cause, &self.extremes, self.setup);
        (tensor(&cause), format!("the loss was not finite at step {step}: {}; {advice}", place(&cause)))
    }

    fn gradients(&mut self) -> (Option<String>, String) {
        let Divergence { step, loss_scale, ref record, .. } = *self.divergence;
        let cause = self.step(loss_scale);
        let is_gradient = matches!(&cause, Ok(Some(Cause { first, is_saturation: false, .. })) if first.is_gradient);
        let mut lower = [1024.0, 1.0, SMALLEST_SCALE].into_iter().filter(|&scale| is_gradient && scale < loss_scale);
        let advice = match lower.find(|&scale| matches!(self.step(scale), Ok(None))) {
            Some(scale) => {
                let widen = much(&cause).map_or(String::new(), |s| format!("; and {}", self.setup.formats.widen(s)));
                scaled_down(scale, self.setup.settings.loss_scale) + &widen
            }
            None => advice(&cause, &self.extremes, self.setup),
        };
        let text = format!(
            "{} of {} steps ({}) were skipped, since gradients were not finite while the loss was: at step {step}, with \
             loss scale {}, {}; {advice}",
            record.skipped,
            record.steps,
            percent(record.skipped_share),
            number(f64::from(loss_scale)),
            place(&cause)
        );
        (tensor(&cause), text)
    }

    fn kept(&self, name: &str) -> String {
        let Divergence { step, learning_rate, record, .. } = self.divergence;
        let compiled = self.session.compiled();
        let (kept, extremes) = (compiled.kept(name), &self.extremes);
        let mut text = format!("{} was not finite after step {step}", kept.words);
        let update = update(compiled, *learning_rate);
        if let Some(update) = update.filter(|_| !kept.is_statistic && !extremes.of_updates) {
            text += &format!("; the update was {update}");
        }
        text += &worst(record, extremes, self.setup);
        format!("{text} {}", extremes.advice())
    }

    fn scores(&mut self, fp32: bool, test: bool, evaluation: &Evaluation) -> (Option<String>, String) {
        let Divergence { step, batch, .. } = self.divergence;
        let precision = if fp32 { Precision::Fp32 } else { Precision::Assigned };
        let cause = self.session.cause_in_evaluation(&batch.inputs(), precision);
        let text = format!(
            "after the last step, step {step}, the scores of {} of {} {} examples are not finite{}: {}; {}",
            evaluation.not_finite,
            evaluation.examples,
            if test { "test" } else { "training" },
            if fp32 { " when evaluated in fp32" } else { "" },
            place(&cause),
            advice(&cause, &self.extremes, self.setup)
        );
        (tensor(&cause), text)
    }
}

/// The tensor that saturated most, and what to do about it, where nothing else is out of the ordinary; a semicolon otherwise.
fn worst(record: &metrics::FinalRecord, extremes: &Extremes, setup: Setup<'_>) -> String {
    let worst = record.overflows.iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
    match worst.filter(|worst| extremes.is_empty() && worst.ratio >= OVERFLOW_THRESHOLD) {
        Some(metrics::Overflow { tensor, ratio, step }) => format!(
            "; {} of `{tensor}` saturated its format at step {step}: {}, or",
            percent(*ratio),
            setup.formats.widen_named(tensor)
        ),
        None => ";".to_string(),
    }
}

/// That a run came to its end, but its loss grew far above the first one, or most steps were skipped, and what to do.
pub(crate) fn warning(
    record: &metrics::FinalRecord,
    growth: Option<Growth>,
    compiled: &Compiled,
    setup: Setup<'_>,
) -> Option<String> {
    let skipped = hardly_trained(record);
    let extremes = extremes_with([], "training", record, compiled, setup);
    let grew = growth.map(|Growth { first, last }| {
        format!("the loss grew from {} at the first step to {} at the last", small(first), small(last))
    });
    let advice = match (&skipped, &grew) {
        (None, None) => return None,
        (_, Some(_)) => worst(record, &extremes, setup) + " " + &extremes.advice(),
        (Some(_), None) if extremes.of_updates => format!("; {}", extremes.advice()),
        (Some(_), None) => format!("; {}", when_skipped(setup.settings.loss_scale)),
    };
    Some([grew, skipped].into_iter().flatten().collect::<Vec<_>>().join("; ") + &advice)
}

/// Advice against skipped steps.
fn when_skipped(scaling: LossScaling) -> &'static str {
    match scaling {
        LossScaling::Dynamic => {
            "train for more steps, so that the loss scale can fall, or begin with a lower one (--loss-scale)"
        }
        LossScaling::Fixed(_) | LossScaling::None => "use --loss-scale dynamic or a smaller number",
    }
}

type Found = Result<Option<Cause>, ProbeError>;

fn tensor(cause: &Found) -> Option<String> {
    let cause = cause.as_ref().ok()?.as_ref()?;
    let saturated = cause.saturated.as_ref().filter(|_| cause.is_saturation);
    Some(saturated.map_or(&cause.first.name, |saturated| &saturated.name).clone())
}

/// The tensor that saturates, where that is the cause or concerns more than single numbers.
fn much(cause: &Found) -> Option<&Saturated> {
    let cause = cause.as_ref().ok()?.as_ref()?;
    cause.saturated.as_ref().filter(|saturated| cause.is_saturation || saturated.share >= OVERFLOW_THRESHOLD)
}

/// Advice where gradients are finite with a lower loss scale.
fn scaled_down(scale: f32, scaling: LossScaling) -> String {
    let scale = number(f64::from(scale));
    match scaling {
        LossScaling::Dynamic => format!(
            "train for more steps, so that the loss scale can fall, or begin with a lower one (--loss-scale {scale})"
        ),
        LossScaling::Fixed(_) | LossScaling::None => {
            format!("use --loss-scale dynamic or a smaller number (--loss-scale {scale})")
        }
    }
}

/// Advice about the cause: unusual settings first, then the tensor's format.
fn advice(cause: &Found, extremes: &Extremes, setup: Setup<'_>) -> String {
    // Weights that grow without bound fit no format.
    let saturated = much(cause).filter(|_| !extremes.of_updates).map(|saturated| setup.formats.widen(saturated));
    let is_gradient = matches!(cause, Ok(Some(Cause { first, is_saturation: false, .. })) if first.is_gradient);
    let gradient = is_gradient && extremes.is_empty();
    let gradient = gradient.then(|| setup.formats.widen_gradient());
    let settings = Some(extremes.advice()).filter(|_| saturated.is_none() || !extremes.is_empty());
    [settings, gradient, saturated].into_iter().flatten().collect::<Vec<_>>().join(", or ")
}

/// Which tensor it is.
fn place(cause: &Found) -> String {
    match (cause, much(cause)) {
        (Ok(Some(Cause { is_saturation: true, .. })), Some(saturated)) => saturates(saturated),
        (Ok(Some(Cause { first, .. })), Some(saturated)) => {
            format!("{}; in the formats of the run {}", self::first(first), saturates(saturated))
        }
        (Ok(Some(Cause { first, .. })), None) => self::first(first),
        (Ok(None), _) => "no tensor is not finite when they are computed one by one".to_string(),
        (Err(error), _) => format!("which tensor is the first cannot be told ({error})"),
    }
}

fn first(tensor: &NamedTensor) -> String {
    let NamedTensor { computes, is_gradient, format, .. } = tensor;
    let what = if *is_gradient { "gradient" } else { "tensor" };
    format!("{computes}, stored in {format}, is the first {what} that is not finite")
}

fn saturates(saturated: &Saturated) -> String {
    let Saturated { name, format, largest, share, others, .. } = saturated;
    let end = number(f64::from(format.max_finite()));
    let named: Vec<&str> = others.iter().take(SEVERAL - 1).map(String::as_str).collect();
    let listed = list(&named, others.len() - named.len());
    let others = match others.len() {
        0 => String::new(),
        1 => format!("; {listed} saturates too"),
        _ => format!("; {listed} saturate too"),
    };
    format!(
        "`{name}` saturates: it is stored in {format}, which ends at {end}, but {} of its numbers are larger, up to {}{others}",
        percent(*share),
        number(f64::from(*largest))
    )
}

/// Which tensor makes scores of an evaluated batch not finite.
pub(crate) fn place_in_evaluation(session: &mut Session, inputs: &Inputs<'_>, precision: Precision) -> String {
    place(&session.cause_in_evaluation(inputs, precision))
}

/// The fate of the file of a network that was not trained to its end.
pub(crate) fn unsaved(save: Option<&Path>) -> String {
    match save {
        Some(path) if path.exists() => format!("\nnothing was saved: {} stays as it was", path.display()),
        Some(path) => format!("\nnothing was saved: {} was not written", path.display()),
        None => String::new(),
    }
}
