//! Arguments of the commands for shells and manuals.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget completions bash > ~/.local/share/bash-completion/completions/bitbudget
  bitbudget completions zsh > ~/.zfunc/_bitbudget
  bitbudget completions fish > ~/.config/fish/completions/bitbudget.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

/// Print a page of the manual, or write all of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bitbudget man | man -l -
  bitbudget man train | man -l -
  bitbudget man -o ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The command whose page is printed, instead of that of the whole.
    #[arg(conflicts_with = "out")]
    pub(crate) command: Option<String>,
    /// Write all pages into this folder.
    #[arg(short, id = "out", long = "out", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
