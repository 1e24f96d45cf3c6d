//! Text on standard output, remarks on standard error.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects};
use anyhow::{Context, Error, Result};
use clap::builder::StyledStr;
use comfy_table::Table;
use std::io::{self, Write};
use textwrap::WordSplitter;

/// The most columns that tables and text take.
pub(crate) const WIDTH: u16 = 100;

/// The columns that tables and text take: as many as `COLUMNS` says, or the terminal has, but at most [`WIDTH`].
pub(crate) fn width() -> u16 {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    // A terminal that does not know its width says 0.
    set.or_else(|| Table::new().width()).filter(|&width| width > 0).unwrap_or(WIDTH).min(WIDTH)
}

/// Writes a line or a table to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output. A reader that has seen enough, such as `head`, is not an error: the command goes on, and
/// ends with the status that it has anyway.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// The columns of remarks: as many as `COLUMNS` says, or the terminal of standard error has; without either lines stay whole,
/// so that a log has a line per remark.
fn remark_width() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let width: Option<u16> = set.or_else(|| Table::new().use_stderr().width());
    width.filter(|&width| width > 0).map(|width| width.min(WIDTH).into())
}

/// An error with what it was about and its causes, but for those that the text before them has told.
pub(crate) fn whole(error: &Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Writes text for people to standard output; lines that are too long go on, indented, in the next.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn say(text: impl std::fmt::Display) -> Result<()> {
    print(wrapped(&text.to_string(), width().into()))
}

/// The same for clap's text, which has styles on terminals.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn say_styled(text: &StyledStr) -> Result<()> {
    let is_plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
    let text = if is_plain { text.to_string() } else { text.ansi().to_string() };
    say(text.trim_end())
}

pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let fill = |line: &str| {
        let indent = " ".repeat(2 + line.len() - line.trim_start_matches(' ').len());
        let options = textwrap::Options::new(width).subsequent_indent(&indent).break_words(false);
        textwrap::fill(line, options.word_splitter(WordSplitter::NoHyphenation))
    };
    text.split('\n').map(fill).collect::<Vec<_>>().join("\n")
}

/// Writes a remark to standard error, after a word that says of what kind it is: error, warning or note. The word has a colour
/// on a terminal, unless `NO_COLOR` is set.
pub(crate) fn remark(kind: &str, text: impl std::fmt::Display) {
    let colour = match kind {
        "error" => AnsiColor::Red,
        "warning" => AnsiColor::Yellow,
        _ => AnsiColor::Cyan,
    };
    let style = colour.on_default().effects(Effects::BOLD);
    tell(format!("{style}{kind}:{style:#} {text}"));
}

/// Writes a line to standard error, wrapped on a terminal; no run ends because nothing reads that any more.
pub(crate) fn tell(line: impl std::fmt::Display) {
    let line = line.to_string();
    let shown = remark_width().map_or_else(|| line.clone(), |width| wrapped(&line, width));
    let _ = writeln!(anstream::stderr(), "{shown}");
}

/// The failures among several outputs, each of which was tried: the first as an error, others are said.
///
/// # Errors
/// The first failure.
pub(crate) fn together(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut failures: Vec<anyhow::Error> = results.into_iter().filter_map(Result::err).collect();
    failures.iter().skip(1).for_each(|error| remark("error", whole(error)));
    failures.drain(..).next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_that_were_told_are_not_told_again() {
        let error = Error::msg("no value").context("`w`: no value").context("cannot train");
        assert_eq!(whole(&error), "cannot train: `w`: no value");
    }

    #[test]
    fn long_lines_go_on_indented_and_words_stay_whole() {
        let word = "x".repeat(120);
        let text = format!("{} y-z\n\n{word} {word}", "a ".repeat(49));
        let expected = format!("{}\n  y-z\n\n{word}\n  {word}", "a ".repeat(49).trim_end());
        assert_eq!(wrapped(&text, 100), expected);
        // Lines of a list go on below their own words.
        assert_eq!(
            wrapped("all problems:\n  tensor `a` is missing\n  none", 16),
            "all problems:\n  tensor `a` is\n    missing\n  none"
        );
    }
}
