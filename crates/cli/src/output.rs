//! Text and tables on standard output, remarks on standard error.

use crate::files::save;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects};
use anyhow::{Context, Result};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use textwrap::WordSplitter;

pub(crate) use bitbudget_report::bytes;

/// The most columns that tables and text take.
const WIDTH: u16 = 100;

/// A table with a header; all columns but the first `left` ones are aligned right.
pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let is_coloured = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
    let cell = |name: &&str| if is_coloured { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) };
    table.set_header(header.iter().map(cell));
    // A terminal that does not know its width says 0.
    table.set_width(table.width().filter(|&width| width > 0).unwrap_or(WIDTH).min(WIDTH));
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes a line or a table to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).context(StandardOutput)
}

/// What an error is about, where standard output could not be written.
#[derive(Debug)]
struct StandardOutput;

impl std::fmt::Display for StandardOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot write to standard output")
    }
}

/// Writes text for people to standard output; lines that are too long go on, indented, in the next.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn say(text: impl std::fmt::Display) -> Result<()> {
    print(wrapped(&text.to_string()))
}

fn wrapped(text: &str) -> String {
    let options = textwrap::Options::new(usize::from(WIDTH)).subsequent_indent("  ").break_words(false);
    let options = options.word_splitter(WordSplitter::NoHyphenation);
    text.split('\n').map(|line| textwrap::fill(line, &options)).collect::<Vec<_>>().join("\n")
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

/// Writes a line to standard error, if anything still reads that: no run ends for it.
pub(crate) fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Whether an error is that nobody reads standard output any more, as after `head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    error.is::<StandardOutput>() && cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The failures among several outputs, each of which was tried: the first as an error, others are said.
///
/// # Errors
/// The first failure; that nobody reads standard output any more is none.
pub(crate) fn together(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let failures = results.into_iter().filter_map(Result::err).filter(|error| !is_closed_pipe(error));
    let mut failures: Vec<anyhow::Error> = failures.collect();
    failures.iter().skip(1).for_each(|error| remark("error", format!("{error:#}")));
    failures.drain(..).next().map_or(Ok(()), Err)
}

/// Writes a record as JSON to a file, or to standard output for "-".
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn json(path: &Path, record: &impl Serialize) -> Result<()> {
    save(path, format!("{}\n", serde_json::to_string_pretty(record)?).as_bytes())
}

/// A number with thousands separated.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn long_lines_go_on_indented_and_words_stay_whole() {
        let word = "x".repeat(120);
        let text = format!("{} y-z\n\n{word} {word}", "a ".repeat(49));
        let expected = format!("{}\n  y-z\n\n{word}\n  {word}", "a ".repeat(49).trim_end());
        assert_eq!(wrapped(&text), expected);
    }
}
