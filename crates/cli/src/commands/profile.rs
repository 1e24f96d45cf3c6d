//! `bitbudget profile`.

use crate::advice::of_inputs;
use crate::args::{AssignmentArgs, OptimizerArgs, ProfileArgs};
use crate::data::Examples;
use crate::divergence::Diverged;
use crate::files::{check, save};
use crate::model::{Request, compiled};
use crate::output::{counted, grouped, remark, say, show_table, table};
use crate::progress::steps_bar;
use crate::report::Inputs;
use crate::threads::{on_cpu, threads};
use anyhow::{Error, Result};
use bitbudget::{
    Available, Compiled, Method, Profile, ProfileError, ProfileSettings, Session, TensorProfile, parameters,
};
use bitbudget_train::batches::{Batch, TrainOptions};
use indicatif::ProgressBar;

/// How many tensors are shown.
const SHOWN: usize = 10;

pub(crate) fn run(args: &ProfileArgs) -> Result<()> {
    let (network, loss) = (args.network.clone(), args.loss.clone());
    let assignment = AssignmentArgs { network, loss, ..AssignmentArgs::default() };
    let inputs = Inputs { data: Some(&args.data), ..Inputs::new(&args.model, &assignment) };
    let outputs = check(&[("-o", Some(&args.output))], &inputs.files())?;
    let request = Request {
        data: Some(&args.data),
        seed: Some(args.seed),
        quiet: args.quiet,
        method: Method::Fp32,
        ..Request::default()
    };
    let compiled = compiled(&args.model, &assignment, &OptimizerArgs::default(), request)?;
    compiled.check_training(args.batch)?;
    let examples = Examples::load(&args.data, args.fitting, &compiled.interface()?, args.seed)?;
    let settings = ProfileSettings {
        data: examples.name().to_string(),
        loss: compiled.loss().to_string(),
        seed: args.seed,
        batch: args.batch,
        batches: args.batches,
        learning_rate: args.lr,
        loss_scale: args.loss_scale,
        formats: args.formats.clone(),
    };
    let mut session = Session::on(on_cpu(threads(args.threads))?, compiled);
    let profiler = session.profiler(args.batch)?;
    let batches = draw(args, &examples)?;
    let bar = if args.quiet { ProgressBar::hidden() } else { steps_bar(args.batches as u64) };
    let measured = profiler.measure(settings, &batches, &mut || bar.inc(1));
    bar.finish_and_clear();
    let profile = measured.map_err(|error| explained(error, &batches, session.compiled()))?;
    for note in examples.notes().iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    let text = profile.write()?;
    save(&args.output, text.as_bytes())?;
    if args.quiet || outputs.on_standard_output { Ok(()) } else { show(args, &profile) }
}

/// The first batches of an epoch in random order; where there are too few, those of the next ones.
fn draw(args: &ProfileArgs, examples: &Examples) -> Result<Vec<Batch>> {
    let numbers = args.batches.saturating_mul(args.batch).saturating_mul(examples.example_len());
    let what = format!(
        "drawing {} of {}",
        counted(args.batches as u64, "batch", "batches"),
        counted(args.batch as u64, "example", "examples")
    );
    let advice = "take fewer (--batches, --batch), or raise the limit (`ulimit -v`, or the container's)";
    Available::now().check(&what, numbers.saturating_mul(size_of::<f32>()), 0, advice)?;
    let options = TrainOptions { batch: args.batch, seed: args.seed, shuffle: true, augment: false };
    let (epochs, mut drawn) = (examples.epochs(options)?, Vec::new());
    for epoch in 0.. {
        let mut epoch = epochs.epoch(epoch)?;
        let mut batch = Batch::default();
        while drawn.len() < args.batches && epoch.next_into(&mut batch)? {
            drawn.push(std::mem::take(&mut batch));
        }
        if drawn.len() == args.batches {
            break;
        }
    }
    Ok(drawn)
}

/// The error of a measurement; where examples or parameters are out of the ordinary, these come first.
fn explained(error: ProfileError, batches: &[Batch], network: &Compiled) -> Error {
    let ProfileError::NotFinite { kind, name, .. } = &error else { return error.into() };
    let found = of_inputs(batches, "training", parameters(&network.forward, &network.values));
    if found.is_empty() {
        return error.into();
    }
    let what = found.iter().map(|extreme| extreme.what.as_str()).collect::<Vec<_>>().join("; ");
    let advice = found.iter().map(|extreme| extreme.advice.as_str()).collect::<Vec<_>>().join(" and ");
    Diverged(format!("{what}; {kind} `{name}` has numbers that are not finite in FP32: {advice}")).into()
}

fn show(args: &ProfileArgs, profile: &Profile) -> Result<()> {
    let ProfileSettings { data, batch, batches, formats, .. } = &profile.settings;
    say(format!(
        "{}: {} over {} of {batch} of {data}; a step takes {:.4} s in FP32 with {}\n",
        args.model.display(),
        counted(profile.tensors.len() as u64, "tensor", "tensors"),
        counted(*batches as u64, "batch", "batches"),
        profile.seconds.step,
        counted(profile.seconds.threads as u64, "thread", "threads")
    ))?;
    let mut sensitive: Vec<&TensorProfile> = profile.tensors.iter().collect();
    sensitive.sort_by(|a, b| b.worst().total_cmp(&a.worst()));
    let mut header = vec!["tensor".to_string(), "kind".into(), "elements".into()];
    header.extend(formats.iter().map(ToString::to_string));
    let mut table = table(&header.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    for tensor in sensitive.into_iter().take(SHOWN) {
        let mut row = vec![tensor.name.clone(), tensor.kind.to_string(), grouped(tensor.elements)];
        row.extend(tensor.formats.iter().map(|f| format!("{:.1e}", f.cost)));
        table.add_row(row);
    }
    say("most sensitive tensors, with the second moment of the loss change that each format alone makes")?;
    show_table(table)?;
    say(format!("\nwritten to {}", args.output.display()))
}
