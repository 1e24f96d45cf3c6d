//! `bitbudget zoo`.

use crate::args::ZooArgs;
use crate::files::{check, save};
use crate::output::{counted, say};
use anyhow::{Result, bail};
use bitbudget::parameters;
use bitbudget::zoo::{Network, Spec, Takes, build};

pub(crate) fn run(args: &ZooArgs) -> Result<()> {
    let outputs = check(&[("-o", Some(&args.output))], &[])?;
    let spec = spec(args)?;
    let model = build(&spec)?;
    save(&args.output, &bitbudget::onnx::export_bytes(&model)?)?;
    if args.quiet || outputs.on_standard_output {
        return Ok(());
    }
    let elements: usize = parameters(&model.graph, &model.values).map(|(_, values)| values.len()).sum();
    let parameters = counted(elements as u64, "parameter", "parameters");
    say(format!("{}: {} of width {}, {parameters}", args.output.display(), spec.network, spec.width))
}

/// The network that the options describe.
fn spec(args: &ZooArgs) -> Result<Spec> {
    let network = args.network;
    let refused: &[(&str, bool)] = match network.takes() {
        Takes::Images(_) => &[("--sequence", args.sequence.is_some()), ("--vocabulary", args.vocabulary.is_some())],
        Takes::Tokens(_) => {
            let has_classes = network != Network::Gpt;
            &[("--input", args.input.is_some()), ("--classes", args.classes.is_some() && !has_classes)]
        }
    };
    let given: Vec<&str> = refused.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if !given.is_empty() {
        let takes = match network.takes() {
            Takes::Images(_) => "images (--input, --classes)",
            Takes::Tokens(_) => "tokens (--sequence, --vocabulary)",
        };
        bail!("{network} takes {takes}, so {} means nothing to it; leave it out", given.join(" and "));
    }
    let of = Spec::of(network);
    Ok(Spec {
        width: args.width,
        depth: args.depth,
        classes: args.classes.unwrap_or(of.classes),
        input: args.input.map_or(of.input, |input| input.0),
        sequence: args.sequence.unwrap_or(of.sequence),
        vocabulary: args.vocabulary.unwrap_or(of.vocabulary),
        seed: args.seed,
        ..of
    })
}
