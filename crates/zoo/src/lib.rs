//! Builds the known networks as models, so that a recipe of a few words stands for a file of many megabytes.
//!
//! The networks are those of the paper (SqueezeNet, ShuffleNet-v2, MobileNet-v2 and ResNet-18 in their CIFAR forms, at four
//! widths), and others of any width and depth: a perceptron, ResNet-50, ViT, ConvNeXt, U-Net, GPT-2, BERT and an LSTM. Initial weights are
//! drawn from a seed. Nodes and parameters carry the names that PyTorch's modules give them. This crate knows nothing about files,
//! training, formats or devices.
//!
//! ```
//! use bitbudget_zoo::{Network, Spec, build};
//!
//! let spec = Spec { network: "resnet-18".parse()?, width: 0.1, classes: 10, ..Spec::default() };
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

mod bert;
mod convnext;
mod error;
mod gpt;
mod layers;
mod lstm;
mod mlp;
mod mobilenet;
mod network;
mod resnet;
mod resnet50;
mod shufflenet;
mod squeezenet;
mod transformer;
mod unet;
mod vit;
mod width;

use bitbudget_ir::{GraphError, Model, NodeId};
use error::Fault;
use layers::{Layers, Weights};

pub use error::{Error, ErrorKind};
pub use network::{Network, ParseNetworkError, Takes};

/// The widths of the paper's networks: each multiplies the channels of every layer.
pub const WIDTHS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];
/// The least and the largest width of the others.
const OTHER_WIDTHS: [f64; 2] = [0.05, 4.0];

const MOST_CLASSES: usize = 1_000_000;
const MOST_CHANNELS: usize = 1024;
const LARGEST_SIDE: usize = 16_384;
const DEEPEST: usize = 200;
const LONGEST: usize = 65_536;

/// Which network to build.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The architecture.
    pub network: Network,
    /// The factor of all channels, one of [`WIDTHS`] for the paper's networks.
    pub width: f64,
    /// The number of layers, where it can be chosen ([`Network::depth`]).
    pub depth: Option<usize>,
    /// The number of classes; GPT's are the tokens of its vocabulary.
    pub classes: usize,
    /// Channels, height and width of images.
    pub input: [usize; 3],
    /// The number of tokens in a sequence.
    pub sequence: usize,
    /// The number of tokens that there are.
    pub vocabulary: usize,
    /// Where the initial weights come from: the same seed gives the same bits.
    pub seed: u64,
}

impl Spec {
    /// A network of the published width and depth, for 10 classes, with the input that it is made for.
    pub fn of(network: Network) -> Spec {
        let (input, vocabulary) = match network.takes() {
            Takes::Images(input) => (input, 0),
            Takes::Tokens(vocabulary) => ([0; 3], vocabulary),
        };
        Spec { network, width: 1.0, depth: None, classes: 10, input, sequence: 128, vocabulary, seed: 0 }
    }
}

impl Default for Spec {
    fn default() -> Spec {
        Spec::of(Network::default())
    }
}

/// A forward graph with initial weights.
///
/// Its input is `input` (`[N, channels, height, width]`) or `input_ids` (`[N, sequence]`; BERT has `attention_mask` too), its output
/// `logits` (`[N, classes]`; GPT `[N, sequence, vocabulary]`, U-Net `[N, classes, height, width]`). Batch normalisation is
/// in its training form: it normalises with the statistics of the batch and updates running ones (momentum 0.1,
/// epsilon 1e-5).
///
/// # Errors
/// If an option is out of range, or the input too small for the network.
pub fn build(spec: &Spec) -> Result<Model, Error> {
    let faults = faults(spec);
    if !faults.is_empty() {
        return Err(Error::of_options(spec.network, faults));
    }
    let weights = match spec.network {
        Network::SqueezeNet => Weights::HeFanIn,
        Network::ShuffleNetV2 | Network::Mlp | Network::Unet | Network::Lstm => Weights::Standard,
        Network::MobileNetV2 | Network::ResNet18 | Network::ResNet50 => Weights::HeFanOut,
        Network::Vit | Network::ConvNext | Network::Gpt | Network::Bert => Weights::Normal(vit::DEVIATION),
    };
    let mut layers = Layers::new(&format!("{}-{:?}", spec.network, spec.width), weights, spec.seed);
    let logits = logits(&mut layers, spec).map_err(|error| Error::of_graph(spec.network, error))?;
    Ok(layers.finish(logits))
}

