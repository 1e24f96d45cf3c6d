//! `bitbudget compile`.

use crate::args::CompileArgs;
use crate::commands::assign::totals;
use crate::files::{check, save};
use crate::model::{Request, compiled};
use crate::output::{bytes, counted, say};
use crate::report::{Inputs, rerun, save_page};
use crate::threads::{settle, threads};
use anyhow::{Context, Result};
use bitbudget::onnx::{Annotations, export_annotated_bytes};
use bitbudget::summary::summary;
use bitbudget::{Annotated, Compiled, Model, SaveAs, annotated};

pub(crate) fn run(args: &CompileArgs) -> Result<()> {
    let inputs = Inputs::new(&args.model, &args.assignment);
    let outputs = [
        ("-o", Some(args.output.as_path())),
        ("--annotated-onnx", args.annotated_onnx.as_deref()),
        ("--html", args.page.html.as_deref()),
    ];
    let outputs = check(&outputs, &inputs.files())?;
    let threads = threads(args.machine.threads);
    let machine = args.machine.machine().unwrap_or_default();
    let request = Request { seed: Some(args.seed), quiet: args.quiet, threads, machine, ..Request::default() };
    let mut compiled = compiled(&args.model, &args.assignment, &args.optimizer, request)?;
    let threads = settle(args.machine, &mut compiled, args.quiet)?;
    compiled.check_training(compiled.assignment.batch)?;
    let encoded = compiled.file(SaveAs::Trainer)?;
    save(&args.output, &encoded)?;
    if let Some(path) = &args.annotated_onnx {
        save(path, &annotated_onnx(&compiled, threads)?)?;
    }
    if args.page.html.is_some() {
        let mut report = bitbudget::report(&compiled, threads, None)?;
        report.rerun = rerun(&inputs, Some(args.seed), threads)?;
        save_page(args.page.html.as_deref(), &report)?;
    }
    if args.quiet || outputs.on_standard_output {
        return Ok(());
    }
    say(format!(
        "{}: {}, {} a step",
        args.output.display(),
        bytes(encoded.len() as f64),
        counted(compiled.train.instructions.len() as u64, "instruction", "instructions")
    ))?;
    say(totals(&summary(&compiled.assignment, &compiled.training)))
}

/// The network as an ONNX file that says what became of its tensors.
fn annotated_onnx(compiled: &Compiled, threads: usize) -> Result<Vec<u8>> {
    let Annotated { network, nodes } = annotated(compiled, threads)?;
    let model = Model { graph: compiled.forward.clone(), values: compiled.values.clone() };
    let annotations = Annotations { model: network, nodes };
    export_annotated_bytes(&model, &annotations).context("cannot write the network as ONNX")
}
