//! A comparison as a table, as lines of CSV, and its parts in words.

use crate::output::{bytes, counted, say, show_table, small, table};
use anyhow::Result;
use bitbudget::comparison::{
    Assigned, CaseRecord, Comparison, Examples, Refused, Summarised, Timing, Trained, TrainingRecord,
};
use serde::Serialize;

/// The outcome of a case, in words.
pub(super) fn outcome(record: &CaseRecord) -> String {
    match &record.assigned {
        Assigned::Fits(fitting) => {
            let cost = fitting.cost.map_or(String::new(), |cost| format!(", cost {cost:.4}"));
            format!("{}{cost}", bytes(fitting.peak as f64))
        }
        Assigned::DoesNotFit(Refused { smallest_peak, .. }) => does_not_fit(*smallest_peak),
    }
}

fn does_not_fit(smallest: Option<usize>) -> String {
    smallest.map_or("does not fit".to_string(), |peak| format!("does not fit, needs {}", bytes(peak as f64)))
}

/// How a training ended, in words.
pub(super) fn trained(record: &TrainingRecord) -> String {
    match &record.trained {
        Trained::Finished { test_accuracy: Some(accuracy), .. } => format!("test accuracy {:.2}%", 100.0 * accuracy),
        Trained::Finished { train_accuracy: Some(accuracy), .. } => {
            format!("training accuracy {:.2}%", 100.0 * accuracy)
        }
        Trained::Finished { test_loss, train_loss, .. } => match (test_loss, train_loss) {
            (Some(loss), _) => format!("test loss {}", small(*loss)),
            (None, Some(loss)) => format!("training loss {}", small(*loss)),
            (None, None) => "finished".to_string(),
        },
        Trained::Diverged { .. } => "diverged".to_string(),
    }
}

/// Prints the cases as a table; what nothing else beats has a star.
pub(super) fn show(comparison: &Comparison) -> Result<()> {
    let question = &comparison.question;
    let on = question.data.as_ref().map_or(String::new(), |data| format!(" on {data}"));
    let threads = counted(question.threads as u64, "thread", "threads");
    say(format!("{}{on} at batch {}, {threads}\n", question.network, question.batch))?;
    let is_loss = comparison.cases.iter().any(|case| case.loss.is_some());
    let measure = if is_loss { "loss" } else { "accuracy" };
    let header = ["method", "budget", "peak", "of fp32", "bits", "cost", measure, "least", "most", "ms a step", ""];
    let is_trained = comparison.cases.iter().any(|case| !case.trainings.is_empty());
    let shown: Vec<usize> = (0..header.len()).filter(|&at| is_trained || !(6..10).contains(&at)).collect();
    let mut table = table(&shown.iter().map(|&at| header[at]).collect::<Vec<_>>(), 1);
    for (at, case) in comparison.cases.iter().enumerate() {
        let row = row(case, comparison.timings.as_ref().and_then(|all| all.get(at)), comparison.fp32_peak);
        table.add_row(shown.iter().map(|&at| row[at].clone()));
    }
    show_table(table)?;
    if comparison.cases.iter().any(|case| case.front) {
        let what = match (is_trained, is_loss) {
            (false, _) => "a cost",
            (true, true) => "a loss",
            (true, false) => "an accuracy",
        };
        say(format!("\n* nothing else has as low a peak and as good {what}"))?;
    }
    let on = match comparison.accuracy_on {
        Some(Examples::Training) => Some("training examples, since there are no test examples"),
        Some(Examples::Test) => Some("test examples"),
        // All trainings diverged.
        None => None,
    };
    if let Some(on) = on.filter(|_| is_trained) {
        say(format!("{measure}: on {on}; the mean, the least and the most over the seeds"))?;
    }
    match comparison.cases.iter().all(|case| case.fits) {
        true => Ok(()),
        false => say("no fit: the budget is too small; the peak is the smallest that was found"),
    }
}

