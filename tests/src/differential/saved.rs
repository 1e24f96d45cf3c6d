//! The trained network as a file: it evaluates and trains on like the one that was saved.

use super::training::{same_bits, train_compiled};
use super::{Case, Checked, Examples, Trained, options, parameters, text};
use bitbudget::{Compiled, Loss, Options, compile};
use bitbudget_exec::{Executor, Target, Values};
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_program::Program;
use bitbudget_train::batches::Batch;
use bitbudget_train::evaluation::evaluate;
use serde::Serialize;
use std::path::Path;

/// How far losses of the same network may be apart, relative to them.
const CLOSE: f64 = 1e-5;

/// What an evaluation gives.
#[derive(Serialize)]
struct Evaluated {
    loss: f64,
    /// The network's results for all examples, or its own loss for each batch.
    results: Vec<f32>,
}

/// Evaluation gives the same bits with and without rewriting.
pub(super) fn evaluations(case: &Case, trained: &Trained) -> Checked {
    let examples = examples(case, &trained.compiled)?;
    let options = Options { rewrite: None, ..options(case, Method::Fp32) };
    let model = trained_model(trained);
    let plain = compile(model, &options).map_err(text)?;
    let one = evaluated(&trained.compiled.evaluate_fp32().map_err(text)?, &trained.compiled, &examples)?;
    let other = evaluated(&plain.evaluate_fp32().map_err(text)?, &plain, &examples)?;
    let bits = |e: &Evaluated| -> Vec<u32> { e.results.iter().map(|x| x.to_bits()).collect() };
    if bits(&one) != bits(&other) {
        return Err(format!("the losses are {} with rewriting and {} without, or scores differ", one.loss, other.loss));
    }
    Ok(())
}

/// Training goes on from a trainer file as it does without; to the same divergence where it diverges.
pub(super) fn trainer(case: &Case, trained: &Trained) -> Checked {
    let go_on = |compiled: Compiled| train_compiled(case, compiled, case.loss_scale, 1);
    let read = Compiled::decode(&trained.compiled.encode()).map_err(text)?;
    match (go_on(trained.compiled.clone()), go_on(read)) {
        (Err(without), Err(with)) if without == with => Ok(()),
        (without, with) => same_bits(&without?, &with?),
    }
}

/// The trained network as ONNX file: what it trains, its evaluation, the loss of its next step.
pub(super) fn check(case: &Case, trained: &Trained, save: Option<&Path>) -> Checked {
    let compiled = &trained.compiled;
    let examples = examples(case, compiled)?;
    let before = evaluated(&compiled.evaluate_fp32().map_err(text)?, compiled, &examples)?;
    let bytes = bitbudget_onnx::export_bytes(&trained_model(trained)).map_err(text)?;
    if let Some(folder) = save {
        let file = |ending: &str| folder.join(format!("{}.{ending}", case.name));
        std::fs::write(file("onnx"), &bytes).map_err(text)?;
        std::fs::write(file("json"), serde_json::to_vec(&before).map_err(text)?).map_err(text)?;
    }
    let again = case.import(&bytes).map_err(|e| format!("the saved file: {e}"))?.model;
    let again = compile(again, &options(case, Method::Fp32)).map_err(|e| format!("the saved file: {e}"))?;
    let (own, theirs) = (parameters(&compiled.training), parameters(&again.training));
    if own != theirs {
        return Err(format!("the saved file trains {theirs:?}, the network {own:?}"));
    }
    let after = evaluated(&again.evaluate_fp32().map_err(text)?, &again, &examples)?;
    close("evaluated, the saved file's", after.loss, before.loss)?;
    close("the next step's loss of the saved file", next_loss(case, &again)?, next_loss(case, compiled)?)
}

fn close(what: &str, loss: f64, expected: f64) -> Checked {
    match (loss - expected).abs() <= CLOSE * expected.abs().max(1e-2) {
        true => Ok(()),
        false => Err(format!("{what} loss is {loss}, that of the network {expected}")),
    }
}

fn trained_model(trained: &Trained) -> Model {
    Model { graph: trained.compiled.forward.clone(), values: trained.compiled.values.clone() }
}

/// The loss of one more step.
fn next_loss(case: &Case, compiled: &Compiled) -> Result<f64, String> {
    let examples = examples(case, compiled)?;
    let mut batch = Batch::default();
    examples.batches(case.batch)?.next_into(&mut batch).map_err(text)?;
    let mut executor = Executor::new(Target::Cpu, 1).map_err(text)?;
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).map_err(text)?;
    let step = executor.run(&compiled.train, &mut values, &batch.inputs()).map_err(text)?;
    step.outputs.get("loss").and_then(|loss| loss.first()).map(|&loss| f64::from(loss)).ok_or("there is no loss".into())
}

fn examples(case: &Case, compiled: &Compiled) -> Result<Examples, String> {
    Examples::load(&case.data, compiled, case.task.ignored)
}

/// Loss and results of all examples.
fn evaluated(program: &Program, compiled: &Compiled, examples: &Examples) -> Result<Evaluated, String> {
    let mut executor = Executor::new(Target::Cpu, 1).map_err(text)?;
    let mut values = Values::new(program, &compiled.values, executor.device()).map_err(text)?;
    let loaded = executor.load(program).map_err(text)?;
    let mut batches = examples.batches(program.batch)?;
    let loss = evaluate(&mut executor, &mut values, &loaded, &mut *batches, compiled.loss()).map_err(text)?.loss;
    let name = match compiled.loss() {
        Loss::CrossEntropy { .. } | Loss::BinaryCrossEntropy => "logits",
        Loss::Output { .. } => "loss",
        _ => "predictions",
    };
    let (mut batches, mut batch, mut results) = (examples.batches(program.batch)?, Batch::default(), Vec::new());
    while batches.next_into(&mut batch).map_err(text)? {
        let step = loaded.step(&mut executor, &mut values, &batch.inputs().only(program)).map_err(text)?;
        let all = step.outputs.get(name).ok_or_else(|| format!("there is no output `{name}`"))?;
        // The last batch may be filled up.
        let valid = if name == "loss" { all.len() } else { all.len() / program.batch * batch.valid };
        results.extend_from_slice(&all[..valid]);
    }
    Ok(Evaluated { loss, results })
}
