//! `bitbudget inspect`.

mod roofline;

use crate::args::{InspectArgs, MachineArgs, TargetArg, TextForm};
use crate::commands::assign::totals;
use crate::files::check;
use crate::memory::MemoryRecord;
use crate::model::{Request, compiled};
use crate::output::{bytes, counted, grouped, json, print, say, show_table, table};
use crate::report::Inputs;
use crate::threads::{settle, threads};
use anyhow::{Result, bail};
use bitbudget::summary::{Summary, summary};
use bitbudget::{Compiled, Loss, OperatorTotals, Shown};
use bitbudget_train::data::Port;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Overview {
    name: String,
    /// The shape of an example, where there is one input of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Vec<usize>>,
    inputs: Vec<PortRecord>,
    targets: Vec<PortRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<usize>,
    loss: String,
    batch: usize,
    parameters: u64,
    forward_flops: u64,
    training_flops: u64,
    instructions: usize,
    operators: BTreeMap<&'static str, OperatorTotals>,
    assignment: Summary,
    memory: MemoryRecord,
}

/// An array that each step is given.
#[derive(Serialize)]
struct PortRecord {
    name: String,
    shape: String,
    elements: &'static str,
}

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs = check(&[("--json", args.json.as_deref())], &inputs.files())?;
    let target = target(args)?;
    let machine = target.machine().unwrap_or_default();
    let threads = threads(target.threads);
    let request = Request { quiet: args.quiet, threads, machine, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    settle(target, &mut compiled, args.quiet)?;
    if let Some(form) = args.text {
        return print(compiled.text(shown(form)));
    }
    if args.cuda_source {
        return print(compiled.cuda_source()?);
    }
    if let Some(form) = args.dot {
        return print(compiled.drawing(shown(form)));
    }
    let is_printed = !args.quiet && !outputs.on_standard_output;
    if let Some(card) = &args.roofline {
        return roofline::show(&compiled, card, args.json.as_deref(), is_printed);
    }
    let overview = overview(&compiled)?;
    if let Some(path) = &args.json {
        json(path, &overview)?;
    }
    if is_printed {
        show(&overview)?;
    }
    Ok(())
}

/// The machine to plan for: CUDA devices for what is of these alone.
fn target(args: &InspectArgs) -> Result<MachineArgs> {
    let of_cuda = [("--cuda-source", args.cuda_source), ("--roofline", args.roofline.is_some())];
    let of_cuda = of_cuda.into_iter().find_map(|(option, is_given)| is_given.then_some(option));
    match (args.machine.target, of_cuda) {
        (Some(TargetArg::Cpu), Some(option)) => bail!("{option} is of --target cuda, not cpu"),
        (None, Some(_)) => Ok(MachineArgs { target: Some(TargetArg::Cuda), ..args.machine }),
        _ => Ok(args.machine),
    }
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
    let interface = compiled.interface()?;
    let records = |ports: &[Port]| ports.iter().map(record).collect();
    let bitbudget::Overview { parameters, forward_flops, training_flops, operators } = compiled.overview();
    Ok(Overview {
        name: compiled.training.name().to_string(),
        input: interface.network().map(|network| network.shape),
        inputs: records(&interface.inputs),
        targets: records(&interface.targets),
        classes: Some(interface.classes).filter(|&classes| classes > 0),
        loss: compiled.loss().to_string(),
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

fn record(port: &Port) -> PortRecord {
    PortRecord { name: port.name.clone(), shape: port.shown(), elements: port.kind() }
}

/// The inputs and what the network should give, in words.
fn interface(overview: &Overview) -> String {
    let classes = overview.classes.map(|classes| counted(classes as u64, "class", "classes"));
    let ports = |ports: &[PortRecord]| {
        let shown = ports.iter().map(|port| format!("`{}` {} ({})", port.name, port.shape, port.elements));
        shown.collect::<Vec<_>>().join(", ")
    };
    match (&overview.input, &classes) {
        (Some(shape), Some(classes)) => format!("input {shape:?}, {classes}"),
        _ => {
            let word = if overview.inputs.len() == 1 { "input" } else { "inputs" };
            let targets = if overview.targets.is_empty() {
                String::new()
            } else {
                format!(", target {}", ports(&overview.targets))
            };
            let classes = classes.map_or(String::new(), |classes| format!(", {classes}"));
            format!("{word} {}{targets}{classes}", ports(&overview.inputs))
        }
    }
}

fn show(overview: &Overview) -> Result<()> {
    let loss =
        if overview.loss == Loss::default().to_string() { String::new() } else { format!(", loss {}", overview.loss) };
    say(format!(
        "{}: {}{loss}, {} ({} in FP32)",
        overview.name,
        interface(overview),
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
