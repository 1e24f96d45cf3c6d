//! How a network's file is read.

use clap::Args;
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
}
