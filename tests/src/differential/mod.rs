//! Random networks trained beside PyTorch: every way to compile and train them must come to PyTorch's numbers, or to the
//! same bits as another way.
//!
//! `tests/differential` makes the cases and says what is in their files.

mod budgets;
mod case;
mod examples;
mod methods;
mod saved;
mod training;

pub use case::{Case, names};
pub(crate) use examples::Examples;
pub use examples::Task;
pub(crate) use training::train_on;
pub use training::{Trained, train};

use bitbudget::{Options, Rules, compile};
use bitbudget_ir::{Graph, Op};
use bitbudget_precision::Method;
use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What a check of a network came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Agreed,
    /// The network or the budget is not supported, and the message says so.
    Refused(String),
    /// Another result, an error or a panic.
    Failed(String),
}

/// One check of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The network.
    pub network: String,
    /// What was checked.
    pub check: String,
    /// What that came to.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What checks return: nothing, or what is wrong.
pub(crate) type Checked = Result<(), String>;

/// All checks of a case; the trained network is saved in the folder `save` for other readers, if there is one.
pub fn check(case: &Case, save: Option<&Path>) -> Vec<Finding> {
    let mut findings = Findings { network: case.name.clone(), all: Vec::new() };
    let imported = match protected(|| Ok(case.import(&case.onnx))) {
        Err(panic) => return findings.only("import", Outcome::Failed(panic)),
        Ok(Err(refusal)) => return findings.only("import", Outcome::Refused(refusal.to_string())),
        Ok(Ok(imported)) => imported.model,
    };
    let options = options(case, Method::Fp32);
    match protected(|| Ok(compile(imported.clone(), &options))) {
        Err(panic) => return findings.only("compile", Outcome::Failed(panic)),
        Ok(Err(refusal)) => return findings.only("compile", Outcome::Refused(refusal.to_string())),
        Ok(Ok(_)) => {}
    }
    let Some(exact) = findings.run("training", || train(case, &imported, &options, 1)) else { return findings.all };
    findings.run("numbers", || training::numbers(case, &exact));
    findings.run("no-rewrite", || {
        let plain = train(case, &imported, &Options { rewrite: None, ..options.clone() }, 2)?;
        training::same_bits(&exact, &plain)
    });
    findings.run("reassociation", || {
        let rewrite = Some(Rules::Reassociating);
        training::numbers(case, &train(case, &imported, &Options { rewrite, ..options.clone() }, 1)?)
    });
    findings.run("evaluation", || saved::evaluations(case, &exact));
    findings.run("trainer file", || saved::trainer(case, &exact));
    findings.run("saved", || saved::check(case, &exact, save));
    methods::check(case, &imported, &mut findings);
    budgets::check(case, &imported, &exact, &mut findings);
    findings.all
}

/// The options of a method for the case's batch and optimizer.
pub(crate) fn options(case: &Case, method: Method) -> Options {
    let (optimizer, updates, loss) = (case.optimizer, case.updates(), case.task.loss.clone());
    Options { batch: case.batch, loss, optimizer, updates, method, ..Options::default() }
}

/// The findings about a network.
pub(crate) struct Findings {
    network: String,
    all: Vec<Finding>,
}

impl Findings {
    fn only(mut self, check: &str, outcome: Outcome) -> Vec<Finding> {
        self.add(check, outcome);
        self.all
    }

    pub(crate) fn add(&mut self, check: &str, outcome: Outcome) {
        self.all.push(Finding { network: self.network.clone(), check: check.to_string(), outcome });
    }

    /// Runs a check and adds what it came to; returns what it made, if all is well.
    pub(crate) fn run<T>(&mut self, check: &str, run: impl FnOnce() -> Result<T, String>) -> Option<T> {
        match protected(run) {
            Ok(made) => {
                self.add(check, Outcome::Agreed);
                Some(made)
            }
            Err(fault) => {
                self.add(check, Outcome::Failed(fault));
                None
            }
        }
    }
}

/// A check whose panics are faults like others.
fn protected<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// An error with its causes, as text.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Whether an error says that gradients were not finite, or what they updated without a check of them.
pub(crate) fn diverged(error: &str) -> bool {
    error.starts_with("diverged") && (error.ends_with("Gradients") || error.contains(": Kept("))
}

/// The names of the tensors that a training graph updates; what only running statistics depend on is not trained.
pub(crate) fn parameters(training: &Graph) -> Vec<String> {
    let targets = training.updates().iter().map(|&(target, _)| training.op(target));
    let parameter = |op: &Op| match op {
        Op::Parameter(parameter) => Some(parameter.name.clone()),
        _ => None,
    };
    let mut names: Vec<String> = targets.filter_map(parameter).collect();
    names.sort();
    names
}
