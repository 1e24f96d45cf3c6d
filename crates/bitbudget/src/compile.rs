//! The way through the compiler: from a network to a compiled trainer.

use crate::compiled::{Chosen, Compiled};
use crate::error::CompileError;
use crate::fp32::{self, Remembered};
use crate::network::check_fixed_batch;
use crate::options::Options;
use crate::plan::{Asked, Plan, Problem};
use crate::threads;
use bitbudget_autodiff::{class_weights, training_with};
use bitbudget_budget::{Budget, Network, fit};
use bitbudget_ir::{Graph, Loss, Model, verify};
use bitbudget_precision::{
    Assignment, Formats, Method, PinError, PinFormats, Pinned, Tensor, assign_with, pins_of, tensors,
};

/// Compiles a network: the whole way through the compiler.
///
/// # Errors
/// If the network has no `[N, classes]` output, cannot be differentiated, or the options do not fit it.
pub fn compile(model: Model, options: &Options) -> Result<Compiled, CompileError> {
    let (batch, lowering) = (options.batch, options.lowering());
    let training = training(&model.graph, options)?;
    let tensors = tensors(&training, batch);
    let pinned = pinned(&training, &tensors, options).map_err(CompileError::Pins)?;
    let mut fp32 = fp32::Kept::default();
    let (assignment, solved) = match &options.budget {
        Some(budget) => {
            let step = fp32.step(&training, batch, lowering)?;
            let remembered = Remembered::new(&training, lowering);
            let taken = |assignment: &Assignment| remembered.taken(assignment);
            let network = Network { training: &training, batch, tensors: &tensors, pinned: &pinned, taken: &taken };
            let (assignment, solved) = fit(network, &step, &options.setting(), budget)?;
            (assignment, Some(solved))
        }
        None => (assign_with(&training, batch, &tensors, &options.setting(), &pinned)?, None),
    };
    let (asked, budget) = (Asked::of(options), options.budget.clone());
    let chosen = Chosen { assignment, pinned, asked, budget, solved, fp32 };
    Compiled::build(with_class_weights(model, &training, options), training, chosen, lowering)
}

/// Compiles a network with exactly the assignment of a plan.
///
/// Of the options, those that [`Plan::options`] gives are to be the plan's, but for the batch.
///
/// # Errors
/// If the network has no `[N, classes]` output or cannot be differentiated, the assignment is not one of the network (with
/// everything that is wrong with it), or it does not fit the budget.
pub fn compile_as(model: Model, options: &Options, plan: &Plan) -> Result<Compiled, CompileError> {
    let training = training(&model.graph, options)?;
    let (batch, method, lowering) = (options.batch, options.method, options.lowering());
    let tensors = tensors(&training, batch);
    let (pinned, problems) = match pinned(&training, &tensors, options) {
        Ok(pinned) => (pinned, Vec::new()),
        Err(errors) => (Pinned::new(), errors.into_iter().map(Problem::from).collect()),
    };
    let choices = plan.choices(&training, &tensors, problems)?;
    // What is pinned stays as it is here, edited or not.
    let pinned = pinned.into_keys().map(|at| (at, choices.formats[at])).collect();
    let (formats, recomputed) = (choices.formats, choices.recomputed);
    let assignment = Assignment::of_choices(&training, batch, &tensors, method, plan.by_level(), formats, recomputed)?;
    let check = |budget| threads::check(&training, &assignment, lowering, budget);
    let solved = options.budget.as_ref().map(check).transpose()?;
    let (asked, budget, fp32) = (Asked::of(options), options.budget.clone(), fp32::Kept::default());
    let chosen = Chosen { assignment, pinned, asked, budget, solved, fp32 };
    Compiled::build(with_class_weights(model, &training, options), training, chosen, lowering)
}

/// The training graph of a network, to which the budget's profile belongs.
fn training(forward: &Graph, options: &Options) -> Result<Graph, CompileError> {
    verify(forward).map_err(CompileError::Graph)?;
    check_fixed_batch(forward, options.batch)?;
    if let Some(measured) = options.budget.as_ref().and_then(|budget| budget.measured.as_ref()) {
        measured.profile.check(forward)?;
        measured.profile.check_loss(&options.loss)?;
    }
    Ok(training_with(forward, &options.optimizer, options.updates, &options.loss)?)
}

/// The network with the values of the constants that its training graph adds.
fn with_class_weights(mut model: Model, training: &Graph, options: &Options) -> Model {
    if let (Some(name), Loss::CrossEntropy { weights, .. }) = (class_weights(training), &options.loss) {
        model.values.insert(name.to_string(), weights.clone());
    }
    model
}

/// The formats that pins give to the tensors of a training graph.
fn pinned(training: &Graph, tensors: &[Tensor], options: &Options) -> Result<Pinned, Vec<PinError>> {
    let method = options.method;
    let formats = if method == Method::Fp32 { Formats::FP32 } else { options.formats };
    let widest = options.budget.as_ref().filter(|_| method == Method::Ilp).and_then(Budget::widest);
    let high = widest.unwrap_or(PinFormats { forward: formats.high, backward: formats.high });
    pins_of(&options.pins, training, tensors, method, &formats, high)
}
