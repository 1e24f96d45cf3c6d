//! Data, read and fitted to a network as the command line does.

use super::text;
use bitbudget::{Compiled, Loss};
use bitbudget_train::batches::{ArrayEpochs, Batches, EvalBatches, TrainOptions, array_batches};
use bitbudget_train::data::{self, Arrays, DataSpec, Dataset, Fitting};
use bitbudget_train::examples::Epochs;

/// What a case trains for.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// The loss.
    pub loss: Loss,
    /// The label that does not count.
    pub ignored: Option<i32>,
}

/// Examples with labels, or arrays by name.
pub(crate) enum Examples {
    Rows(Box<Dataset>),
    Arrays(Arrays),
}

impl Examples {
    /// Loads the examples of a network.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit.
    pub(crate) fn load(spec: &DataSpec, compiled: &Compiled, ignored: Option<i32>) -> Result<Examples, String> {
        let interface = compiled.interface().map_err(text)?;
        match (interface.network(), spec) {
            (Some(network), _) => {
                let loaded = data::load(spec, &network, 0, ignored).map_err(text)?;
                Ok(Examples::Rows(Box::new(data::fit(loaded, &network, Fitting::default()).map_err(text)?)))
            }
            (None, DataSpec::Npz(path)) => Ok(Examples::Arrays(Arrays::load(path, &interface, ignored).map_err(text)?)),
            (None, _) => Err(format!("{spec} has no arrays by name")),
        }
    }

    /// Epochs in the order of the examples.
    ///
    /// # Errors
    /// If there are fewer examples than a batch.
    pub(crate) fn epochs(&self, batch: usize) -> Result<Box<dyn bitbudget_train::examples::Examples + '_>, String> {
        let options = TrainOptions { batch, seed: 0, shuffle: false, augment: false };
        Ok(match self {
            Examples::Rows(dataset) => Box::new(Epochs::new(dataset, options)),
            Examples::Arrays(arrays) => Box::new(ArrayEpochs::new(arrays, options).map_err(text)?),
        })
    }

    /// Batches of all training examples.
    ///
    /// # Errors
    /// If the examples do not fit.
    pub(crate) fn batches(&self, batch: usize) -> Result<Box<dyn Batches + '_>, String> {
        Ok(match self {
            Examples::Rows(dataset) => Box::new(EvalBatches::new(dataset, &dataset.train, batch).map_err(text)?),
            Examples::Arrays(arrays) => Box::new(array_batches(arrays, batch).map_err(text)?),
        })
    }
}
