//! Arguments of `bitbudget zoo`.

use super::whole;
use bitbudget::zoo::Network;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// Write one of the known networks as an ONNX file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget zoo squeezenet --width 0.25 -o squeezenet.onnx
  bitbudget zoo resnet-18 --classes 100 --input 3x32x32 -o resnet.onnx")]
pub(crate) struct ZooArgs {
    /// squeezenet, shufflenet-v2, mobilenet-v2 or resnet-18.
    pub(crate) network: Network,
    /// Factor of all channels: 1.0, 0.5, 0.25 or 0.1.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) width: f64,
    /// Number of classes.
    #[arg(long, default_value_t = 10, allow_negative_numbers = true, value_parser = whole::<usize>(1, u64::MAX))]
    pub(crate) classes: usize,
    /// Channels, height and width of an input.
    #[arg(long, value_name = "CxHxW", allow_hyphen_values = true, default_value = "3x32x32")]
    pub(crate) input: InputShape,
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
