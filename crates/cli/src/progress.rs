//! The progress of a training run: a bar on a terminal, a line per epoch elsewhere.

use crate::output::{bytes, number, small, tell};
use bitbudget_train::metrics::{EpochRecord, Promotion, Record, StepRecord};
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
            "loss {}, scale {}, {} promoted, {:.0} images/s",
            small(self.loss),
            number(f64::from(step.loss_scale)),
            self.promotions,
            self.images_per_second
        ));
        self.bar.inc(1);
    }

    fn epoch(&mut self, epoch: &EpochRecord) {
        let test = match (epoch.test_loss, epoch.test_accuracy) {
            (Some(loss), Some(accuracy)) => format!(", test loss {} accuracy {:.2}%", small(loss), 100.0 * accuracy),
            _ => String::new(),
        };
        let skipped = if epoch.skipped > 0 { format!(", {} skipped", epoch.skipped) } else { String::new() };
        let line = format!(
            "epoch {}: train loss {} accuracy {:.2}%{test}{skipped}, {:.0} images/s",
            epoch.epoch + 1,
            small(epoch.train_loss),
            100.0 * epoch.train_accuracy,
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

/// The outcome of a tensor's overflow, in words.
fn promoted(promotion: &Promotion) -> String {
    let Promotion { step, tensor, overflow, from, to, peak, .. } = promotion;
    let overflowed = format!("step {}: {:.1}% of {tensor} overflowed in {from}", step + 1, 100.0 * overflow);
    match promotion.is_promoted() {
        true => format!("{overflowed}; it is {to} now, the peak {}", bytes(*peak as f64)),
        false => format!("{overflowed}; it stays so, since nothing wider fits the budget"),
    }
}
