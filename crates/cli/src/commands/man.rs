//! `bitbudget man`.

use crate::args::{Arguments, ManArgs};
use crate::files::{Folder, save};
use crate::output::print;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::Path;

pub(crate) fn run(args: &ManArgs) -> Result<()> {
    let mut command = Arguments::command();
    if let Some(folder) = &args.output {
        let folder = Folder::make(folder)?;
        let mut command = command.disable_help_subcommand(true);
        command.build();
        return pages(command, folder.path());
    }
    command.build();
    if let Some(name) = &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.with_context(|| format!("there is no command `{name}`; `bitbudget --help` lists them"))?;
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    print(String::from_utf8(page)?.trim_end())
}

/// Writes the pages of a command and of those under it.
fn pages(command: Command, folder: &Path) -> Result<()> {
    for under in command.get_subcommands().filter(|under| !under.is_hide_set()) {
        pages(under.clone(), folder)?;
    }
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page)?;
    save(&folder.join(man.get_filename()), &page)
}
