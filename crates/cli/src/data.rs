//! From the data options to examples that fit a network.

use crate::args::FittingArgs;
use anyhow::Result;
use bitbudget::Available;
use bitbudget_train::batches::{TrainBatches, TrainOptions};
use bitbudget_train::data::{DataSpec, Dataset, Network, fit, load};
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
