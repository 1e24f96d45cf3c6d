//! The progress of a training run: a bar on a terminal, a line per epoch elsewhere.

use crate::output::{bytes, number, small, tell};
use bitbudget_train::metrics::{EpochRecord, Metrics, Promotion, Record, StepRecord};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Shows a run on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    promotions: usize,
    images_per_second: f64,
    loss: f64,
}

/// A bar of so many steps, where standard error is a terminal.
pub(crate) fn steps_bar(steps: u64) -> ProgressBar {
    let shown = std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(steps), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed}<{eta} {msg}") {
        bar.set_style(style);
    }
    bar
}

impl Progress {
    /// A run of so many steps.
    pub(crate) fn new(steps: u64, quiet: bool) -> Progress {
        let bar = if quiet { ProgressBar::hidden() } else { steps_bar(steps) };
        Progress { bar, quiet, promotions: 0, images_per_second: 0.0, loss: f64::NAN }
    }

    /// Shows a record.
    pub(crate) fn show(&mut self, record: &Record) {
        match record {
            Record::Step(step) => self.step(step),
            Record::Epoch(epoch) => self.epoch(epoch),
            Record::Final(_) => {}
        }
    }

    fn step(&mut self, step: &StepRecord) {
        let smooth = |old: f64, new: f64| if old.is_finite() && old > 0.0 { 0.9 * old + 0.1 * new } else { new };
        self.loss = smooth(self.loss, step.loss);
        self.images_per_second = smooth(self.images_per_second, step.images_per_second);
        for promotion in &step.promoted {
            self.promotions += usize::from(promotion.is_promoted());
            self.line(promoted(promotion));
        }
        self.bar.set_message(format!(
            "loss {}, scale {}, {} promoted, {:.0} examples/s",
            small(self.loss),
            number(f64::from(step.loss_scale)),
            self.promotions,
            self.images_per_second
        ));
        self.bar.inc(1);
    }

    fn epoch(&mut self, epoch: &EpochRecord) {
        let test = epoch.test_loss.map(|loss| measured(loss, epoch.test_accuracy, epoch.test_metrics));
        let test = test.map_or(String::new(), |test| format!(", test {test}"));
        let skipped = if epoch.skipped > 0 { format!(", {} skipped", epoch.skipped) } else { String::new() };
        let line = format!(
            "epoch {}: train {}{test}{skipped}, {:.0} examples/s",
            epoch.epoch + 1,
            measured(epoch.train_loss, epoch.train_accuracy, epoch.train_metrics),
            epoch.images_per_second
        );
        self.line(line);
    }

    fn line(&self, line: String) {
        match (self.quiet, self.bar.is_hidden()) {
            (true, _) => {}
            (false, true) => tell(line),
            (false, false) => self.bar.println(line),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A loss with the metrics that it has, in words.
pub(crate) fn measured(loss: f64, accuracy: Option<f64>, others: Metrics) -> String {
    let metrics = Metrics { accuracy: accuracy.or(others.accuracy), ..others };
    format!(
        "loss {}{}",
        small(loss),
        metrics.named().map(|(name, value)| format!(" {}", metric(name, value))).collect::<String>()
    )
}

/// A metric in words.
pub(crate) fn metric(name: &str, value: f64) -> String {
    match name {
        "accuracy" => format!("accuracy {:.2}%", 100.0 * value),
        "top5_accuracy" => format!("top-5 {:.2}%", 100.0 * value),
        "mean_iou" => format!("mean IoU {:.2}%", 100.0 * value),
        "mae" => format!("MAE {}", small(value)),
        "rmse" => format!("RMSE {}", small(value)),
        name => format!("{name} {}", small(value)),
    }
}

/// The outcome of a tensor's overflow, in words.
fn promoted(promotion: &Promotion) -> String {
    let Promotion { step, tensor, overflow, from, to, peak, .. } = promotion;
    let overflowed = format!("step {}: {:.1}% of {tensor} overflowed in {from}", step + 1, 100.0 * overflow);
    match promotion.is_promoted() {
        true => format!("{overflowed}; it is {to} now, the peak {}", bytes(*peak as f64)),
        false => format!("{overflowed}; it stays so, since nothing wider fits the budget"),
    }
}
