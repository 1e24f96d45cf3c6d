//! What a run records, as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result};

/// One line of a metrics file; its field `record` tells which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// After a step.
    Step(StepRecord),
    /// After an epoch.
    Epoch(EpochRecord),
    /// After the run.
    Final(FinalRecord),
}

/// A training step. A loss that is not finite is `null` in JSON and NaN when read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps before this one.
    pub step: u64,
    /// Epochs before the current one.
    pub epoch: u64,
    /// Mean loss of the batch, unscaled.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f32,
    /// What the loss was multiplied by.
    pub loss_scale: f32,
    /// Whether the update was skipped because a gradient was not finite.
    pub skipped: bool,
    /// The tensors that overflowed after the step and could be promoted.
    pub promoted: Vec<Promotion>,
    /// Duration of the step.
    pub seconds: f64,
    /// Training images per second in the step.
    pub images_per_second: f64,
}

/// An epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epochs before this one.
    pub epoch: u64,
    /// Steps so far.
    pub steps: u64,
    /// Mean of the training losses of the epoch's steps.
    #[serde(deserialize_with = "null_is_nan")]
    pub train_loss: f64,
    /// Part of the epoch's training images that were classified correctly, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss over the test images, where there are any.
    pub test_loss: Option<f64>,
    /// Part of the test images that are classified correctly, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Steps of the epoch whose update was skipped.
    pub skipped: u64,
    /// Duration of the epoch, evaluation included.
    pub seconds: f64,
    /// Training images per second, evaluation not included.
    pub images_per_second: f64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinalRecord {
    /// Mean loss of the last epoch.
    #[serde(deserialize_with = "null_is_nan")]
    pub train_loss: f64,
    /// Accuracy of the last epoch on training images, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss over the test images, where there are any.
    pub test_loss: Option<f64>,
    /// Accuracy on the test images, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Accuracy on the test images when nothing is rounded to a low format.
    pub test_accuracy_fp32: Option<f64>,
    /// Duration of the run.
    pub seconds: f64,
    /// Steps of the run.
    pub steps: u64,
    /// Steps whose update was skipped because a gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
    /// Their share of all steps, 0 to 1.
    #[serde(default)]
    pub skipped_share: f64,
    /// Promotions in the order in which they happened.
    pub promotions: Vec<Promotion>,
    /// The parameters and outputs that overflowed at all, in the order of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overflows: Vec<Overflow>,
}

/// The step in which most of a tensor overflowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overflow {
    /// The tensor's name.
    pub tensor: String,
    /// The share of its elements that overflowed.
    pub ratio: f64,
    /// The step.
    pub step: u64,
}

/// A tensor that overflowed, and got a wider format for the rest of the run or stays as it is for want of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// The step after which it did.
    pub step: u64,
    /// Its name.
    pub tensor: String,
    /// The share of its elements that overflowed.
    pub overflow: f64,
    /// Its format in that step.
    pub from: String,
    /// Its format from then on; the same if a wider one does not fit.
    pub to: String,
    /// The peak of a training step from then on, in bytes.
    pub peak: usize,
    /// The share of low elements from then on.
    pub low_ratio: f64,
}

impl Promotion {
    /// Whether the tensor got a wider format.
    pub fn is_promoted(&self) -> bool {
        self.from != self.to
    }
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Writes records to a file, one JSON object per line, each at once, so that a run can be watched.
#[derive(Debug)]
pub struct MetricsWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl MetricsWriter {
    /// Creates the file or empties it.
    ///
    /// # Errors
    /// `NotFound` where its folder does not exist, `Io` where it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::io(path, "create", &error))?;
        Ok(MetricsWriter { file: BufWriter::new(file), path: path.to_path_buf() })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// `Io` where the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(self.file, "{line}")).and_then(|()| self.file.flush());
        written.map_err(|error| Error::io(&self.path, "write", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn promotion() -> Promotion {
        let (from, to) = ("1-4-3".into(), "1-6-9".into());
        Promotion { step: 3, tensor: "conv1.weight".into(), overflow: 0.25, from, to, peak: 4096, low_ratio: 0.5 }
    }

    fn step(loss: f64) -> Record {
        Record::Step(StepRecord {
            step: 3,
            epoch: 1,
            loss,
            learning_rate: 0.1,
            loss_scale: 65536.0,
            skipped: false,
            promoted: vec![promotion()],
            seconds: 0.25,
            images_per_second: 512.0,
        })
    }

    #[test]
    fn each_line_is_there_at_once_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::create(&path).unwrap();
        let end = Record::Final(FinalRecord {
            train_loss: 0.5,
            train_accuracy: 0.75,
            test_loss: None,
            test_accuracy: Some(0.5),
            test_accuracy_fp32: None,
            seconds: 1.0,
            steps: 4,
            skipped: 1,
            skipped_share: 0.25,
            promotions: vec![promotion()],
            overflows: vec![Overflow { tensor: "conv1.weight".into(), ratio: 0.25, step: 3 }],
        });
        for (count, record) in [step(0.5), end].into_iter().enumerate() {
            writer.write(&record).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), count + 1);
            assert_eq!(serde_json::from_str::<Record>(text.lines().last().unwrap()).unwrap(), record);
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        let line = serde_json::to_string(&step(f64::INFINITY)).unwrap();
        assert!(line.starts_with(r#"{"record":"step","step":3,"epoch":1,"loss":null,"#), "{line}");
        let Record::Step(read) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert!(read.loss.is_nan());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = MetricsWriter::create(Path::new("no/such/folder/m.jsonl")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no/such/folder/m.jsonl"));
    }
}
