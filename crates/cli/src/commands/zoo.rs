//! `bitbudget zoo`.

use crate::args::ZooArgs;
use crate::files::{check, save};
use crate::output::{counted, say};
use anyhow::Result;
use bitbudget_ir::Op;
use bitbudget_zoo::{Spec, build};

pub(crate) fn run(args: &ZooArgs) -> Result<()> {
    let ZooArgs { network, width, classes, input, seed, .. } = *args;
    let outputs = check(&[("-o", Some(&args.output))], &[])?;
    let model = build(&Spec { network, width, classes, input: input.0, seed })?;
    save(&args.output, &bitbudget_onnx::export_bytes(&model)?)?;
    if args.quiet || outputs.on_standard_output {
        return Ok(());
    }
    let graph = &model.graph;
    let parameters = graph.ids().filter(|&id| matches!(graph.op(id), Op::Parameter(_)));
    let elements: usize = parameters.map(|id| graph.ty(id).shape.elements(1)).sum();
    let parameters = counted(elements as u64, "parameter", "parameters");
    say(format!("{}: {network} of width {width}, {parameters}", args.output.display()))
}
