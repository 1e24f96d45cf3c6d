//! The networks by name.

use std::fmt;
use std::str::FromStr;

/// An architecture of the zoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// SqueezeNet with batch normalisation: fire modules, no fully connected layer.
    SqueezeNet,
    /// ShuffleNet-v2: channel splits, depthwise convolutions, channel shuffles.
    ShuffleNetV2,
    /// MobileNet-v2: inverted residuals with depthwise convolutions.
    MobileNetV2,
    /// ResNet-18: two 3x3 convolutions per residual block.
    ResNet18,
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no network `{0}`; there are squeezenet (sqz), shufflenet-v2 (shfv2), mobilenet-v2 (mblv2), resnet-18 \
     (res18)"
)]
pub struct ParseNetworkError(String);

impl Network {
    /// Every network.
    pub const ALL: [Network; 4] = [Network::SqueezeNet, Network::ShuffleNetV2, Network::MobileNetV2, Network::ResNet18];

    fn names(self) -> [&'static str; 2] {
        match self {
            Network::SqueezeNet => ["squeezenet", "sqz"],
            Network::ShuffleNetV2 => ["shufflenet-v2", "shfv2"],
            Network::MobileNetV2 => ["mobilenet-v2", "mblv2"],
            Network::ResNet18 => ["resnet-18", "res18"],
        }
    }

    /// The smallest height and width of an input. SqueezeNet halves three times without padding.
    pub(crate) fn smallest_side(self) -> usize {
        match self {
            Network::SqueezeNet => 8,
            Network::ShuffleNetV2 | Network::MobileNetV2 | Network::ResNet18 => 1,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.names()[0])
    }
}

/// Reads a full name or its short form, in any case.
impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Network, ParseNetworkError> {
        Network::ALL
            .into_iter()
            .find(|network| network.names().iter().any(|name| name.eq_ignore_ascii_case(text)))
            .ok_or_else(|| ParseNetworkError(text.to_string()))
    }
}
