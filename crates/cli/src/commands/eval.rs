//! `bitbudget eval`.

use crate::args::EvalArgs;
use crate::data::Examples;
use crate::divergence::{Diverged, place_in_evaluation};
use crate::files::check;
use crate::model::{Request, compiled};
use crate::output::{counted, json, remark, say};
use crate::progress::measured;
use crate::report;
use crate::threads::{executor, threads};
use anyhow::Result;
use bitbudget::{Method, Precision, Session};
use bitbudget_train::evaluation::{Evaluation, batch_with};
use bitbudget_train::metrics::Metrics;
use serde::Serialize;

#[derive(Serialize)]
struct EvalRecord {
    data: String,
    examples: usize,
    method: String,
    loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Metrics::is_empty")]
    metrics: Metrics,
    loss_fp32: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_fp32: Option<f64>,
    #[serde(skip_serializing_if = "Metrics::is_empty")]
    metrics_fp32: Metrics,
    /// Examples whose scores are not finite, which count as wrong.
    not_finite: u64,
    not_finite_fp32: u64,
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let inputs = report::Inputs { data: Some(&args.data), ..report::Inputs::new(&args.model, &args.assignment) };
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let (method, threads) = (Method::Fp32, threads(args.device.threads));
    let seed = Some(args.seed);
    let request = Request {
        data: Some(&args.data),
        seed,
        quiet: args.quiet,
        method,
        is_trained: false,
        threads,
        machine: args.device.machine(),
        ..Request::default()
    };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    // What a trainer file's budget holds for is a training step.
    compiled.solved = None;
    compiled.lower_for(args.device.machine(), compiled.lowering.threads)?;
    let examples = Examples::load(&args.data, args.fitting, &compiled.interface()?, args.seed)?;
    for note in examples.notes().iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    let method = compiled.assignment.method.to_string();
    let is_rounded = compiled.is_rounded();
    let mut session = Session::on(executor(&args.device, threads)?, compiled);
    let batches =
        |session: &mut Session, precision| -> Result<_> { examples.evaluation(session.evaluation_batch(precision)?) };
    let mut evaluated = |precision| -> Result<_> {
        let mut batches = batches(&mut session, precision)?;
        Ok(session.evaluate(&mut *batches, precision)?)
    };
    let rounded = evaluated(Precision::Assigned)?;
    // Where nothing is rounded, both are the same.
    let exact = if is_rounded { evaluated(Precision::Fp32)? } else { rounded };
    let record = EvalRecord {
        data: examples.name().to_string(),
        examples: rounded.examples as usize,
        method,
        loss: rounded.loss,
        accuracy: rounded.metrics.accuracy,
        metrics: rounded.metrics.others(),
        loss_fp32: exact.loss,
        accuracy_fp32: exact.metrics.accuracy,
        metrics_fp32: exact.metrics.others(),
        not_finite: rounded.not_finite,
        not_finite_fp32: exact.not_finite,
    };
    if let Some(path) = &args.json {
        json(path, &record)?;
    }
    if !args.quiet && !outputs.on_standard_output {
        let line = |of: &str, found: &Evaluation| format!("{of} {}", measured(found.loss, None, found.metrics));
        let examples = counted(record.examples as u64, "example", "examples");
        // Pins round tensors with method fp32 too.
        let own = match (is_rounded, record.method.as_str()) {
            (true, "fp32") => "fp32 with pins",
            (_, method) => method,
        };
        let mut text = format!("{examples} of {}: {}", record.data, line(own, &rounded));
        if is_rounded {
            text += &format!("; {}", line("fp32", &exact));
        }
        say(text)?;
    }
    for (precision, evaluation) in [(Precision::Assigned, rounded), (Precision::Fp32, exact)] {
        let Some(example) = evaluation.first_not_finite else { continue };
        let method = if precision == Precision::Fp32 { "fp32" } else { record.method.as_str() };
        let batch = batch_with(&mut *batches(&mut session, precision)?, example)?;
        let place = place_in_evaluation(&mut session, &batch.inputs(), precision);
        let (many, of) = (evaluation.not_finite, evaluation.examples);
        // The result is written, but the command does not end as a success.
        let text = format!(
            "{method}: the scores of {many} of {of} examples are not finite; they count as wrong. The first is example \
             {example}: {place}"
        );
        return Err(Diverged(text).into());
    }
    Ok(())
}
