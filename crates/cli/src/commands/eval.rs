//! `bitbudget eval`.

use crate::args::{EvalArgs, OptimizerArgs};
use crate::files::check;
use crate::model::{Request, compiled, executor, input_and_classes};
use crate::output::{json, remark, say};
use crate::report::Inputs;
use anyhow::Result;
use bitbudget_exec::Values;
use bitbudget_precision::Method;
use bitbudget_train::data;
use bitbudget_train::evaluation::evaluate;
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
    let inputs = Inputs { data: Some(&args.data), ..Inputs::new(&args.model, &args.assignment) };
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let request = Request { seed: Some(args.seed), quiet: args.quiet, method: Method::Fp32, ..Request::default() };
    let compiled = compiled(&args.model, &args.assignment, &OptimizerArgs::default(), request)?;
    let (input, classes) = input_and_classes(&compiled.training)?;
    let dataset = data::fit(data::load(&args.data, &input, classes, args.seed)?, &input, classes)?;
    for note in dataset.notes.iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    let split = dataset.test.as_ref().unwrap_or(&dataset.train);
    let mut executor = executor(&args.device)?;
    let mut values = Values::new(&compiled.evaluate, &compiled.values, executor.device())?;
    let rounded = evaluate(&mut executor, &mut values, &compiled.evaluate, &dataset, split)?;
    let exact = evaluate(&mut executor, &mut values, &compiled.evaluate_fp32()?, &dataset, split)?;
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
    for (method, many) in [(record.method.as_str(), record.not_finite), ("fp32", record.not_finite_fp32)] {
        if many > 0 && !args.quiet {
            let of = record.examples;
            remark(
                "warning",
                format!("{method}: the scores of {many} of {of} examples are not finite; they count as wrong"),
            );
        }
    }
    if let Some(path) = &args.json {
        json(path, &record)?;
    }
    if !args.quiet && !outputs.on_standard_output {
        say(format!(
            "{} examples of {}: {} loss {:.4} accuracy {:.2}%; fp32 loss {:.4} accuracy {:.2}%",
            record.examples,
            record.data,
            record.method,
            record.loss,
            100.0 * record.accuracy,
            record.loss_fp32,
            100.0 * record.accuracy_fp32
        ))?;
    }
    Ok(())
}
