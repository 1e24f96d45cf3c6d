//! `bitbudget inspect`.

use crate::args::{InspectArgs, TextForm};
use crate::commands::assign::totals;
use crate::files::check;
use crate::memory::MemoryRecord;
use crate::model::{Request, compiled};
use crate::output::{bytes, counted, grouped, json, print, say, show_table, table};
use crate::report::Inputs;
use crate::threads::{settle, threads};
use anyhow::Result;
use bitbudget::summary::{Summary, summary};
use bitbudget::{Compiled, OperatorTotals, Shown};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Overview {
    name: String,
    input: Vec<usize>,
    classes: usize,
    batch: usize,
    parameters: u64,
    forward_flops: u64,
    training_flops: u64,
    instructions: usize,
    operators: BTreeMap<&'static str, OperatorTotals>,
    assignment: Summary,
    memory: MemoryRecord,
}

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let request = Request { quiet: args.quiet, threads: threads(args.threads), ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    settle(args.threads, &mut compiled, args.quiet)?;
    if let Some(form) = args.text {
        return print(compiled.text(shown(form)));
    }
    if let Some(form) = args.dot {
        return print(compiled.drawing(shown(form)));
    }
    let overview = overview(&compiled)?;
    if let Some(path) = &args.json {
        json(path, &overview)?;
    }
    if !args.quiet && !outputs.on_standard_output {
        show(&overview)?;
    }
    Ok(())
}

/// The printed or drawn form.
fn shown(form: TextForm) -> Shown {
    match form {
        TextForm::Forward => Shown::Forward,
        TextForm::Training => Shown::Training,
        TextForm::Program => Shown::Program,
        TextForm::Evaluation => Shown::Evaluation,
    }
}

fn overview(compiled: &Compiled) -> Result<Overview> {
    let network = compiled.network()?;
    let bitbudget::Overview { parameters, forward_flops, training_flops, operators } = compiled.overview();
    Ok(Overview {
        name: compiled.training.name().to_string(),
        input: network.shape,
        classes: network.classes,
        batch: compiled.assignment.batch,
        parameters,
        forward_flops,
        training_flops,
        instructions: compiled.train.instructions.len(),
        operators,
        assignment: summary(&compiled.assignment, &compiled.training),
        memory: MemoryRecord::predicted(compiled, compiled.lowering.threads),
    })
}

fn show(overview: &Overview) -> Result<()> {
    say(format!(
        "{}: input {:?}, {}, {} ({} in FP32)",
        overview.name,
        overview.input,
        counted(overview.classes as u64, "class", "classes"),
        counted(overview.parameters, "parameter", "parameters"),
        bytes(4.0 * overview.parameters as f64)
    ))?;
    say(format!(
        "at batch {}: {:.2} GFLOP forward, {:.2} GFLOP a training step of {}\n",
        overview.batch,
        overview.forward_flops as f64 / 1e9,
        overview.training_flops as f64 / 1e9,
        counted(overview.instructions as u64, "instruction", "instructions")
    ))?;
    let mut table = table(&["operator", "count", "elements", "GFLOP"], 1);
    for (name, operators) in &overview.operators {
        table.add_row([
            name.to_string(),
            operators.count.to_string(),
            grouped(operators.elements),
            format!("{:.3}", operators.flops as f64 / 1e9),
        ]);
    }
    show_table(table)?;
    say(totals(&overview.assignment))?;
    let (title, table) = overview.memory.table();
    say(title)?;
    show_table(table)
}
