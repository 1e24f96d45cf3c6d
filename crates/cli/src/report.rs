//! From a compiled trainer, a run and its inputs to a report.

use crate::args::AssignmentArgs;
use crate::files::save;
use crate::memory::MemoryRecord;
use crate::output::{counted, small};
use crate::progress::metric;
use anyhow::{Context, Result};
use bitbudget_report::{Curve, Epoch, File, Metric, Point, Report, Rerun, Training, page};
use bitbudget_train::data::DataSpec;
use bitbudget_train::metrics::{EpochRecord, FinalRecord, Metrics, Record, StepRecord, has_hardly_trained};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many points a curve has at most.
const POINTS: u64 = 500;

/// The records of a run.
#[derive(Default)]
pub(crate) struct Run {
    steps: Vec<Point>,
    epochs: Vec<Epoch>,
    pub(crate) end: Option<FinalRecord>,
}

impl Run {
    /// Keeps what curves show of a record.
    pub(crate) fn see(&mut self, record: &Record) {
        match record {
            Record::Step(step) => self.steps.push(point(step)),
            Record::Epoch(epoch) => self.epochs.push(self::epoch(epoch)),
            Record::Final(end) => self.end = Some((**end).clone()),
        }
    }

    /// How many steps were seen.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.len() as u64
    }

    /// The run as reports have it; before it so many of all elements were low.
    ///
    /// # Errors
    /// If it has not ended.
    pub(crate) fn training(self, data: Option<String>, low_ratio: f64) -> Result<Training> {
        let end = self.end.context("the run has not ended")?;
        let finite = |x: f64| x.is_finite().then_some(x);
        let warning = end.divergence.is_none().then(|| hardly_trained(&end)).flatten();
        Ok(Training {
            data,
            warning,
            steps: end.steps,
            skipped: end.skipped,
            seconds: end.seconds,
            train_loss: finite(end.train_loss),
            train_accuracy: end.train_accuracy,
            test_loss: end.test_loss.and_then(finite),
            test_accuracy: end.test_accuracy,
            test_accuracy_fp32: end.test_accuracy_fp32,
            metrics: metrics(&end),
            low_ratio,
            curve: (!self.steps.is_empty()).then(|| thinned(&self.steps)),
            epochs: self.epochs,
            promotions: end.promotions,
            overflows: end.overflows,
            diverged: end.divergence.map(|divergence| divergence.message),
        })
    }
}

/// That at least half of the steps of a run were skipped, if they were.
pub(crate) fn hardly_trained(record: &FinalRecord) -> Option<String> {
    let FinalRecord { skipped, steps, .. } = *record;
    has_hardly_trained(skipped, steps).then(|| {
        format!(
            "{skipped} of {} ({:.1}%) were skipped, since gradients were not finite: the network has hardly trained",
            counted(steps, "step", "steps"),
            100.0 * record.skipped_share
        )
    })
}

/// What a run measured beside accuracy, and its losses where nothing else was.
fn metrics(end: &FinalRecord) -> Vec<Metric> {
    let number = |name: &str, value: f64| {
        let text = metric(name, value);
        let (name, value) = text.rsplit_once(' ').unwrap_or((name, &text));
        (name.to_string(), value.to_string())
    };
    let of = |split: &str, found: Metrics, exact: Option<Metrics>| -> Vec<Metric> {
        let one = |(name, value): (&'static str, f64)| {
            let fp32 = exact.and_then(|exact| exact.named().find(|(other, _)| *other == name));
            let (shown, value) = number(name, value);
            Metric { name: format!("{split} {shown}"), value, fp32: fp32.map(|(name, value)| number(name, value).1) }
        };
        found.named().map(one).collect()
    };
    let mut all = of("test", end.test_metrics, Some(end.test_metrics_fp32));
    all.extend(of("training", end.train_metrics, None));
    if all.is_empty() && end.train_accuracy.is_none() {
        let losses = [("test loss", end.test_loss), ("training loss", Some(end.train_loss))];
        let loss =
            |(name, loss): (&str, Option<f64>)| Some(Metric { name: name.into(), value: small(loss?), fp32: None });
        all.extend(losses.into_iter().filter_map(loss));
    }
    all
}

fn point(step: &StepRecord) -> Point {
    Point {
        step: step.step,
        loss: step.loss.is_finite().then_some(step.loss),
        loss_scale: f64::from(step.loss_scale),
        skipped: u64::from(step.skipped),
    }
}

fn epoch(epoch: &EpochRecord) -> Epoch {
    let EpochRecord { steps, train_accuracy, test_accuracy, .. } = *epoch;
    Epoch { steps, train_accuracy, test_accuracy }
}