fn row(case: &Summarised, timing: Option<&Timing>, fp32: Option<usize>) -> [String; 11] {
    let number = |x: Option<f64>, digits: usize| x.map_or(String::new(), |x| format!("{x:.digits$}"));
    let is_loss = case.loss.is_some();
    let worth = |x: Option<f64>| match x {
        Some(loss) if is_loss => small(loss),
        Some(accuracy) => format!("{:.2}%", 100.0 * accuracy),
        None => String::new(),
    };
    let peak = case.peak.map_or("?".to_string(), |peak| bytes(peak as f64));
    let share = case.peak.zip(fp32).map(|(peak, fp32)| 100.0 * peak as f64 / fp32 as f64);
    let measured = case.accuracy.or(case.loss);
    let mean = match (case.diverged, measured) {
        (0, _) => worth(measured.map(|a| a.mean)),
        (some, Some(a)) => format!("{} ({some} diverged)", worth(Some(a.mean))),
        (_, None) => "diverged".to_string(),
    };
    [
        case.method.clone(),
        case.budget.clone().unwrap_or_default(),
        peak,
        share.map_or(String::new(), |share| format!("{share:.1}%")),
        number(case.bits_per_element, 2),
        if case.fits { number(case.cost, 4) } else { "no fit".to_string() },
        mean,
        worth(measured.map(|a| a.min)),
        worth(measured.map(|a| a.max)),
        number(timing.and_then(|timing| timing.step_seconds).map(|seconds| 1e3 * seconds), 1),
        if case.front { "*" } else { "" }.to_string(),
    ]
}

/// A line of CSV: a case with one of its trainings.
#[derive(Default, Serialize)]
struct Line {
    method: String,
    budget: Option<String>,
    budget_bytes: Option<usize>,
    fits: bool,
    peak_bytes: Option<usize>,
    cost: Option<f64>,
    bound: Option<f64>,
    low_ratio: Option<f64>,
    bits_per_element: Option<f64>,
    front: bool,
    assign_seconds: Option<f64>,
    seed: Option<u64>,
    diverged: Option<bool>,
    test_accuracy: Option<f64>,
    test_accuracy_fp32: Option<f64>,
    test_loss: Option<f64>,
    train_accuracy: Option<f64>,
    train_loss: Option<f64>,
    promoted: Option<usize>,
    not_promoted: Option<usize>,
    training_seconds: Option<f64>,
    median_step_seconds: Option<f64>,
    steps: Option<u64>,
    skipped: Option<u64>,
}

/// A comparison as CSV, a line per case and seed; cases without trainings have one.
///
/// # Errors
/// If the lines cannot be written, which is a fault of ours.
pub(super) fn csv(comparison: &Comparison) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (at, case) in comparison.cases.iter().enumerate() {
        let timing = comparison.timings.as_ref().and_then(|all| all.get(at));
        let line = || Line {
            method: case.method.clone(),
            budget: case.budget.clone(),
            budget_bytes: case.budget_bytes,
            fits: case.fits,
            peak_bytes: case.peak,
            cost: case.cost,
            bound: case.bound,
            low_ratio: case.low_ratio,
            bits_per_element: case.bits_per_element,
            front: case.front,
            assign_seconds: timing.map(|timing| timing.assign_seconds),
            median_step_seconds: timing.and_then(|timing| timing.step_seconds),
            ..Line::default()
        };
        for (seed, training) in case.trainings.iter().enumerate() {
            let seconds = timing.and_then(|timing| timing.training_seconds.get(seed).copied());
            writer.serialize(of_training(line(), training, seconds))?;
        }
        if case.trainings.is_empty() {
            writer.serialize(line())?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn of_training(line: Line, training: &TrainingRecord, training_seconds: Option<f64>) -> Line {
    let line = Line { seed: Some(training.seed), diverged: Some(false), training_seconds, ..line };
    match training.trained {
        Trained::Diverged { .. } => Line { diverged: Some(true), ..line },
        Trained::Finished {
            test_accuracy,
            test_accuracy_fp32,
            test_loss,
            train_accuracy,
            train_loss,
            promoted,
            not_promoted,
            steps,
            skipped,
            peak: _,
        } => Line {
            test_accuracy,
            test_accuracy_fp32,
            test_loss,
            train_accuracy,
            train_loss,
            promoted: Some(promoted),
            not_promoted: Some(not_promoted),
            steps: Some(steps),
            skipped: Some(skipped),
            ..line
        },
    }
}
