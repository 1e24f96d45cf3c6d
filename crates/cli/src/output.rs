//! Files and tables.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects};
use anyhow::{Context, Result, bail};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::Write;
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
/// If standard output is closed.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Writes text for people to standard output; lines that are too long go on, indented, in the next.
///
/// # Errors
/// If standard output is closed.
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
    anstream::eprintln!("{style}{kind}:{style:#} {text}");
}

/// Whether an error is that nobody reads standard output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Writes a record as JSON to a file, or to standard output for "-".
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn json(path: &Path, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(record)?;
    if path == Path::new("-") {
        return print(text);
    }
    save(path, format!("{text}\n").as_bytes())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that files can be written at the places given, so that a long run does not fail at its end.
///
/// # Errors
/// If a place is a folder, or its folder does not exist or cannot be written.
pub(crate) fn check<'p>(places: impl IntoIterator<Item = &'p Path>) -> Result<()> {
    for path in places.into_iter().filter(|&p| p != Path::new("-")) {
        let (shown, folder) = (path.display(), folder(path));
        if path.is_dir() {
            bail!("cannot write {shown}: it is a folder; name a file in it");
        }
        if !folder.is_dir() {
            bail!("cannot write {shown}: there is no folder {}; make it first", folder.display());
        }
        tempfile::tempfile_in(folder).with_context(|| format!("cannot write {shown}"))?;
    }
    Ok(())
}

/// Writes a file whole or not at all: beside its place first, then renamed.
///
/// # Errors
/// If its folder does not exist or cannot be written.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    check([path])?;
    let folder = folder(path);
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".bitbudget-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        #[cfg(unix)]
        {
            // Temporary files are private; the result is as readable as any other file.
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
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

    #[test]
    fn files_are_written_whole_and_folders_are_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        save(&file, b"one").unwrap();
        save(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("no/such/folder.txt");
        assert!(save(&missing, b"x").unwrap_err().to_string().contains("cannot write"));
    }
}