/// At most so many points, each the mean of as many steps.
fn thinned(steps: &[Point]) -> Curve {
    let every = (steps.len() as u64).div_ceil(POINTS).max(1);
    let mean = |steps: &[Point]| {
        let losses: Option<f64> = steps.iter().map(|step| step.loss).sum();
        Some(Point {
            step: steps.first()?.step,
            loss: losses.map(|sum| sum / steps.len() as f64),
            loss_scale: steps.last()?.loss_scale,
            skipped: steps.iter().map(|step| step.skipped).sum(),
        })
    };
    Curve { every, points: steps.chunks(every as usize).filter_map(mean).collect() }
}

/// The memory that a run took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct MeasuredMemory {
    predicted: usize,
    allocated: Option<usize>,
    resident: Option<usize>,
}

impl From<&MemoryRecord> for MeasuredMemory {
    fn from(record: &MemoryRecord) -> MeasuredMemory {
        let MemoryRecord { predicted, allocated, resident, .. } = *record;
        MeasuredMemory { predicted, allocated, resident }
    }
}

impl MeasuredMemory {
    /// Puts what was measured into a report's verdict, whose prediction is that of its own network and assignment.
    pub(crate) fn put(self, report: &mut Report) {
        (report.verdict.allocated, report.verdict.resident) = (self.allocated, self.resident);
    }

    /// Puts all into the verdict of a report on the run itself.
    pub(crate) fn put_all(self, report: &mut Report) {
        report.verdict.predicted = self.predicted;
        self.put(report);
    }
}

/// The inputs of a command.
pub(crate) struct Inputs<'a> {
    pub(crate) model: &'a Path,
    pub(crate) assignment: &'a AssignmentArgs,
    /// The assignment file whose settings were taken.
    pub(crate) from: Option<&'a Path>,
    pub(crate) data: Option<&'a DataSpec>,
}

impl<'a> Inputs<'a> {
    /// A model with its assignment options.
    pub(crate) fn new(model: &'a Path, assignment: &'a AssignmentArgs) -> Inputs<'a> {
        Inputs { model, assignment, from: None, data: None }
    }

    /// The files, each with what it is. Data that are not there are left out: whoever reads them says so.
    pub(crate) fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let (assignment, profile) = (&self.assignment.assignment, &self.assignment.budget.profile);
        let named = [
            ("model", Some(self.model)),
            ("assignment", assignment.as_deref()),
            ("assignment", self.from),
            ("profile", profile.as_deref()),
        ];
        let named = named.into_iter().filter_map(|(role, path)| Some((role, path?.to_path_buf())));
        let data = self.data.and_then(|data| data.files().ok()).unwrap_or_default();
        named.chain(data.into_iter().map(|path| ("data", path))).collect()
    }
}

/// Everything needed to run this command again.
///
/// # Errors
/// If a file cannot be read any more.
pub(crate) fn rerun(inputs: &Inputs<'_>, seed: Option<u64>, threads: usize) -> Result<Rerun> {
    let files = inputs.files().iter().map(|(role, path)| file(role, path)).collect::<Result<_>>()?;
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    Ok(Rerun {
        command: ["bitbudget".to_string()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "),
        seed,
        version: env!("CARGO_PKG_VERSION").to_string(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        threads,
        files,
    })
}

/// An argument as a shell reads it.
pub(crate) fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.to_string(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// A file with its hash.
fn file(role: &'static str, path: &Path) -> Result<File> {
    let (bytes, sha256) = hashed(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(File { role, path: path.display().to_string(), bytes, sha256 })
}

/// The size and the SHA-256 of a file.
fn hashed(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    let digits = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((size, digits))
}

/// Writes the page of a report, if one is asked for.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn save_page(path: Option<&Path>, report: &Report) -> Result<()> {
    path.map_or(Ok(()), |path| save(path, page(report)?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(["40%", "Conv*=bf16", "", "it's"].map(quoted), ["40%", "'Conv*=bf16'", "''", r"'it'\''s'"]);
    }

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hashed(&path).unwrap(), (3, digits.to_string()));
    }

    #[test]
    fn long_runs_are_thinned_to_means() {
        let point = |step| Point { step, loss: Some(step as f64), loss_scale: step as f64, skipped: 1 };
        let short: Vec<Point> = (0..500).map(point).collect();
        assert_eq!(thinned(&short), Curve { every: 1, points: short.clone() });
        let mut long: Vec<Point> = (0..1001).map(point).collect();
        long[1000].loss = None;
        let Curve { every, points } = thinned(&long);
        assert_eq!((every, points.len()), (3, 334));
        assert_eq!(points[1], Point { step: 3, loss: Some(4.0), loss_scale: 5.0, skipped: 3 });
        assert_eq!(points[333], Point { step: 999, loss: None, loss_scale: 1000.0, skipped: 2 });
    }
}
