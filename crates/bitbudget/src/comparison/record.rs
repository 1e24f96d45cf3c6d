//! Results of cases and of trainings.

use super::Case;
use crate::fp32::taken;
use crate::{Budget, BudgetError, CompileError, Compiled, Limit, Options, Plan, Shortage, compile};
use bitbudget_budget::{Network, Overflowed, Search};
use bitbudget_ir::Model;
use bitbudget_precision::{Assignment, Setting, node_names};
use bitbudget_program::Footprint;
use bitbudget_report::comparison::TensorName;
use serde::{Deserialize, Serialize};

/// The result of a case. Method and budget are here, since there is no plan where nothing fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseRecord {
    /// The method's name.
    pub method: String,
    /// The budget as it was given.
    pub budget: Option<String>,
    /// The budget in bytes.
    pub budget_bytes: Option<usize>,
    /// FP32's peak in bytes, which a budget may be a share of.
    pub fp32_peak: Option<usize>,
    /// The assignment that the method found.
    #[serde(flatten)]
    pub assigned: Assigned,
}

/// An assignment that a method found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Assigned {
    /// An assignment that fits.
    Fits(Box<Fitting>),
    /// None that fits.
    DoesNotFit(Refused),
}

/// The smallest that a method comes to where it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The smallest peak that was found, in bytes, if any was.
    pub smallest_peak: Option<usize>,
    /// Less than this is proved to be too little, in bytes.
    pub proved: Option<usize>,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fitting {
    /// The peak of a training step in bytes.
    pub peak: usize,
    /// The cost of formats and recomputation as the integer program measures it, if it knows the formats.
    pub cost: Option<f64>,
    /// No assignment within the budget costs less, where an integer program was solved.
    pub bound: Option<f64>,
    /// The share of low elements.
    pub low_ratio: f64,
    /// The mean over all elements.
    pub bits_per_element: f64,
    /// All tensors, in execution order.
    pub tensors: Vec<TensorName>,
    /// The assignment, by which it is trained: the formats of the tensors, and the nodes that the backward pass computes again.
    pub plan: Plan,
}

/// Assigns formats to a network for a case: options without method and budget, and the budget by which costs are counted, whose
/// limit is that of the case, if it has one.
///
/// # Errors
/// If the network cannot be compiled; a budget that nothing fits is not an error.
pub fn assign_case(
    case: &Case,
    model: Model,
    options: &Options,
    measure: &Budget,
    threads: usize,
) -> Result<CaseRecord, CompileError> {
    let limited = |limit: Limit| Budget { limit, ..measure.clone() };
    let options = Options { method: case.method, budget: case.limit.map(limited), ..options.clone() };
    let (bytes, assigned) = match compile(model, &options) {
        Ok(compiled) => {
            let fitting = fitting(&compiled, &options, measure, threads)?;
            (compiled.solved.as_ref().map(|solved| (solved.budget, solved.fp32)), Assigned::Fits(Box::new(fitting)))
        }
        Err(CompileError::Budget(error)) => match refused(&error) {
            Some((bytes, refused)) => (Some(bytes), Assigned::DoesNotFit(refused)),
            None => return Err(error.into()),
        },
        Err(error) => return Err(error),
    };
    let budget = case.limit.map(|limit| limit.to_string());
    let (method, budget_bytes, fp32_peak) =
        (case.method.to_string(), bytes.map(|(budget, _)| budget), bytes.map(|(_, fp32)| fp32));
    Ok(CaseRecord { method, budget, budget_bytes, fp32_peak, assigned })
}

/// The budget and FP32's peak in bytes, and what is known, if an error is that nothing fits.
fn refused(error: &BudgetError) -> Option<((usize, usize), Refused)> {
    match error {
        BudgetError::Infeasible(shortage) | BudgetError::Unknown(shortage) => {
            let Shortage { budget, fp32, smallest, bound, .. } = **shortage;
            Some(((budget, fp32), Refused { smallest_peak: smallest, proved: Some(bound) }))
        }
        &BudgetError::TooLarge { budget, peak, fp32, .. } | &BudgetError::Exceeded { budget, peak, fp32, .. } => {
            Some(((budget, fp32), Refused { smallest_peak: Some(peak), proved: None }))
        }
        BudgetError::Threads { .. }
        | BudgetError::Machine { .. }
        | BudgetError::Profile { .. }
        | BudgetError::Memory(_)
        | BudgetError::Solver(_)
        | BudgetError::Assign(_)
        | BudgetError::Build(_) => None,
    }
}

fn fitting(compiled: &Compiled, options: &Options, measure: &Budget, threads: usize) -> Result<Fitting, CompileError> {
    let Compiled { training, assignment, solved, .. } = compiled;
    let names = node_names(training);
    let name = |id: bitbudget_ir::NodeId| names[id.index()].clone().unwrap_or_else(|| id.to_string());
    let tensors = assignment.tensors.iter().map(|tensor| TensorName {
        name: name(tensor.node),
        kind: tensor.kind.name().to_string(),
        shape: training.ty(tensor.node).shape.to_string(),
        elements: tensor.elements,
    });
    let certificate = solved.as_ref().and_then(|solved| solved.solver.as_ref());
    // Only where an integer program was solved is anything computed again.
    let cost = match certificate {
        Some(certificate) => Some(certificate.cost),
        None => cost(compiled, measure)?,
    };
    Ok(Fitting {
        peak: Footprint::predicted(&compiled.train, threads).total(),
        cost,
        bound: certificate.map(|certificate| certificate.bound),
        low_ratio: assignment.low_ratio_elements(),
        bits_per_element: assignment.bits_total() as f64 / assignment.elements().max(1) as f64,
        tensors: tensors.collect(),
        plan: Plan::new(compiled, options),
    })
}

/// The cost of the assignment's formats as a budget measures it, if it knows them.
fn cost(compiled: &Compiled, measure: &Budget) -> Result<Option<f64>, CompileError> {
    let Compiled { training, assignment, lowering, pinned, .. } = compiled;
    let (batch, tensors, none) = (assignment.batch, &assignment.tensors, Overflowed::new());
    let step = compiled.fp32.clone().step(training, batch, *lowering)?;
    let taken = |assignment: &Assignment| taken(training, assignment, *lowering);
    let network = Network { training, batch, tensors, pinned, taken: &taken };
    let setting = Setting { method: assignment.method, low_ratio: 0.0, seed: 0, formats: assignment.by_level };
    Ok(Search::new(network, &step, setting, measure, &none).cost(assignment))
}
