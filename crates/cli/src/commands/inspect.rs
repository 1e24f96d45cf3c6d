//! `bitbudget inspect`.

use crate::args::{InspectArgs, TextForm};
use crate::commands::assign::totals;
use crate::files::check;
use crate::memory::MemoryRecord;
use crate::model::{Request, compiled, network};
use crate::output::{bytes, counted, grouped, json, print, say, show_table, table};
use crate::report::Inputs;
use crate::threads::{settle, threads};
use anyhow::Result;
use bitbudget::{Compiled, forward_formats};
use bitbudget_formats::Format;
use bitbudget_ir::{DType, Drawing, Graph, NodeId, Op, Role};
use bitbudget_precision::summary::{Summary, summary};
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
    operators: BTreeMap<&'static str, Operators>,
    assignment: Summary,
    memory: MemoryRecord,
}

#[derive(Default, Serialize)]
struct Operators {
    count: usize,
    flops: u64,
    elements: u64,
}

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let request = Request { quiet: args.quiet, threads: threads(args.threads), ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    settle(args.threads, &mut compiled, args.quiet)?;
    match args.text {
        Some(TextForm::Forward) => return print(&compiled.forward),
        Some(TextForm::Training) => return print(&compiled.training),
        Some(TextForm::Program) => return print(&compiled.train),
        Some(TextForm::Evaluation) => return print(&compiled.evaluate),
        None => {}
    }
    if let Some(form) = args.dot {
        return print(drawing(&compiled, form));
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

/// A graph or program to be drawn.
fn drawing(compiled: &Compiled, form: TextForm) -> Drawing {
    let with_bits = |format: Format| (format.to_string(), format.bits());
    match form {
        TextForm::Forward => {
            let formats = forward_formats(compiled);
            compiled.forward.drawing(&|id| formats.get(&id).copied().map(with_bits))
        }
        TextForm::Training => {
            let (graph, formats) = (&compiled.training, &compiled.assignment.formats);
            graph.drawing(&|id| (graph.ty(id).dtype == DType::F32).then(|| with_bits(formats[id.index()])))
        }
        TextForm::Program => compiled.train.drawing(),
        TextForm::Evaluation => compiled.evaluate.drawing(),
    }
}

fn overview(compiled: &Compiled) -> Result<Overview> {
    let (graph, batch) = (&compiled.training, compiled.assignment.batch);
    let network = network(graph)?;
    let mut operators: BTreeMap<&'static str, Operators> = BTreeMap::new();
    for id in graph.ids().filter(|&id| graph.node(id).role == Role::Output) {
        let entry = operators.entry(graph.op(id).name()).or_default();
        entry.count += 1;
        entry.flops += flops(graph, id, batch);
        entry.elements += graph.ty(id).shape.elements(batch) as u64;
    }
    let parameters = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_)));
    Ok(Overview {
        name: graph.name().to_string(),
        input: network.shape,
        classes: network.classes,
        batch,
        parameters: parameters.map(|id| graph.ty(id).shape.elements(batch) as u64).sum(),
        forward_flops: operators.values().map(|o| o.flops).sum(),
        training_flops: graph.ids().map(|id| flops(graph, id, batch)).sum(),
        instructions: compiled.train.instructions.len(),
        operators,
        assignment: summary(&compiled.assignment, graph),
        memory: MemoryRecord::predicted(compiled, compiled.lowering.threads),
    })
}

fn flops(graph: &Graph, id: NodeId, batch: usize) -> u64 {
    let operands = graph.operands(id);
    let types: Vec<_> = operands.iter().map(|&o| graph.ty(o)).collect();
    graph.op(id).work(&types, graph.ty(id), batch).flops
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
