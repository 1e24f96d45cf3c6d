//! One training of a comparison.

use super::setup::Setup;
use super::state::Entry;
use crate::advice::{self, Command, Formats};
use crate::divergence::explained;
use crate::threads::executor;
use anyhow::{Context, Result};
use bitbudget::comparison::{Fingerprint, Fitting, Trained, TrainingRecord, key};
use bitbudget::{Budget, Compiled, FileKind, Options, Session, compile_as};
use bitbudget_train::batches::TrainOptions;
use bitbudget_train::divergence::Ended;
use bitbudget_train::metrics::{FinalRecord, Record};
use serde_json::json;
use std::time::Instant;

/// The training of an assignment with a seed, and whether it was kept from before.
pub(super) fn trained(setup: &Setup, fitting: &Fitting, seed: u64) -> Result<(Entry<TrainingRecord>, bool)> {
    let (examples, settings, options) = setup.training.as_ref().context("there is nothing to train on")?;
    let options = TrainOptions { seed, ..options.clone() };
    let mut assignment = Fingerprint::default();
    assignment.add(fitting.plan.write(FileKind::Json)?.as_bytes());
    let description = json!({
        "machine": setup.machine,
        "network": setup.question.network_hash,
        "assignment": assignment.digits(),
        "options": format!("{:?}", setup.options),
        "measure": format!("{:?}", setup.measure),
        "data": setup.question.data_hash,
        "settings": format!("{settings:?} {options:?}"),
        "promotion": format!("{:?}", setup.promotion),
        "threads": setup.threads,
    });
    setup.state.kept_or("train", &key(&description), || {
        let start = Instant::now();
        let compiled = compiled(setup, fitting)?;
        compiled.check_training(compiled.assignment.batch)?;
        let mut session = Session::on(executor(&setup.device, setup.threads)?, compiled);
        let mut steps = Vec::new();
        let ended = session.train(&*examples.epochs(options)?, settings, setup.promotion, &mut |record| {
            if let Record::Step(step) = record {
                steps.push(step.seconds);
            }
            Ok(())
        });
        let trained = match ended? {
            Ended::Finished(record) => finished(&record, &session),
            Ended::Diverged(divergence) => {
                let compiled = session.compiled();
                let formats = Formats::Options {
                    command: Command::Compare,
                    method: compiled.assignment.method,
                    budget: compiled.budget.is_some(),
                    promotion: settings.promotion.is_some(),
                };
                let why = explained(&divergence, &mut session, advice::Setup { settings, formats });
                Trained::Diverged { message: why.message }
            }
        };
        Ok((TrainingRecord { seed, trained }, start.elapsed().as_secs_f64(), median(&steps)))
    })
}

/// The trainer of an assignment.
fn compiled(setup: &Setup, fitting: &Fitting) -> Result<Compiled> {
    let Options { optimizer, updates, storage, rewrite, machine, .. } = setup.options.clone();
    let planned = fitting.plan.options(setup.threads);
    // What a plan does not hold.
    let (measured, effort) = (setup.measure.measured.clone(), setup.measure.effort);
    let budget = planned.budget.clone().map(|budget| Budget { measured, effort, ..budget });
    let options = Options { optimizer, updates, storage, rewrite, machine, budget, ..planned };
    Ok(compile_as(setup.model.clone(), &options, &fitting.plan)?)
}

fn finished(record: &FinalRecord, session: &Session) -> Trained {
    let finite = |number: f64| Some(number).filter(|number| number.is_finite());
    let promoted = record.promotions.iter().filter(|promotion| promotion.is_promoted()).count();
    Trained::Finished {
        test_accuracy: record.test_accuracy,
        test_accuracy_fp32: record.test_accuracy_fp32,
        test_loss: record.test_loss.and_then(finite),
        train_accuracy: record.train_accuracy,
        train_loss: finite(record.train_loss),
        steps: record.steps,
        skipped: record.skipped,
        promoted,
        not_promoted: record.promotions.len() - promoted,
        peak: session.predicted().total(),
    }
}

/// The median of all steps but the first, which touches memory for the first time.
fn median(steps: &[f64]) -> Option<f64> {
    let mut steps: Vec<f64> = steps.iter().skip(1).copied().collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}
