//! `bitbudget assign`.

use crate::args::AssignArgs;
use crate::budget::{SolverRecord, lines, record};
use crate::files::{check, is_stream, save};
use crate::memory::MemoryRecord;
use crate::model::{Request, compiled_from};
use crate::output::{bytes, counted, grouped, json, say, show_table, table};
use crate::report::{Inputs, rerun, save_page};
use crate::threads::{settle, threads};
use anyhow::{Result, bail};
use bitbudget::summary::{FormatElements, GroupSummary, Summary, summary};
use bitbudget::{FileKind, Method, Plan};
use serde::Serialize;
use std::path::Path;

/// The assignment with its memory.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    memory: &'a MemoryRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    solver: Option<SolverRecord>,
}

pub(crate) fn run(args: &AssignArgs) -> Result<()> {
    // The file of --from may be that of -o: it is solved again in place.
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs =
        [("-o", args.output.as_deref()), ("--html", args.page.html.as_deref()), ("--json", args.json.as_deref())];
    let outputs = check(&outputs, &inputs.files())?;
    let kind = |path: &Path| if is_stream(path) { Ok(FileKind::Toml) } else { FileKind::of(path) };
    let kind = args.output.as_deref().map(kind).transpose()?;
    let threads = threads(args.machine.threads);
    let machine = args.machine.machine().unwrap_or_default();
    let request = Request { seed: args.seed, quiet: args.quiet, threads, machine, ..Request::default() };
    let from = args.from.as_deref();
    let (mut compiled, options) = compiled_from(&args.model, &args.assignment, &args.optimizer, request, from)?;
    let threads = settle(args.machine, &mut compiled, args.quiet)?;
    let plan = match (kind, &options) {
        (Some(_), None) => {
            bail!("{} is a trainer file; give the network to write its assignment", args.model.display())
        }
        (Some(kind), Some(options)) => Some(Plan::new(&compiled, options).write(kind)?),
        (None, _) => None,
    };
    if args.page.html.is_some() {
        let mut report = bitbudget::report(&compiled, threads, None)?;
        report.rerun = rerun(&Inputs { from, ..inputs }, args.seed, threads)?;
        save_page(args.page.html.as_deref(), &report)?;
    }
    if let (Some(path), Some(text)) = (&args.output, plan) {
        save(path, text.as_bytes())?;
    }
    let summary = summary(&compiled.assignment, &compiled.training);
    let memory = MemoryRecord::predicted(&compiled, threads);
    if let Some(path) = &args.json {
        let solver = record(compiled.solved.as_ref(), compiled.assignment.recomputed.len());
        json(path, &Record { summary: &summary, memory: &memory, solver })?;
    }
    if !args.quiet && !outputs.on_standard_output {
        show_table(groups(&summary))?;
        say(totals(&summary))?;
        if let Some(solved) = &compiled.solved {
            say(lines(solved, compiled.assignment.recomputed.len()))?;
        }
        let (title, table) = memory.table();
        say(title)?;
        show_table(table)?;
    }
    Ok(())
}

fn groups(summary: &Summary) -> comfy_table::Table {
    let mut table = table(&["group", "operators", "level", "elements", "share"], 3);
    for group in &summary.groups {
        let share = 100.0 * group.elements as f64 / summary.elements.max(1) as f64;
        table.add_row([
            group.id.to_string(),
            operators(group),
            group.level.to_string(),
            grouped(group.elements),
            format!("{share:.1}%"),
        ]);
    }
    table
}

/// The first and the last operator of a group.
fn operators(group: &GroupSummary) -> String {
    match group.operators.as_slice() {
        [first, .., last] => format!("{first} .. {last} ({})", group.operators.len()),
        _ => group.operators.join(""),
    }
}

/// The totals of an assignment.
pub(crate) fn totals(summary: &Summary) -> String {
    let formats = &summary.formats;
    let share = |elements: u64| 100.0 * elements as f64 / summary.elements.max(1) as f64;
    let by_level = [&formats.high, &formats.low_forward, &formats.low_backward, &formats.low_parameter_gradient];
    let is_by_level = |f: &FormatElements| by_level.contains(&&f.format);
    let chosen = if let [only] = summary.elements_by_format.as_slice() {
        format!("all tensors {}", only.format)
    } else if summary.method == Method::Ilp.name() || !summary.elements_by_format.iter().all(is_by_level) {
        let of = |f: &FormatElements| format!("{:.1}% {}", share(f.elements), f.format);
        summary.elements_by_format.iter().map(of).collect::<Vec<_>>().join(", ")
    } else {
        format!("high {}, low {} forward, {} backward", formats.high, formats.low_forward, formats.low_backward)
    };
    format!(
        "\n{} at batch {}: {chosen}\n{}, {:.1}% low; {} of tensors ({:.2} bits an element)",
        summary.method,
        summary.batch,
        counted(summary.elements, "element", "elements"),
        100.0 * summary.low_ratio.elements,
        bytes(summary.bits_total as f64 / 8.0),
        summary.bits_total as f64 / summary.elements.max(1) as f64
    )
}
