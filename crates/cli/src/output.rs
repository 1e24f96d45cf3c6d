//! Tables and records on standard output or in files; text and remarks are those of [`crate::console`].

use crate::console::WIDTH;
use crate::files::save;
use anstream::{AutoStream, ColorChoice};
use anyhow::Result;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use serde::Serialize;
use std::path::Path;
use textwrap::core::display_width;

pub(crate) use crate::console::{print, remark, say, say_styled, tell, together, whole, width, wrapped};
pub(crate) use bitbudget_report::{Rounding, amounts, bytes, counted, grouped, number, percent, percents, small};

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
}
