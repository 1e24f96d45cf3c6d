//! From the data options to examples that fit a network.

use crate::args::FittingArgs;
use anyhow::{Result, bail};
use bitbudget::{Available, Loss};
use bitbudget_train::batches::{ArrayEpochs, Batches, EvalBatches, TrainBatches, TrainOptions, array_batches};
use bitbudget_train::data::{Arrays, DataSpec, Dataset, Images, Interface, Network, Port, fit, load};
use bitbudget_train::examples::Epochs;
use bitbudget_train::run::{Length, Settings};

/// Loads data, with what a user says about how they fit.
///
/// # Errors
/// If they are missing, damaged or do not fit.
fn dataset(spec: &DataSpec, fitting: FittingArgs, network: &Network, seed: u64) -> Result<Dataset> {
    let limit = "raise the limit (`ulimit -v`, or the container's)";
    if let Some(bytes) = spec.generated_bytes(network) {
        let what = format!("generating {spec}, with a quarter as many test examples,");
        Available::now().check(&what, bytes, 0, &format!("take fewer examples, or {limit}"))?;
    }
    let loaded = load(spec, network, seed)?;
    let what = format!("bringing the examples of {spec} into the shape {:?} of the network's input", network.shape);
    let advice = format!("take a network with a smaller input, or {limit}");
    Available::now().check(&what, loaded.bytes_to_fit(network), 0, &advice)?;
    let mut dataset = fit(loaded, network, fitting.fitting())?;
    // Records of a run hold it.
    dataset.name = format!("{}{}", dataset.name, fitting.fitting());
    Ok(dataset)
}

/// Examples of a run: labelled images or rows of numbers, or arrays by name.
pub(crate) enum Examples {
    Rows(Box<Dataset>),
    Arrays(Arrays),
}

impl Examples {
    /// Loads data for what a network is given.
    ///
    /// # Errors
    /// As for [`dataset`]; if the network takes several inputs, whole numbers or other targets than a class for each example, and the data
    /// are not arrays by name.
    pub(crate) fn load(spec: &DataSpec, fitting: FittingArgs, interface: &Interface, seed: u64) -> Result<Examples> {
        if let Some(network) = interface.network() {
            if fitting.ignore_label.is_some() {
                bail!(
                    "--ignore-label is for labels of tokens or pixels, and for networks with several inputs or whole numbers; this network \
                     takes a class for each example: leave out the examples that do not count"
                );
            }
            return Ok(Examples::Rows(Box::new(dataset(spec, fitting, &network, seed)?)));
        }
        match spec {
            DataSpec::Npz(path) => Ok(Examples::Arrays(Arrays::load(path, interface, fitting.ignore_label)?)),
            DataSpec::Synthetic(examples) => Ok(Examples::Arrays(random(interface, *examples, seed)?)),
            _ => {
                let names = |ports: &[Port]| ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
                let with = match (&interface.loss, interface.targets.as_slice()) {
                    (Loss::CrossEntropy { .. }, _) => "the classes as `y`".to_string(),
                    (loss, [_]) => format!("the targets of the loss {loss} as `y`"),
                    (_, targets) => format!("the targets {}", names(targets)),
                };
                bail!(
                    "the network takes {}: give them as arrays of an npz file, --data npz:FILE, with {with}",
                    names(&interface.inputs)
                )
            }
        }
    }

    /// Numbers that an example takes, with its targets.
    pub(crate) fn example_len(&self) -> usize {
        match self {
            Examples::Rows(dataset) => dataset.example_len() + 1,
            Examples::Arrays(arrays) => arrays.ports.iter().map(example_len).fold(0, usize::saturating_add),
        }
    }

