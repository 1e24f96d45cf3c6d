//! `bitbudget inspect --roofline`.

use crate::output::{counted, json, say, show_table, table};
use anyhow::Result;
use bitbudget::{Card, Compiled, InstructionBound, Roofline};
use comfy_table::Table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The bounds of a step.
#[derive(Serialize)]
struct Record {
    card: &'static str,
    /// Seconds of the step at least: the instructions and the launches.
    seconds: f64,
    launches: usize,
    launching_seconds: f64,
    instructions: Vec<KindRecord>,
}

/// Those of the instructions of a kind.
#[derive(Default, Serialize)]
struct KindRecord {
    kind: String,
    count: usize,
    /// Of each instruction the largest of the three below.
    seconds: f64,
    bytes_seconds: f64,
    products_seconds: f64,
    slots_seconds: f64,
}

/// Prints the least time of a step on a card, or writes it.
pub(super) fn show(compiled: &Compiled, card: &Card, path: Option<&Path>, is_printed: bool) -> Result<()> {
    let record = record(card, &compiled.roofline(card)?);
    if let Some(path) = path {
        json(path, &record)?;
    }
    if !is_printed {
        return Ok(());
    }
    say(format!(
        "at least {:.2} ms a step on {}, {:.2} ms of it for {}",
        1e3 * record.seconds,
        record.card,
        1e3 * record.launching_seconds,
        counted(record.launches as u64, "launch", "launches"),
    ))?;
    show_table(of_kinds(&record))
}

fn record(card: &Card, roofline: &Roofline) -> Record {
    let mut kinds: BTreeMap<&str, KindRecord> = BTreeMap::new();
    for bound in &roofline.instructions {
        let InstructionBound { kind, bytes, products, slots } = bound;
        let record = kinds.entry(kind).or_insert_with(|| KindRecord { kind: kind.clone(), ..KindRecord::default() });
        record.count += 1;
        record.seconds += bound.seconds();
        record.bytes_seconds += bytes;
        record.products_seconds += products;
        record.slots_seconds += slots;
    }
    let mut instructions: Vec<KindRecord> = kinds.into_values().collect();
    instructions.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let (seconds, launching_seconds) = (roofline.seconds(), roofline.launching());
    Record { card: card.name, seconds, launches: roofline.launches, launching_seconds, instructions }
}

fn of_kinds(record: &Record) -> Table {
    let mut table =
        table(&["instruction", "count", "ms", "share", "memory ms", "tensor cores ms", "issue slots ms"], 1);
    for kind in &record.instructions {
        let ms = |seconds: f64| format!("{:.3}", 1e3 * seconds);
        table.add_row([
            // Long names have places to break.
            kind.kind.replace('+', " + "),
            kind.count.to_string(),
            ms(kind.seconds),
            format!("{:.1}%", 100.0 * kind.seconds / record.seconds),
            ms(kind.bytes_seconds),
            ms(kind.products_seconds),
            ms(kind.slots_seconds),
        ]);
    }
    table
}
