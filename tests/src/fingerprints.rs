//! Fingerprints of what the compiler makes: weights after 20 steps, predicted bytes and assignments of fourteen networks.
//!
//! Two builds with the same fingerprints on one machine make the same trainers, bit for bit. Nothing here depends on the
//! clock or the number of threads; `tests/fingerprints.sh` compares two commits.

use crate::differential::{Case, Examples, Task, Trained, train_on};
use bitbudget::{Budget, BudgetError, CompileError, Compiled, Limit, Options, compile};
use bitbudget_autodiff::Optimizer;
use bitbudget_ir::Model;
use bitbudget_precision::Method;
use bitbudget_program::Footprint;
use bitbudget_train::data::DataSpec;
use bitbudget_train::learning_rate::LearningRate;
use bitbudget_train::loss_scale::LossScaling;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
use bitbudget_train::run::{Length, Settings};
use bitbudget_zoo::{Network, Spec, build};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

const STEPS: u64 = 20;
/// Scratch memory is predicted for so many threads.
const THREADS: usize = 2;
/// Every so manieth of the fixed random networks is one of ten.
const EVERY: usize = 5;

/// A network with data and settings of its training.
pub struct Subject {
    /// Its name in the list.
    pub name: String,
    model: Model,
    data: DataSpec,
    task: Task,
    batch: usize,
    learning_rate: f32,
    optimizer: Optimizer,
}

/// The four known networks at width 0.25 on the digits, then ten random ones from a folder of cases on their data.
///
/// # Errors
/// If a network cannot be built or read.
pub fn subjects(folder: &Path) -> std::io::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for network in Network::OF_PAPER {
        let spec = Spec { network, width: 0.25, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        let model = build(&spec).map_err(std::io::Error::other)?;
        let (name, data, task) = (network.to_string(), DataSpec::Digits, Task::default());
        subjects.push(Subject { name, model, data, task, batch: 16, learning_rate: 0.01, optimizer: Optimizer::sgd() });
    }
    for name in crate::differential::names(folder)?.iter().step_by(EVERY) {
        let case = Case::read(folder, name)?;
        let model = case.import(&case.onnx).map_err(std::io::Error::other)?.model;
        let Case { name, data, task, batch, optimizer, .. } = case;
        subjects.push(Subject { name, model, data, task, batch, learning_rate: 0.01, optimizer });
    }
    Ok(subjects)
}

/// One line per way to train the network: its name, the way, and the fingerprint of weights, of predicted bytes and of the
/// assignment; or the way's refusal.
pub fn fingerprints(subject: &Subject) -> Vec<String> {
    let demoted = |low_ratio| Options { method: Method::Demote, low_ratio, ..subject.options() };
    let fp32 = Options { method: Method::Fp32, ..subject.options() };
    let limited = |limit| Options {
        method: Method::Ilp,
        budget: Some(Budget { effort: Some(1), ..Budget::new(limit, THREADS) }),
        ..subject.options()
    };
    let mut ways = vec![
        ("fp32", fp32.clone()),
        ("r=0.5", demoted(0.5)),
        ("r=1.0", demoted(1.0)),
        ("40%", limited(Limit::Share(0.4))),
    ];
    // Random networks take little beside the scratch memory of threads.
    if let Ok(compiled) = compile(subject.model.clone(), &fp32) {
        let Footprint { kept, arena, scratch } = Footprint::predicted(&compiled.train, THREADS);
        ways.push(("60% of FP32's arena", limited(Limit::Bytes(kept + scratch + arena * 6 / 10))));
    }
    ways.into_iter().map(|(way, options)| format!("{}\t{way}\t{}", subject.name, subject.result(&options))).collect()
}

impl Subject {
    fn options(&self) -> Options {
        let loss = self.task.loss.clone();
        Options { batch: self.batch, loss, optimizer: self.optimizer, ..Options::default() }
    }

    fn result(&self, options: &Options) -> String {
        let compiled = match compile(self.model.clone(), options) {
            Ok(compiled) => compiled,
            Err(CompileError::Budget(BudgetError::Infeasible(shortage) | BudgetError::Unknown(shortage))) => {
                return format!("refused: smallest {:?}, bound {}", shortage.smallest, shortage.bound);
            }
            Err(refusal) => return refusal.to_string().replace('\n', " "),
        };
        let planned = planned(&compiled);
        match self.train(compiled) {
            Ok(trained) => format!("{planned}\tweights {:016x}", weights(&trained)),
            Err(fault) => format!("{planned}\t{fault}"),
        }
    }

    fn train(&self, compiled: Compiled) -> Result<Trained, String> {
        let settings = Settings {
            length: Length::Steps(STEPS),
            learning_rate: self.learning_rate,
            schedule: LearningRate::Constant,
            loss_scale: LossScaling::Dynamic,
            promotion: Some(OVERFLOW_THRESHOLD),
            seed: 0,
            betas: match self.optimizer {
                Optimizer::AdamW { betas, .. } => betas,
                Optimizer::Sgd { .. } => [0.0; 2],
            },
        };
        let examples = Examples::load(&self.data, &compiled, self.task.ignored)?;
        train_on(&examples, self.batch, &settings, compiled, THREADS)
    }
}

/// Predicted bytes and a hash of the assignment.
fn planned(compiled: &Compiled) -> String {
    let Footprint { kept, arena, scratch } = Footprint::predicted(&compiled.train, THREADS);
    let assignment = &compiled.assignment;
    let formats = assignment.formats.iter().map(ToString::to_string);
    let recomputed = assignment.recomputed.iter().map(ToString::to_string);
    let hash = hash(&formats.chain(recomputed).collect::<Vec<_>>());
    format!("kept {kept}\tarena {arena}\tscratch {scratch}\tassignment {hash:016x}")
}

/// A hash of all values and losses after the steps.
fn weights(trained: &Trained) -> u64 {
    let values = trained.compiled.values.iter();
    let values: Vec<_> = values.map(|(name, x)| (name, x.iter().map(|x| x.to_bits()).collect::<Vec<_>>())).collect();
    let losses: Vec<u64> = trained.losses.iter().map(|loss| loss.to_bits()).collect();
    hash(&(values, losses))
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