    /// Hands all examples on as they are used, to be hashed.
    pub(crate) fn for_each_part(&self, add: &mut dyn FnMut(&[u8])) {
        match self {
            Examples::Rows(dataset) => {
                let Dataset { shape, classes, normalization, channels_last, .. } = &**dataset;
                add(format!("{shape:?} {classes} {normalization:?} {channels_last}").as_bytes());
                for split in std::iter::once(&dataset.train).chain(&dataset.test) {
                    match &split.images {
                        Images::U8(bytes) => add(bytes),
                        Images::F32(numbers) => numbers.iter().for_each(|number| add(&number.to_le_bytes())),
                    }
                    split.labels.iter().for_each(|label| add(&label.to_le_bytes()));
                }
            }
            Examples::Arrays(arrays) => arrays.for_each_part(add),
        }
    }

    /// The short name for records.
    pub(crate) fn name(&self) -> &str {
        match self {
            Examples::Rows(dataset) => &dataset.name,
            Examples::Arrays(arrays) => &arrays.name,
        }
    }

    /// What the user should know.
    pub(crate) fn notes(&self) -> &[String] {
        match self {
            Examples::Rows(dataset) => &dataset.notes,
            Examples::Arrays(arrays) => &arrays.notes,
        }
    }

    /// Checks that they can be trained on, and adds to the notes what epochs leave out.
    ///
    /// # Errors
    /// If there are fewer than a batch, or they cannot be augmented.
    pub(crate) fn check(&mut self, options: &TrainOptions, settings: &Settings) -> Result<()> {
        match self {
            Examples::Rows(dataset) => check_batches(dataset, options, settings),
            Examples::Arrays(arrays) => Ok(ArrayEpochs::new(arrays, options.clone()).map(drop)?),
        }
    }

    /// Epochs of batches.
    ///
    /// # Errors
    /// If there are fewer examples than a batch, or they cannot be augmented.
    pub(crate) fn epochs(&self, options: TrainOptions) -> Result<Box<dyn bitbudget_train::examples::Examples + '_>> {
        Ok(match self {
            Examples::Rows(dataset) => Box::new(Epochs::new(dataset, options)),
            Examples::Arrays(arrays) => Box::new(ArrayEpochs::new(arrays, options)?),
        })
    }

    /// The test examples in order, or the training examples where there are none.
    ///
    /// # Errors
    /// If the examples do not fit.
    pub(crate) fn evaluation(&self, batch: usize) -> Result<Box<dyn Batches + '_>> {
        Ok(match self {
            Examples::Rows(dataset) => {
                let split = dataset.test.as_ref().unwrap_or(&dataset.train);
                Box::new(EvalBatches::new(dataset, split, batch)?)
            }
            Examples::Arrays(arrays) => Box::new(array_batches(arrays, batch)?),
        })
    }
}

/// Random arrays for what a network is given.
fn random(interface: &Interface, examples: usize, seed: u64) -> Result<Arrays> {
    let ports = interface.inputs.iter().chain(&interface.targets);
    let numbers = ports.map(example_len).fold(0, usize::saturating_add).saturating_mul(examples);
    let advice = "take fewer examples, or raise the limit (`ulimit -v`, or the container's)";
    Available::now().check("generating random arrays", numbers.saturating_mul(size_of::<f32>()), 0, advice)?;
    Ok(Arrays::random(interface, examples, seed))
}

fn example_len(port: &Port) -> usize {
    port.shape.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// Checks that examples can be trained on, and adds to their notes what epochs leave out.
///
/// # Errors
/// If there are fewer than a batch, or they cannot be augmented.
fn check_batches(dataset: &mut Dataset, options: &TrainOptions, settings: &Settings) -> Result<()> {
    let (left_out, epoch) = {
        let batches = TrainBatches::new(dataset, options, 0)?;
        (batches.left_out(), batches.len() as u64)
    };
    let is_whole_epoch = match settings.length {
        Length::Epochs(_) => true,
        Length::Steps(steps) => steps >= epoch,
    };
    dataset.notes.extend(left_out.filter(|_| is_whole_epoch));
    Ok(())
}
