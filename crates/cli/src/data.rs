//! From the data options to examples that fit a network.

use crate::args::FittingArgs;
use anyhow::{Result, bail};
use bitbudget::{Available, Compiled};
use bitbudget_train::batches::{ArrayEpochs, Batches, EvalBatches, TrainBatches, TrainOptions, array_batches};
use bitbudget_train::data::{Arrays, DataSpec, Dataset, Network, fit, load};
use bitbudget_train::examples::Epochs;
use bitbudget_train::run::{Length, Settings};

/// Loads data, with what a user says about how they fit.
///
/// # Errors
/// If they are missing, damaged or do not fit.
pub(crate) fn dataset(spec: &DataSpec, fitting: FittingArgs, network: &Network, seed: u64) -> Result<Dataset> {
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
    /// Loads data for a compiled network.
    ///
    /// # Errors
    /// As for [`dataset`]; if the network takes several inputs or whole numbers and the data are no arrays by name.
    pub(crate) fn load(spec: &DataSpec, fitting: FittingArgs, compiled: &Compiled, seed: u64) -> Result<Examples> {
        let interface = compiled.interface()?;
        if let Some(network) = interface.network() {
            return Ok(Examples::Rows(Box::new(dataset(spec, fitting, &network, seed)?)));
        }
        let DataSpec::Npz(path) = spec else {
            let names: Vec<&str> = interface.inputs.iter().map(|port| port.name.as_str()).collect();
            bail!(
                "the network takes {}: give them as arrays of an npz file, --data npz:FILE, with the classes as `y`",
                names.join(", ")
            );
        };
        Ok(Examples::Arrays(Arrays::load(path, &interface, fitting.ignore_label)?))
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

/// Checks that examples can be trained on, and adds to their notes what epochs leave out.
///
/// # Errors
/// If there are fewer than a batch, or they cannot be augmented.
pub(crate) fn check_batches(dataset: &mut Dataset, options: &TrainOptions, settings: &Settings) -> Result<()> {
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
