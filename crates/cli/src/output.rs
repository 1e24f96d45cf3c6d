//! Text and tables on standard output, remarks on standard error.

use crate::files::save;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects};
use anyhow::{Context, Error, Result};
use clap::builder::StyledStr;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use textwrap::WordSplitter;
use textwrap::core::display_width;

pub(crate) use bitbudget_report::{Rounding, amounts, bytes, counted, grouped, number, percent, percents, small};

/// The most columns that tables and text take.
const WIDTH: u16 = 100;

/// The columns that tables and text take: as many as `COLUMNS` says, or the terminal has, but at most [`WIDTH`].
pub(crate) fn width() -> u16 {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    // A terminal that does not know its width says 0.
    set.or_else(|| Table::new().width()).filter(|&width| width > 0).unwrap_or(WIDTH).min(WIDTH)
}

/// A table with a header; all columns but the first `left` ones are aligned right.
pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let is_coloured = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
    let cell = |name: &&str| if is_coloured { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) };
    table.set_header(header.iter().map(cell));
    table.set_width(width());
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

/// Writes a table to standard output. Lines break between words; where the columns have no room for whole words, each row is a
/// paragraph with a line per column.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn show_table(mut table: Table) -> Result<()> {
    let width = table.width().unwrap_or(WIDTH);
    let needed = whole_words(&mut table);
    print(if needed > usize::from(width) { paragraphs(&table, width.into()) } else { table.to_string() })
}

/// Makes columns as wide as their longest words; returns how wide the table is then at least.
fn whole_words(table: &mut Table) -> usize {
    let mut needed = 0;
    for at in 0..table.column_count() {
        let cells = table.column_cells_with_header_iter(at).flatten();
        let longest =
            cells.flat_map(|cell| cell.content().split_whitespace().map(display_width).collect::<Vec<_>>()).max();
        let Some(column) = table.column_mut(at) else { continue };
        let width = longest.unwrap_or(0) + usize::from(column.padding_width());
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width.try_into().unwrap_or(u16::MAX))));
        needed += width;
    }
    needed
}

/// A table's rows as paragraphs of lines with a name and what the row has there.
fn paragraphs(table: &Table, width: usize) -> String {
    let texts = |row: &Row| row.cell_iter().map(Cell::content).collect::<Vec<String>>();
    let names = table.header().map(texts).unwrap_or_default();
    let paragraph = |row: &Row| {
        let lines = names.iter().zip(texts(row)).filter(|(_, text)| !text.is_empty());
        let lines = lines.map(|(name, text)| if name.is_empty() { text } else { format!("{name}: {text}") });
        wrapped(&lines.collect::<Vec<_>>().join("\n"), width)
    };
    table.row_iter().map(paragraph).collect::<Vec<_>>().join("\n\n")
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

fn wrapped(text: &str, width: usize) -> String {
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

/// Writes a record as JSON to a file, or to standard output for "-".
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn json(path: &Path, record: &impl Serialize) -> Result<()> {
    save(path, format!("{}\n", serde_json::to_string_pretty(record)?).as_bytes())
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
    fn tables_break_between_words() {
        let words = "conv:fire2.expand3x3 batch_normalize:fire2.norm relu (3)";
        for columns in 1..=100 {
            let mut narrow = table(&["group", "operators", "level", "elements", "share"], 3);
            narrow.set_width(columns);
            narrow.add_row(["0", words, "high", "1,234,567", "12.5%"]);
            narrow.add_row(["1", "relu", "", "7", "0.0%"]);
            let needed = whole_words(&mut narrow);
            let columns = usize::from(columns);
            let fits = needed <= columns;
            let text = if fits { narrow.to_string() } else { paragraphs(&narrow, columns) };
            for word in words.split(' ').chain(["operators", "elements", "1,234,567", "12.5%", "high"]) {
                assert!(text.contains(word), "{columns}: {text}");
            }
            let longest = text.lines().map(|line| line.trim_end().len()).max().unwrap();
            // The longest words are wider than some terminals.
            assert!(longest <= columns.max("operators: conv:fire2.expand3x3".len()), "{columns}: {text}");
            assert_eq!(fits, columns >= 60, "{needed}");
        }
        let mut narrow = table(&["method", "peak", ""], 1);
        narrow.add_row(["fp32", "", "*"]);
        narrow.add_row(["ilp", "3.5 MiB", ""]);
        assert_eq!(paragraphs(&narrow, 12), "method: fp32\n*\n\nmethod: ilp\npeak: 3.5\n  MiB");
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
