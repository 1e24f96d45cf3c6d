//! What training minimises.

use crate::files::read_text;
use anyhow::{Context, Result, anyhow, bail};
use bitbudget::Loss;
use clap::Args;
use std::path::Path;

/// What training minimises. Options that are not given come from the trainer or assignment file, or are the defaults.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossArgs {
    /// cross-entropy (scores with classes), bce (logits with numbers from 0 to 1), mse, l1, huber (numbers with numbers), or output:NAME, an
    /// output that the network computes itself [default: cross-entropy].
    #[arg(long, value_name = "LOSS")]
    loss: Option<Loss>,
    /// The share of each label that is spread over all classes, with cross-entropy [default: 0].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// A weight for each class, with cross-entropy: numbers with commas between them, or a text file of numbers. The mean is over the
    /// weights of the labels.
    #[arg(long, value_name = "W1,W2,... or FILE", allow_hyphen_values = true)]
    class_weights: Option<String>,
    /// The dimension of the classes in the network's output, with cross-entropy, counted from 0: 1 for [N, classes, steps] [default: the
    /// last one; the second one of images].
    #[arg(long, value_name = "DIMENSION")]
    class_axis: Option<usize>,
    /// The difference from which the loss huber is linear [default: 1].
    #[arg(long, value_name = "DELTA", allow_negative_numbers = true)]
    huber_delta: Option<f64>,
}

impl LossArgs {
    /// The loss that the options ask for; what they leave out is as in `planned`, or by default where that is another loss.
    ///
    /// # Errors
    /// If an option is not one of that loss, or a number is out of range.
    pub(crate) fn loss(&self, planned: Loss) -> Result<Loss> {
        let mut loss = match &self.loss {
            Some(given) if given.to_string() != planned.to_string() => given.clone(),
            _ => planned,
        };
        let name = loss.to_string();
        let given = [
            (self.label_smoothing.is_some(), "--label-smoothing"),
            (self.class_weights.is_some(), "--class-weights"),
            (self.class_axis.is_some(), "--class-axis"),
        ];
        if let Loss::CrossEntropy { smoothing, weights, axis } = &mut loss {
            *smoothing = self.label_smoothing.unwrap_or(*smoothing);
            *axis = self.class_axis.or(*axis);
            if let Some(text) = &self.class_weights {
                *weights = class_weights(text)?;
            }
        } else if let Some((_, given)) = given.iter().find(|(is_given, _)| *is_given) {
            bail!("{given} is an option of the loss cross-entropy, not of {name}");
        }
        match (&mut loss, self.huber_delta) {
            (Loss::Huber { delta }, Some(given)) => *delta = given,
            (_, Some(_)) => bail!("--huber-delta is an option of the loss huber, not of {name}"),
            (_, None) => {}
        }
        loss.check().map_err(|reason| anyhow!(reason))?;
        Ok(loss)
    }

    /// The output that is given as the loss.
    pub(crate) fn output(&self) -> Option<&str> {
        match &self.loss {
            Some(Loss::Output { name }) => Some(name),
            _ => None,
        }
    }
}

/// Weights as numbers with commas between them, or in a file.
fn class_weights(text: &str) -> Result<Vec<f32>> {
    let numbers = |text: &str| -> Result<Vec<f32>, String> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        words.map(|word| word.parse().map_err(|_| format!("`{word}` is not a number"))).collect()
    };
    let weights = match numbers(text) {
        Ok(weights) => weights,
        Err(_) if Path::new(text).exists() => {
            let content = read_text(Path::new(text)).context("--class-weights")?;
            numbers(&content).map_err(|reason| anyhow!("--class-weights {text}: {reason}"))?
        }
        Err(reason) => bail!("--class-weights {text}: {reason}, and there is no file of that name"),
    };
    match weights.is_empty() {
        true => bail!("--class-weights {text}: there are no numbers; give one for each class"),
        false => Ok(weights),
    }
}
