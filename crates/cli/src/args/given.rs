//! Which options were given, and what options there are.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};
use std::collections::BTreeSet;

/// An option: its id, which is its field's name, and its name on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: Id,
    pub(crate) name: String,
}

/// The options of a struct of arguments, in their order, as clap knows them.
pub(crate) fn options_of<A: Args>() -> Vec<Named> {
    let command = A::augment_args(Command::new(""));
    let named = |arg: &clap::Arg| Some(Named { id: arg.get_id().clone(), name: format!("--{}", arg.get_long()?) });
    command.get_arguments().filter_map(named).collect()
}

/// The options that were given on the command line; the first field of a struct of arguments, since the others take their values
/// away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(BTreeSet<Id>);

impl Given {
    /// The names of the given ones among those options of a struct whose ids are meant.
    pub(crate) fn of<A: Args>(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let is_given = |option: &Named| self.0.contains(&option.id) && is_meant(option.id.as_str());
        options_of::<A>().into_iter().filter(is_given).map(|option| option.name).collect()
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, Error> {
        let is_given = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Ok(Given(matches.ids().filter(is_given).cloned().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
