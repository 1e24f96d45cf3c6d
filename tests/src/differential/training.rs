//! Training a case, the way the command line does.

use super::{Case, Checked, Examples, text};
use bitbudget::{Compiled, Options, Promotion, compile};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Executor, Footprint, Target, Values};
use bitbudget_ir::{Graph, Model, Op};
use bitbudget_train::divergence::Ended;
use bitbudget_train::learning_rate::LearningRate;
use bitbudget_train::loss_scale::LossScaling;
use bitbudget_train::metrics::Record;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
use bitbudget_train::run::{self, Length, Programs, Settings, Training};
use std::collections::BTreeMap;

/// A network after its steps.
#[derive(Debug)]
pub struct Trained {
    /// The trainer, with the values after the last step.
    pub compiled: Compiled,
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// Steps without an update.
    pub skipped: usize,
    /// What the executor holds after the steps and the evaluations.
    pub allocated: Footprint,
    /// What the evaluations need at least, with the step's own memory: without rounding even one example can need more than a step.
    pub evaluations: Footprint,
}

/// Compiles and trains a network on the case's data.
///
/// # Errors
/// The error of the compiler or of the run.
pub fn train(case: &Case, model: &Model, options: &Options, threads: usize) -> Result<Trained, String> {
    train_compiled(case, compile(model.clone(), options).map_err(text)?, case.loss_scale, threads)
}

/// Trains what is compiled.
pub(crate) fn train_compiled(
    case: &Case,
    compiled: Compiled,
    loss_scale: LossScaling,
    threads: usize,
) -> Result<Trained, String> {
    let examples = Examples::load(&case.data, &compiled, case.task.ignored)?;
    let settings = Settings {
        length: Length::Steps(case.losses.len() as u64),
        learning_rate: case.learning_rate,
        schedule: LearningRate::Constant,
        loss_scale,
        promotion: Some(OVERFLOW_THRESHOLD),
        seed: 0,
        betas: match case.optimizer {
            Optimizer::AdamW { betas, .. } => betas,
            Optimizer::Sgd { .. } => [0.0; 2],
        },
    };
    train_on(&examples, case.batch, &settings, compiled, threads)
}

/// Trains what is compiled on any data in their order; an error says where it diverged.
pub(crate) fn train_on(
    examples: &Examples,
    batch: usize,
    settings: &Settings,
    mut compiled: Compiled,
    threads: usize,
) -> Result<Trained, String> {
    let mut executor = Executor::new(Target::Cpu, threads).map_err(text)?;
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).map_err(text)?;
    values.progress = compiled.progress;
    let programs = Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() };
    let fp32 = compiled.evaluate_fp32().map_err(text)?;
    let loss = compiled.loss().clone();
    let (mut losses, mut skipped) = (Vec::new(), 0);
    let epochs = examples.epochs(batch)?;
    let ended = run::train(
        &mut executor,
        &mut values,
        Training { programs, fp32: &fp32, examples: &*epochs, settings, loss: &loss },
        &mut |over| {
            let tensors: Vec<u32> = over.iter().map(|over| over.tensor).collect();
            let promoted = compiled.promote(&tensors, Promotion::Fitting).map_err(bitbudget_train::Error::compile)?;
            let programs = || Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() };
            Ok((!promoted.is_empty()).then(|| run::Promoted { programs: programs(), tensors: Vec::new() }))
        },
        &mut |record| {
            if let Record::Step(step) = record {
                losses.push(step.loss);
                skipped += usize::from(step.skipped);
            }
            Ok(())
        },
    )
    .map_err(text)?;
    if let Ended::Diverged(divergence) = ended {
        return Err(format!("diverged at step {}: {:?}", divergence.step, divergence.found));
    }
    compiled.values = values.download().map_err(text)?;
    compiled.progress = values.progress;
    let allocated = executor.allocated(&values);
    let needed = [&compiled.evaluate, &fp32].map(|program| executor.predicted(program));
    let evaluations = Footprint {
        kept: allocated.kept,
        arena: needed.iter().map(|f| f.arena).chain([compiled.train.arena]).max().unwrap_or(0),
        scratch: needed
            .iter()
            .map(|f| f.scratch)
            .chain([executor.predicted(&compiled.train).scratch])
            .max()
            .unwrap_or(0),
    };
    Ok(Trained { compiled, losses, skipped, allocated, evaluations })
}

/// Whether losses, trained tensors and running statistics are PyTorch's.
pub(crate) fn numbers(case: &Case, trained: &Trained) -> Checked {
    if trained.skipped > 0 {
        return Err(format!("{} steps were skipped in FP32", trained.skipped));
    }
    for (step, (loss, (expected, tolerance))) in trained.losses.iter().zip(&case.losses).enumerate() {
        let off = (loss - expected).abs();
        if off.is_nan() || off > *tolerance {
            return Err(format!("the loss of step {step} is {loss}, PyTorch's {expected} (tolerance {tolerance:.2e})"));
        }
    }
    let mut faults = Vec::new();
    for expected in &case.tensors {
        let name = &expected.name;
        let Some(values) = trained.compiled.values.get(name) else {
            faults.push(format!("`{name}` has no value"));
            continue;
        };
        if values.len() != expected.values.len() {
            faults.push(format!("`{name}` has {} elements, not {}", values.len(), expected.values.len()));
            continue;
        }
        let squares = values.iter().zip(&expected.values).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        let off = squares.sum::<f64>().sqrt();
        // The numbers of the file are rounded to FP32 too.
        let rounding = expected.values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() * 1e-7;
        if off.is_nan() || off > expected.tolerance + rounding {
            let (change, tolerance) = (expected.change, expected.tolerance);
            faults.push(format!("`{name}` is off by {off:.2e} (it moved by {change:.2e}, tolerance {tolerance:.2e})"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Whether two trainings came to the same bits.
pub(crate) fn same_bits(one: &Trained, other: &Trained) -> Checked {
    if one.losses.iter().map(|loss| loss.to_bits()).ne(other.losses.iter().map(|loss| loss.to_bits())) {
        return Err(format!("the losses {:?} and {:?} differ", one.losses, other.losses));
    }
    let kept = |values: &BTreeMap<String, Vec<f32>>, name: &str| values.get(name).map(|v| bits(v));
    for name in one.compiled.values.keys().filter(|name| !is_constant(&one.compiled.forward, name)) {
        if kept(&one.compiled.values, name) != kept(&other.compiled.values, name) {
            return Err(format!("`{name}` differs after the same losses"));
        }
    }
    Ok(())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Constants are values too, but rewriting may do without some.
fn is_constant(graph: &Graph, name: &str) -> bool {
    graph.ids().any(|id| matches!(graph.op(id), Op::Constant(constant) if constant.name == name))
}
