//! The networks by name.

use std::fmt;
use std::str::FromStr;

/// An architecture of the zoo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// SqueezeNet with batch normalisation: fire modules, no fully connected layer.
    SqueezeNet,
    /// ShuffleNet-v2: channel splits, depthwise convolutions, channel shuffles.
    ShuffleNetV2,
    /// MobileNet-v2: inverted residuals with depthwise convolutions.
    MobileNetV2,
    /// ResNet-18: two 3x3 convolutions per residual block.
    #[default]
    ResNet18,
    /// ResNet-50 as torchvision has it: bottlenecks, for images of 224x224.
    ResNet50,
    /// A multilayer perceptron.
    Mlp,
    /// The small vision transformer.
    Vit,
    /// The tiny ConvNeXt: depthwise convolutions of 7x7 and layer normalisation.
    ConvNext,
    /// U-Net: scores for each pixel.
    Unet,
    /// GPT-2: scores of the next token for each position.
    Gpt,
    /// BERT as a classifier of sequences.
    Bert,
    /// Layers of long short-term memory as a classifier of sequences.
    Lstm,
}

/// What a network's input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Images, by default of this many channels, height and width.
    Images([usize; 3]),
    /// Tokens, by default of a vocabulary of so many.
    Tokens(usize),
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no network `{name}`; there are {}", Network::ALL.map(Network::listed).join(", "))]
pub struct ParseNetworkError {
    name: String,
}

impl Network {
    /// Every network.
    pub const ALL: [Network; 12] = [
        Network::SqueezeNet,
        Network::ShuffleNetV2,
        Network::MobileNetV2,
        Network::ResNet18,
        Network::ResNet50,
        Network::Mlp,
        Network::Vit,
        Network::ConvNext,
        Network::Unet,
        Network::Gpt,
        Network::Bert,
        Network::Lstm,
    ];

    /// Those of the paper, which exist at four widths.
    pub const OF_PAPER: [Network; 4] =
        [Network::SqueezeNet, Network::ShuffleNetV2, Network::MobileNetV2, Network::ResNet18];

    /// The name, and the short one of the paper.
    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Network::SqueezeNet => ("squeezenet", Some("sqz")),
            Network::ShuffleNetV2 => ("shufflenet-v2", Some("shfv2")),
            Network::MobileNetV2 => ("mobilenet-v2", Some("mblv2")),
            Network::ResNet18 => ("resnet-18", Some("res18")),
            Network::ResNet50 => ("resnet-50", None),
            Network::Mlp => ("mlp", None),
            Network::Vit => ("vit", None),
            Network::ConvNext => ("convnext", None),
            Network::Unet => ("unet", None),
            Network::Gpt => ("gpt", None),
            Network::Bert => ("bert", None),
            Network::Lstm => ("lstm", None),
        }
    }

    fn listed(self) -> String {
        match self.names() {
            (name, Some(short)) => format!("{name} ({short})"),
            (name, None) => name.to_string(),
        }
    }

    /// What its input is.
    pub fn takes(self) -> Takes {
        match self {
            Network::ResNet50 | Network::Vit | Network::ConvNext => Takes::Images([3, 224, 224]),
            Network::Gpt => Takes::Tokens(50_257),
            Network::Bert => Takes::Tokens(30_522),
            Network::Lstm => Takes::Tokens(10_000),
            Network::SqueezeNet
            | Network::ShuffleNetV2
            | Network::MobileNetV2
            | Network::ResNet18
            | Network::Mlp
            | Network::Unet => Takes::Images([3, 32, 32]),
        }
    }

    /// The published depth, where it can be chosen, and what it counts.
    pub fn depth(self) -> Option<(usize, &'static str)> {
        match self {
            Network::Mlp => Some((3, "hidden layers")),
            Network::Vit | Network::Gpt | Network::Bert => Some((12, "blocks")),
            Network::ConvNext => Some((9, "blocks of the third stage")),
            Network::Unet => Some((4, "halvings of the image")),
            Network::Lstm => Some((2, "layers")),
            Network::SqueezeNet
            | Network::ShuffleNetV2
            | Network::MobileNetV2
            | Network::ResNet18
            | Network::ResNet50 => None,
        }
    }

    /// The smallest height and width of an input, and what they are multiples of, at a depth. SqueezeNet halves three times without padding.
    pub(crate) fn sides(self, depth: usize, input: [usize; 3]) -> (usize, usize) {
        match self {
            Network::SqueezeNet => (8, 1),
            Network::Vit => (crate::vit::patch(input), crate::vit::patch(input)),
            Network::ConvNext => (32, 32),
            Network::Unet => (1 << depth, 1 << depth),
            _ => (1, 1),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.names().0)
    }
}

/// Reads a full name or its short form, in any case.
impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Network, ParseNetworkError> {
        Network::ALL
            .into_iter()
            .find(|network| {
                let (name, short) = network.names();
                [Some(name), short].into_iter().flatten().any(|name| name.eq_ignore_ascii_case(text))
            })
            .ok_or_else(|| ParseNetworkError { name: text.to_string() })
    }
}
