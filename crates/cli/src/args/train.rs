//! Arguments of `bitbudget train`, and how every training runs.

use super::{AssignmentArgs, DeviceArgs, FittingArgs, Given, OptimizerArgs, PageArgs, fp32, whole};
use bitbudget::Promotion;
use bitbudget_train::data::DataSpec;
use bitbudget_train::learning_rate::LearningRate;
use bitbudget_train::loss_scale::LossScaling;
use bitbudget_train::promotion::OVERFLOW_THRESHOLD;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;

/// Train a network in mixed precision.
#[derive(Debug, Args)]
#[command(after_help = "Data:
  digits                 1,797 handwritten digits of 8x8 pixels, built in
  mnist:DIR              IDX files, gzipped or not
  cifar10:DIR            the official binary files; also cifar100:DIR
  npz:FILE               arrays x [N, ...] and y, optionally x_test and y_test;
                         y holds class numbers from 0 or is one-hot [N, classes];
                         for several inputs, or inputs of whole numbers: an array for
                         each under its name, and y [N, ...] with a class for each row of scores;
                         for the losses of numbers: y with a number for each of the output's
  synthetic[:N]          generated patterns; random arrays for other networks than those of
                         images or rows of numbers with a class for each

Losses, with the metrics that are shown:
  cross-entropy          scores [N, classes], [N, tokens, classes] or [N, classes, height, width]
                         with class numbers; accuracy, top-5 accuracy, perplexity of tokens,
                         intersection over union of pixels
  bce                    logits with numbers from 0 to 1; accuracy
  mse, l1, huber         numbers with numbers; mean absolute and root mean squared error
  output:NAME            an output of the network: one number, or numbers whose mean is taken;
                         its targets are inputs of the network, and lie in the npz file by name

Exit status:
  0  success
  2  a wrong argument, file or network
  3  the run diverged: a loss, a parameter or a state was not finite, or nearly all steps were skipped; no network is saved \
then, and an existing file stays as it was; --json, --metrics and --html are written, and say so
     A run that skipped at least 90% of its steps has failed; one that skipped at least half of them has a warning.
  4  too little memory

Examples:
  bitbudget train net.onnx --data digits --batch 64 --epochs 10 --lr 0.05
  bitbudget train net.onnx --data mnist:data/mnist --low-ratio 1.0 --save trained.onnx
  bitbudget train net.onnx --data digits --assignment plan.toml
  bitbudget train net.onnx --data npz:photos.npz --layout channels-last --resize stretch
  bitbudget train text.onnx --dim sequence=64 --data npz:tokens.npz --ignore-label 0
  bitbudget train net.onnx --data digits --label-smoothing 0.1 --class-weights 1,1,1,2,1,1,1,1,1,1
  bitbudget train prices.onnx --data npz:houses.npz --loss huber --huber-delta 0.5
  bitbudget train net.trainer --data npz:data.npz --steps 100 --no-shuffle --metrics steps.jsonl
  bitbudget train net.onnx --data digits --budget 40% --tensorboard logs/40")]
pub(crate) struct TrainArgs {
    /// An ONNX network or a trainer file.
    pub(crate) model: PathBuf,
    /// Training data; see below.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: DataSpec,
    /// Number of epochs, passes through the training examples [default: 5].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1, u64::MAX), conflicts_with = "steps")]
    pub(crate) epochs: Option<u64>,
    /// Steps to train, instead of epochs.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<u64>(1, u64::MAX))]
    pub(crate) steps: Option<u64>,
    /// Write the trained network: .onnx, .safetensors (weights only), or any other ending for a trainer file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Write a JSON line per step and epoch.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    /// Write scalars of steps and epochs as an event file for TensorBoard into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Write the final record as JSON ("-" for standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) fitting: FittingArgs,
    #[command(flatten)]
    pub(crate) assignment: AssignmentArgs,
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// How to run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    pub(crate) given: Given,
    /// Learning rate at the start.
    #[arg(long, default_value_t = 0.1, allow_negative_numbers = true, value_parser = fp32, requires = "data")]
    pub(crate) lr: f32,
    /// How the learning rate falls: constant, cosine or step.
    #[arg(long, value_name = "SCHEDULE", default_value = "cosine", requires = "data")]
    pub(crate) lr_schedule: LearningRate,
    /// Loss scale: dynamic, a number, or none, which never skips a step and so updates parameters early.
    #[arg(long, value_name = "SCALE", default_value = "dynamic", allow_negative_numbers = true)]
    pub(crate) loss_scale: LossScaling,
    /// Give tensors a wider format whose overflow ratio reaches a threshold: on (0.01) and a threshold do so within the
    /// budget, paper (0.01) does so even beyond it; or off.
    #[arg(long, value_name = "WHEN", default_value = "on", allow_negative_numbers = true, requires = "data")]
    pub(crate) promotion: PromotionWhen,
    /// Seed of the order of examples, of augmentation, and of the random method.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u64>(0, u64::MAX))]
    pub(crate) seed: u64,
    /// Keep the examples in their order.
    #[arg(long, requires = "data")]
    pub(crate) no_shuffle: bool,
    /// Random crops with padding 4 and horizontal flips.
    #[arg(long, requires = "data")]
    pub(crate) augment: bool,
}

/// When tensors are promoted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PromotionWhen {
    /// The overflow ratio from which; `None` for never.
    pub(crate) threshold: Option<f64>,
    pub(crate) promotion: Promotion,
}

impl FromStr for PromotionWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let when = |threshold, promotion| Ok(PromotionWhen { threshold, promotion });
        match (text, text.parse::<f64>()) {
            ("on", _) => when(Some(OVERFLOW_THRESHOLD), Promotion::Fitting),
            ("paper", _) => when(Some(OVERFLOW_THRESHOLD), Promotion::Paper),
            ("off", _) => when(None, Promotion::Fitting),
            (_, Ok(threshold)) if threshold > 0.0 && threshold <= 1.0 => when(Some(threshold), Promotion::Fitting),
            _ => Err("write on, paper, off, or an overflow ratio above 0 and up to 1".into()),
        }
    }
}
