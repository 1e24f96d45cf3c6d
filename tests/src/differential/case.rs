//! The files of a case: `NAME.onnx`, `NAME.npz` and `NAME.json`.

use super::Task;
use crate::arrays;
use bitbudget::Loss;
use bitbudget_autodiff::{Optimizer, Updates};
use bitbudget_onnx::{ImportError, ImportOptions, Imported, import_bytes_with};
use bitbudget_train::data::DataSpec;
use bitbudget_train::loss_scale::LossScaling;
use serde::Deserialize;
use std::io::{Error, Result};
use std::path::Path;

/// A network with data, and what PyTorch makes of it in three steps.
#[derive(Clone, Debug)]
pub struct Case {
    /// The files' name without ending.
    pub name: String,
    /// The network.
    pub onnx: Vec<u8>,
    /// The data, as the command line reads them.
    pub data: DataSpec,
    /// Examples per step.
    pub batch: usize,
    /// How parameters are updated.
    pub optimizer: Optimizer,
    /// The learning rate of every step.
    pub learning_rate: f32,
    /// The loss scale.
    pub loss_scale: LossScaling,
    /// What it is trained for.
    pub task: Task,
    /// The loss of each step, in FP64, and how far off it may be.
    pub losses: Vec<(f64, f64)>,
    /// Trained tensors and running statistics.
    pub tensors: Vec<Expected>,
    /// The operators of the network.
    pub operators: Vec<String>,
}

/// A tensor after the steps.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its values in FP64, rounded to FP32.
    pub values: Vec<f32>,
    /// The distance (Euclidean) that it may be off.
    pub tolerance: f64,
    /// How far it has moved.
    pub change: f64,
}

#[derive(Deserialize)]
struct Record {
    batch: usize,
    optimizer: String,
    learning_rate: f32,
    loss_scale: String,
    losses: Vec<f64>,
    loss_tolerances: Vec<f64>,
    tensors: Vec<TensorRecord>,
    operators: Vec<String>,
    #[serde(flatten)]
    task: TaskRecord,
}

/// Numbers that are left out are those of the loss by default; files of earlier versions, without a loss, train classifiers.
#[derive(Deserialize)]
struct TaskRecord {
    #[serde(default = "cross_entropy")]
    loss: String,
    #[serde(default)]
    label_smoothing: f64,
    #[serde(default)]
    class_weights: Vec<f32>,
    huber_delta: Option<f64>,
    ignore_label: Option<i32>,
}

fn cross_entropy() -> String {
    "cross-entropy".into()
}

impl TaskRecord {
    fn task(self) -> Result<Task> {
        let mut loss: Loss = self.loss.parse().map_err(Error::other)?;
        match &mut loss {
            Loss::CrossEntropy { smoothing, weights, .. } => {
                (*smoothing, *weights) = (self.label_smoothing, self.class_weights)
            }
            Loss::Huber { delta } => *delta = self.huber_delta.unwrap_or(*delta),
            _ => {}
        }
        Ok(Task { loss, ignored: self.ignore_label })
    }
}

#[derive(Deserialize)]
struct TensorRecord {
    name: String,
    elements: usize,
    tolerance: f64,
    change: f64,
}

impl Case {
    /// Reads the case of a name in a folder.
    ///
    /// # Errors
    /// If a file is missing or holds something else.
    pub fn read(folder: &Path, name: &str) -> Result<Case> {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let record: Record = serde_json::from_slice(&std::fs::read(file("json"))?)?;
        let mut after = arrays(&file("npz"))?.remove("after").map(|(_, values)| values).unwrap_or_default().into_iter();
        let tensors: Vec<Expected> = record
            .tensors
            .into_iter()
            .map(|TensorRecord { name, elements, tolerance, change }| {
                let values = after.by_ref().take(elements).collect();
                Expected { name, values, tolerance, change }
            })
            .collect();
        Ok(Case {
            name: name.to_string(),
            onnx: std::fs::read(file("onnx"))?,
            data: DataSpec::Npz(file("npz")),
            batch: record.batch,
            optimizer: match record.optimizer.as_str() {
                "sgd" => Optimizer::sgd(),
                "adamw" => Optimizer::adamw(),
                other => return Err(Error::other(format!("{name}: unknown optimizer `{other}`"))),
            },
            learning_rate: record.learning_rate,
            loss_scale: record.loss_scale.parse().map_err(Error::other)?,
            task: record.task.task()?,
            losses: record.losses.into_iter().zip(record.loss_tolerances).collect(),
            tensors,
            operators: record.operators,
        })
    }

    /// Reads a network of the case: its own file, or what is saved of it.
    pub(crate) fn import(&self, onnx: &[u8]) -> std::result::Result<Imported, ImportError> {
        let loss = match &self.task.loss {
            Loss::Output { name } => Some(name.clone()),
            _ => None,
        };
        import_bytes_with(onnx, None, &ImportOptions { loss, ..ImportOptions::default() })
    }

    /// When parameters are updated with the case's loss scale.
    pub(crate) fn updates(&self) -> Updates {
        match self.loss_scale {
            LossScaling::None => Updates::Always,
            LossScaling::Dynamic | LossScaling::Fixed(_) => Updates::IfFinite,
        }
    }
}

/// The names of the cases in a folder, in order.
///
/// # Errors
/// If the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") && path.with_extension("onnx").exists() {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
