//! `bitbudget man`.

use crate::args::{Arguments, ManArgs};
use crate::output::print;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;

pub(crate) fn run(args: &ManArgs) -> Result<()> {
    let mut command = Arguments::command();
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        return clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write into {}", folder.display()));
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
