//! Builds the known networks as models, so that a recipe of a few words stands for a file of many megabytes.
//!
//! The networks are those of the paper: SqueezeNet, ShuffleNet-v2, MobileNet-v2 and ResNet-18 in their CIFAR
//! forms, at four widths, with initial weights drawn from a seed. Nodes and parameters carry the names that PyTorch's
//! modules give them. This crate knows nothing about files, training, formats or devices.
//!
//! ```
//! use bitbudget_zoo::{Network, Spec, build};
//!
//! let spec = Spec { network: "resnet-18".parse()?, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0 };
//! let model = build(&spec)?;
//! assert_eq!(spec.network, Network::ResNet18);
//! assert_eq!(model.values["linear.weight"].len(), 10 * 52);
//! let logits = model.graph.output("logits").ok_or("no logits")?;
//! assert_eq!(model.graph.ty(logits).to_string(), "f32[N,10]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In networks made for 32x32 inputs the last average pooling covers a plane of 4x4. Here it covers whatever plane is
//! left, so that other input sizes work and 32x32 is as published.

mod error;
mod layers;
mod mobilenet;
mod network;
mod resnet;
mod shufflenet;
mod squeezenet;
mod width;

use bitbudget_ir::{GraphError, Model, NodeId};
use error::Fault;
use layers::{Layers, Weights};

pub use error::{Error, ErrorKind};
pub use network::{Network, ParseNetworkError};

/// The widths that there are: each multiplies the channels of every layer.
pub const WIDTHS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];

const MOST_CLASSES: usize = 1_000_000;
const MOST_CHANNELS: usize = 1024;
const LARGEST_SIDE: usize = 16_384;

/// Which network to build.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The architecture.
    pub network: Network,
    /// The factor of all channels, one of [`WIDTHS`].
    pub width: f64,
    /// The number of classes.
    pub classes: usize,
    /// Channels, height and width of an input.
    pub input: [usize; 3],
    /// Where the initial weights come from: the same seed gives the same bits.
    pub seed: u64,
}

/// A forward graph with initial weights.
///
/// Its input is `input` (`[N, channels, height, width]`), its output `logits` (`[N, classes]`). Batch normalisation is
/// in its training form: it normalises with the statistics of the batch and updates running ones (momentum 0.1,
/// epsilon 1e-5).
///
/// # Errors
/// If the width is not one of [`WIDTHS`], there is no class or channel, or the input is too small for the network.
pub fn build(spec: &Spec) -> Result<Model, Error> {
    let faults = faults(spec);
    if !faults.is_empty() {
        return Err(Error::of_options(spec.network, faults));
    }
    let weights = match spec.network {
        Network::SqueezeNet => Weights::HeFanIn,
        Network::ShuffleNetV2 => Weights::Standard,
        Network::MobileNetV2 | Network::ResNet18 => Weights::HeFanOut,
    };
    let mut layers = Layers::new(&format!("{}-{:?}", spec.network, spec.width), weights, spec.seed);
    let logits = logits(&mut layers, spec).map_err(|error| Error::of_graph(spec.network, error))?;
    Ok(layers.finish(logits))
}

fn logits(layers: &mut Layers, spec: &Spec) -> Result<NodeId, GraphError> {
    let x = layers.input(spec.input);
    match spec.network {
        Network::SqueezeNet => squeezenet::logits(layers, x, spec.width, spec.classes),
        Network::ShuffleNetV2 => shufflenet::logits(layers, x, spec.width, spec.classes),
        Network::MobileNetV2 => mobilenet::logits(layers, x, spec.width, spec.classes),
        Network::ResNet18 => resnet::logits(layers, x, spec.width, spec.classes),
    }
}

fn faults(spec: &Spec) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !WIDTHS.contains(&spec.width) {
        faults.push(Fault::new("width", format!("there is no width {:?}", spec.width), "choose 1.0, 0.5, 0.25 or 0.1"));
    }
    if !(1..=MOST_CLASSES).contains(&spec.classes) {
        faults.push(Fault::new("classes", format!("{} classes", spec.classes), format!("choose 1 to {MOST_CLASSES}")));
    }
    let [channels, height, width] = spec.input;
    if !(1..=MOST_CHANNELS).contains(&channels) {
        let reason = format!("{channels} input channels");
        faults.push(Fault::new("input", reason, format!("choose 1 to {MOST_CHANNELS}")));
    }
    let least = spec.network.smallest_side();
    if !(least..=LARGEST_SIDE).contains(&height) || !(least..=LARGEST_SIDE).contains(&width) {
        let reason = format!("an input of {height}x{width}");
        let sizes = format!("its smallest input is {least}x{least}, its largest {LARGEST_SIDE}x{LARGEST_SIDE}");
        faults.push(Fault::new("input", reason, sizes));
    }
    faults
}
