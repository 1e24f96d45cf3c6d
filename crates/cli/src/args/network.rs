//! How a network's file is read.

use bitbudget::onnx::{Dropout, ImportOptions};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// How a network's file is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network file")]
pub(crate) struct NetworkArgs {
    /// List all names in warnings and notes about the file, not only the first three.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Read external data from this folder too, if links in the network's folder lead there. Repeatable.
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_external: Vec<PathBuf>,
    /// Train this output of a network that has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) output: Option<String>,
    /// The size of a variable dimension other than the batch, such as `sequence=128`. Repeatable.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    pub(crate) dims: Vec<(String, usize)>,
    /// Which dropout to train with: what the file has in training mode (keep), all that it has (on), or none (off).
    #[arg(long, value_name = "WHICH", default_value = "keep", value_parser = PossibleValuesParser::new(["keep", "on", "off"]).map(dropout))]
    pub(crate) dropout: Dropout,
}

impl NetworkArgs {
    /// As options of reading a file.
    pub(crate) fn import_options(&self) -> ImportOptions {
        ImportOptions {
            folders: self.allow_external.clone(),
            output: self.output.clone(),
            sizes: self.dims.iter().cloned().collect(),
            dropout: self.dropout,
            ..ImportOptions::default()
        }
    }
}

fn dropout(which: String) -> Dropout {
    match which.as_str() {
        "on" => Dropout::On,
        "off" => Dropout::Off,
        _ => Dropout::Keep,
    }
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.rsplit_once('=').ok_or("a dimension is given as NAME=SIZE, such as `sequence=128`")?;
    match size.parse() {
        Ok(size) if size > 0 => Ok((name.to_string(), size)),
        _ => Err(format!("`{size}` is not a size, a whole number from 1 on")),
    }
}
