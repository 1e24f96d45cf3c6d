//! `bitbudget eval`.

use crate::args::EvalArgs;
use crate::data::dataset;
use crate::divergence::{Diverged, place_in_evaluation};
use crate::files::check;
use crate::memory::check_memory;
use crate::model::{Request, compiled, network};
use crate::output::{counted, json, remark, say, small};
use crate::report;
use crate::threads::{executor, threads};
use anyhow::Result;
use bitbudget_exec::Values;
use bitbudget_formats::Format;
use bitbudget_precision::Method;
use bitbudget_program::Program;
use bitbudget_train::batches::EvalBatches;
use bitbudget_train::evaluation::{batch_with, evaluate};
use serde::Serialize;

#[derive(Serialize)]
struct EvalRecord {
    data: String,
    examples: usize,
    method: String,
    loss: f64,
    accuracy: f64,
    loss_fp32: f64,
    accuracy_fp32: f64,
    /// Examples whose scores are not finite, which count as wrong.
    not_finite: u64,
    not_finite_fp32: u64,
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let inputs = report::Inputs { data: Some(&args.data), ..report::Inputs::new(&args.model, &args.assignment) };
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let (method, threads) = (Method::Fp32, threads(args.device.threads));
    let seed = Some(args.seed);
    let request = Request { seed, quiet: args.quiet, method, is_trained: false, threads, ..Request::default() };
    let compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let dataset = dataset(&args.data, args.fitting, &network(&compiled.training)?, args.seed)?;
    for note in dataset.notes.iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    let split = dataset.test.as_ref().unwrap_or(&dataset.train);
    let mut executor = executor(&args.device, threads)?;
    let fp32 = compiled.evaluate_fp32()?;
    check_memory(&executor, &[&compiled.evaluate, &fp32])?;
    let mut values = Values::new(&compiled.evaluate, &compiled.values, executor.device())?;
    let batches = |size| EvalBatches::new(&dataset, split, size);
    let mut evaluated = |program: &Program| {
        let loaded = executor.load(program)?;
        evaluate(&mut executor, &mut values, &loaded, &mut batches(program.batch)?)
    };
    let rounded = evaluated(&compiled.evaluate)?;
    // Where nothing is rounded, both are the same.
    let is_rounded = compiled.assignment.formats.iter().any(|&format| format != Format::FP32);
    let exact = match is_rounded {
        true => evaluated(&fp32)?,
        false => rounded,
    };
    let record = EvalRecord {
        data: dataset.name.clone(),
        examples: split.len(),
        method: compiled.assignment.method.to_string(),
        loss: rounded.loss,
        accuracy: rounded.accuracy,
        loss_fp32: exact.loss,
        accuracy_fp32: exact.accuracy,
        not_finite: rounded.not_finite,
        not_finite_fp32: exact.not_finite,
    };
    if let Some(path) = &args.json {
        json(path, &record)?;
    }
    if !args.quiet && !outputs.on_standard_output {
        let line =
            |of: &str, loss: f64, accuracy: f64| format!("{of} loss {} accuracy {:.2}%", small(loss), 100.0 * accuracy);
        let examples = counted(record.examples as u64, "example", "examples");
        // Pins round tensors with method fp32 too.
        let own = match (is_rounded, record.method.as_str()) {
            (true, "fp32") => "fp32 with pins",
            (_, method) => method,
        };
        let mut text = format!("{examples} of {}: {}", record.data, line(own, record.loss, record.accuracy));
        if is_rounded {
            text += &format!("; {}", line("fp32", record.loss_fp32, record.accuracy_fp32));
        }
        say(text)?;
    }
    for (is_exact, evaluation) in [(false, rounded), (true, exact)] {
        let Some(example) = evaluation.first_not_finite else { continue };
        let (method, size) = match is_exact {
            true => ("fp32", fp32.batch),
            false => (record.method.as_str(), compiled.evaluate.batch),
        };
        let batch = batch_with(&mut batches(size)?, example)?;
        let place = place_in_evaluation(&compiled, &mut executor, &mut values, &batch.inputs(), is_exact);
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