fn logits(layers: &mut Layers, spec: &Spec) -> Result<NodeId, GraphError> {
    let Spec { width, classes, sequence, vocabulary, .. } = *spec;
    let depth = depth(spec);
    match spec.network {
        Network::Gpt => return gpt::logits(layers, width, depth, sequence, vocabulary),
        Network::Bert => return bert::logits(layers, width, depth, sequence, [vocabulary, classes]),
        Network::Lstm => return lstm::logits(layers, width, depth, sequence, [vocabulary, classes]),
        _ => {}
    }
    let x = layers.input(spec.input);
    match spec.network {
        Network::SqueezeNet => squeezenet::logits(layers, x, width, classes),
        Network::ShuffleNetV2 => shufflenet::logits(layers, x, width, classes),
        Network::MobileNetV2 => mobilenet::logits(layers, x, width, classes),
        Network::ResNet18 => resnet::logits(layers, x, width, classes),
        Network::ResNet50 => resnet50::logits(layers, x, width, classes),
        Network::Vit => vit::logits(layers, x, width, depth, classes),
        Network::ConvNext => convnext::logits(layers, x, width, depth, classes),
        Network::Unet => unet::logits(layers, x, width, depth, classes),
        Network::Mlp | Network::Gpt | Network::Bert | Network::Lstm => mlp::logits(layers, x, width, depth, classes),
    }
}

/// The number of layers that can be chosen.
fn depth(spec: &Spec) -> usize {
    spec.depth.or(spec.network.depth().map(|(depth, _)| depth)).unwrap_or(0)
}

fn faults(spec: &Spec) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |option, reason, help: String| faults.push(Fault::new(option, reason, help));
    let [least, most] = OTHER_WIDTHS;
    let of_paper = Network::OF_PAPER.contains(&spec.network);
    if of_paper && !WIDTHS.contains(&spec.width) {
        fault("width", format!("there is no width {:?}", spec.width), "choose 1.0, 0.5, 0.25 or 0.1".into());
    } else if !of_paper && !(least..=most).contains(&spec.width) {
        fault("width", format!("a width of {:?}", spec.width), format!("choose {least:?} to {most:?}"));
    }
    match (spec.depth, spec.network.depth()) {
        (Some(depth), None) => {
            fault("depth", format!("a depth of {depth}"), "leave it out: the network has one depth".into())
        }
        (Some(depth), Some((published, counted))) if !(1..=deepest(spec.network)).contains(&depth) => {
            let help = format!("choose 1 to {} {counted} (published: {published})", deepest(spec.network));
            fault("depth", format!("a depth of {depth}"), help);
        }
        _ => {}
    }
    if !(1..=MOST_CLASSES).contains(&spec.classes) {
        fault("classes", format!("{} classes", spec.classes), format!("choose 1 to {MOST_CLASSES}"));
    }
    if let Takes::Tokens(_) = spec.network.takes() {
        if !(1..=LONGEST).contains(&spec.sequence) {
            fault("sequence", format!("a sequence of {}", spec.sequence), format!("choose 1 to {LONGEST} tokens"));
        }
        if !(1..=MOST_CLASSES).contains(&spec.vocabulary) {
            fault("vocabulary", format!("a vocabulary of {}", spec.vocabulary), format!("choose 1 to {MOST_CLASSES}"));
        }
        return faults;
    }
    let [channels, height, width] = spec.input;
    if !(1..=MOST_CHANNELS).contains(&channels) {
        fault("input", format!("{channels} input channels"), format!("choose 1 to {MOST_CHANNELS}"));
    }
    let (least, multiple) = spec.network.sides(depth(spec).min(deepest(spec.network)), spec.input);
    let fits = |side: usize| (least..=LARGEST_SIDE).contains(&side) && side.is_multiple_of(multiple);
    if !fits(height) || !fits(width) {
        let multiples = if multiple > 1 { format!(", its sides are multiples of {multiple}") } else { String::new() };
        let sizes =
            format!("its smallest input is {least}x{least}, its largest {LARGEST_SIDE}x{LARGEST_SIDE}{multiples}");
        fault("input", format!("an input of {height}x{width}"), sizes);
    }
    faults
}

/// The largest depth: U-Net halves the image each time.
fn deepest(network: Network) -> usize {
    if network == Network::Unet { 8 } else { DEEPEST }
}
