//! `bitbudget zoo`.

use crate::args::ZooArgs;
use crate::files::{check, save};
use crate::output::{counted, say};
use anyhow::Result;
use bitbudget::parameters;
use bitbudget::zoo::{Spec, build};

pub(crate) fn run(args: &ZooArgs) -> Result<()> {
    let ZooArgs { network, width, classes, input, seed, .. } = *args;
    let outputs = check(&[("-o", Some(&args.output))], &[])?;
    let model = build(&Spec { network, width, classes, input: input.0, seed })?;
    save(&args.output, &bitbudget::onnx::export_bytes(&model)?)?;
    if args.quiet || outputs.on_standard_output {
        return Ok(());
    }
    let elements: usize = parameters(&model.graph, &model.values).map(|(_, values)| values.len()).sum();
    let parameters = counted(elements as u64, "parameter", "parameters");
    say(format!("{}: {network} of width {width}, {parameters}", args.output.display()))
}
