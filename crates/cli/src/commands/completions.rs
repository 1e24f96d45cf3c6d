//! `bitbudget completions`.

use crate::args::{Arguments, CompletionsArgs};
use crate::output::print;
use anyhow::Result;
use clap::CommandFactory;

pub(crate) fn run(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "bitbudget", &mut text);
    print(String::from_utf8(text)?.trim_end())
}
