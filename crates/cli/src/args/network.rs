//! How a network's file is read.

use anyhow::{Result, bail};
use bitbudget::onnx::{Dropout, ImportOptions};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::collections::BTreeMap;
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
    ///
    /// # Errors
    /// If a dimension has two sizes.
    pub(crate) fn import_options(&self) -> Result<ImportOptions> {
        let mut sizes = BTreeMap::new();
        for (name, size) in &self.dims {
            if let Some(other) = sizes.insert(name.clone(), *size).filter(|other| other != size) {
                bail!("--dim {name}={other} and --dim {name}={size} contradict each other: give one size");
            }
        }
        let (folders, output, dropout) = (self.allow_external.clone(), self.output.clone(), self.dropout);
        Ok(ImportOptions { folders, output, sizes, dropout, ..ImportOptions::default() })
    }

    /// The options that say how an ONNX file is read, as they are given; for a trainer file they have no effect.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let Self { verbose, allow_external, output, dims, dropout } = self;
        let given = [
            ("--verbose", *verbose),
            ("--allow-external", !allow_external.is_empty()),
            ("--output", output.is_some()),
            ("--dim", !dims.is_empty()),
            ("--dropout", *dropout != Dropout::Keep),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
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
