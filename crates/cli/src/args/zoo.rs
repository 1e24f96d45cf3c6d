//! Arguments of `bitbudget zoo`.

use super::whole;
use bitbudget::zoo::Network;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// Write one of the known networks as an ONNX file.
#[derive(Debug, Args)]
#[command(
    after_help = "Networks of images: squeezenet, shufflenet-v2, mobilenet-v2, resnet-18 (of the paper, widths 1.0, 0.5, 0.25
and 0.1), mlp, unet (scores for each pixel), and resnet-50, vit, convnext (made for 224x224).
Networks of tokens: gpt (scores of the next token), bert, lstm (classes of sequences).

Examples:
  bitbudget zoo squeezenet --width 0.25 -o squeezenet.onnx
  bitbudget zoo resnet-18 --classes 100 --input 3x32x32 -o resnet.onnx
  bitbudget zoo vit --width 0.5 --depth 6 --input 3x32x32 -o vit.onnx
  bitbudget zoo gpt --depth 4 --sequence 256 --vocabulary 256 -o gpt.onnx
  bitbudget zoo lstm --width 0.2 --depth 1 --sequence 64 --vocabulary 256 -o lstm.onnx"
)]
pub(crate) struct ZooArgs {
    /// squeezenet, shufflenet-v2, mobilenet-v2, resnet-18, resnet-50, mlp, vit, convnext, unet, gpt, bert or lstm.
    pub(crate) network: Network,
    /// Factor of all channels.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) width: f64,
    /// Number of layers, where it can be chosen: blocks, hidden layers, halvings [default: the published one].
    #[arg(long, value_name = "LAYERS", allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) depth: Option<usize>,
    /// Number of classes [default: 10].
    #[arg(long, allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) classes: Option<usize>,
    /// Channels, height and width of an image [default: 3x32x32 or 3x224x224].
    #[arg(long, value_name = "CxHxW", allow_hyphen_values = true)]
    pub(crate) input: Option<InputShape>,
    /// Number of tokens in a sequence [default: 128].
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) sequence: Option<usize>,
    /// Number of tokens that there are [default: the published one].
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) vocabulary: Option<usize>,
    /// Seed of the initial weights.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// The ONNX file to write.
    #[arg(short, id = "out", long = "out", value_name = "FILE.onnx")]
    pub(crate) output: PathBuf,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Channels, height and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputShape(pub(crate) [usize; 3]);

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
        let sizes = sizes.and_then(|s| <[usize; 3]>::try_from(s).ok());
        sizes.map(InputShape).ok_or_else(|| "write channels, height and width as in 3x32x32".into())
    }
}
