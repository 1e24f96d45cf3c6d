//! The common parts of all cases of a comparison.

use super::state::{Entry, State};
use crate::args::{AssignmentArgs, BudgetArgs, CompareArgs, DeviceArgs};
use crate::commands::train::{settings, train_options};
use crate::data::Examples;
use crate::model::{Loaded, Request, load, options, warn};
use crate::output::{counted, remark};
use crate::report::Inputs;
use crate::threads::default_threads;
use anyhow::{Context, Result, bail};
use bitbudget::comparison::{Case, CaseRecord, Fingerprint, Question, assign_case, cases, key};
use bitbudget::{Budget, Limit, Loss, Model, Options, data_interface, updates};
use bitbudget_train::batches::TrainOptions;
use bitbudget_train::data::DataSpec;
use bitbudget_train::run::{Length, Settings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The subject of a comparison: network, cases and data.
pub(super) struct Setup {
    pub(super) cases: Vec<Case>,
    pub(super) model: Model,
    /// Without method and budget, which are those of a case.
    pub(super) options: Options,
    /// By what costs are counted; the limit is that of a case.
    pub(super) measure: Budget,
    /// The data and how to train; the seed is one of several.
    pub(super) training: Option<(Examples, Settings, TrainOptions)>,
    pub(super) promotion: bitbudget::Promotion,
    pub(super) threads: usize,
    pub(super) device: DeviceArgs,
    first_seed: u64,
    seeds: u64,
    pub(super) state: State,
    pub(super) question: Question,
    /// This program and this processor, as keys have them.
    pub(super) machine: Value,
}

impl Setup {
    pub(super) fn new(args: &CompareArgs) -> Result<Setup> {
        let Loaded::Network(model, warnings) =
            load(&args.model, &args.network, args.loss.output(), args.precision.batch, args.data.as_ref())?
        else {
            bail!("{} is a trainer file, which has an assignment; give the network", args.model.display())
        };
        let threads = match usize::from(args.device.threads.threads) {
            0 => (default_threads() / usize::from(args.jobs)).max(1),
            threads => threads,
        };
        let updates = updates(args.settings.loss_scale);
        let request = Request {
            seed: Some(args.settings.seed),
            updates,
            threads,
            machine: args.device.machine(),
            ..Request::default()
        };
        let mut options = options(&assignment(args), &args.optimizer, request, None)?;
        options.batch = args.precision.batch.or(model.graph.fixed_batch()).unwrap_or(options.batch);
        if !args.quiet {
            warn(&warnings, &model.graph, &options.loss, &args.network);
        }
        let measure = options.budget.take().context("no budget to count costs by")?;
        let measure = Budget { effort: Some(args.precision.effort as usize), ..measure };
        let training = args.data.as_ref().map(|data| training(args, data, &model, &options)).transpose()?;
        let question = question(args, &model, &options, &measure, training.as_ref(), threads);
        Ok(Setup {
            cases: cases(&args.methods, &args.budgets),
            model,
            options,
            measure,
            training,
            promotion: args.settings.promotion.promotion,
            threads,
            device: args.device,
            first_seed: args.settings.seed,
            seeds: args.seeds,
            state: State::open(&folder(args))?,
            question,
            machine: machine()?,
        })
    }

    /// The seeds of the trainings; none where nothing is trained.
    pub(super) fn seeds(&self) -> Vec<u64> {
        let seeds = if self.training.is_some() { self.seeds } else { 0 };
        (0..seeds).map(|at| self.first_seed.wrapping_add(at)).collect()
    }

    /// The assignment of a case, and whether it was kept from before.
    pub(super) fn assigned(&self, case: &Case) -> Result<(Entry<CaseRecord>, bool)> {
        let Setup { options, measure, threads, .. } = self;
        let description = json!({
            "machine": self.machine,
            "network": self.question.network_hash,
            "case": case.name(),
            "options": format!("{options:?}"),
            "measure": format!("{measure:?}"),
            "threads": threads,
        });
        let name: String = case.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.state.kept_or(&format!("assign-{name}"), &key(&description), || {
            let start = Instant::now();
            let record = assign_case(case, self.model.clone(), options, measure, *threads)
                .with_context(|| format!("cannot compile for {}", case.name()))?;
            Ok((record, start.elapsed().as_secs_f64(), None))
        })
    }
}

/// The folder in which results are kept.
pub(super) fn folder(args: &CompareArgs) -> PathBuf {
    let stem = args.model.file_stem().unwrap_or(args.model.as_os_str());
    args.state.clone().unwrap_or_else(|| Path::new(stem).with_added_extension("compare"))
}

/// The files that a comparison reads.
pub(super) fn inputs(args: &CompareArgs) -> Vec<(&'static str, PathBuf)> {
    let assignment = assignment(args);
    Inputs { data: args.data.as_ref(), ..Inputs::new(&args.model, &assignment) }.files()
}

/// The options of an assignment, with any budget.
fn assignment(args: &CompareArgs) -> AssignmentArgs {
    let (loss, args) = (args.loss.clone(), &args.precision);
    AssignmentArgs {
        loss,
        batch: args.batch,
        pin: args.pin.clone(),
        exclude: args.exclude.clone(),
        budget: BudgetArgs {
            budget: Some(Limit::Share(1.0)),
            choice: args.choice.clone(),
            profile: args.profile.clone(),
            no_recompute: args.no_recompute,
            max_slowdown: args.max_slowdown,
            ..BudgetArgs::default()
        },
        ..AssignmentArgs::default()
    }
}

/// The data, drawn with the first seed where they are generated, and how to train.
fn training(
    args: &CompareArgs,
    spec: &DataSpec,
    model: &Model,
    options: &Options,
) -> Result<(Examples, Settings, TrainOptions)> {
    let length = match (args.epochs, args.steps) {
        (_, Some(steps)) => Length::Steps(steps),
        (epochs, None) => Length::Epochs(epochs.unwrap_or(5)),
    };
    let (settings, epochs) = (settings(&args.settings, length), train_options(&args.settings, options.batch));
    let mut examples = Examples::load(spec, args.fitting, &data_interface(model, options)?, args.settings.seed)?;
    examples.check(&epochs, &settings)?;
    for note in examples.notes().iter().filter(|_| !args.quiet) {
        remark("note", note);
    }
    Ok((examples, settings, epochs))
}

fn question(
    args: &CompareArgs,
    model: &Model,
    options: &Options,
    measure: &Budget,
    training: Option<&(Examples, Settings, TrainOptions)>,
    threads: usize,
) -> Question {
    let list = |items: Vec<String>| items.join(", ");
    let formats = |formats: &[bitbudget::Format]| list(formats.iter().map(ToString::to_string).collect());
    let mut settings = vec![
        ("budgets", list(args.budgets.iter().map(ToString::to_string).collect())),
        ("methods", list(args.methods.iter().map(ToString::to_string).collect())),
        ("loss", shown(&options.loss)),
        ("optimizer", format!("{:?}", options.optimizer)),
        ("formats of ilp", formats(&measure.forward)),
        ("formats of ilp for gradients", formats(&measure.backward)),
        ("costs", measure.measured.as_ref().map_or("elements and mantissa bits", |m| m.name.as_str()).to_string()),
        ("effort", args.precision.effort.to_string()),
        ("recomputation", if measure.recompute { "allowed" } else { "not allowed" }.to_string()),
    ];
    settings.extend(measure.max_slowdown.map(|share| ("slowdown at most", format!("{}%", 100.0 * share))));
    if !options.pins.is_empty() {
        settings.push(("pins", list(options.pins.iter().map(|pin| format!("{pin:?}")).collect())));
    }
    if let Some((_, how, epochs)) = training {
        let length = match how.length {
            Length::Epochs(epochs) => counted(epochs, "epoch", "epochs"),
            Length::Steps(steps) => counted(steps, "step", "steps"),
        };
        settings.extend([
            ("length", length),
            ("learning rate", format!("{}, {:?}", how.learning_rate, how.schedule)),
            ("loss scale", format!("{:?}", how.loss_scale)),
            (
                "promotion",
                match (how.promotion, args.settings.promotion.promotion) {
                    (None, _) => "off".to_string(),
                    (Some(ratio), promotion) => format!("{promotion:?}, from {ratio}"),
                },
            ),
            ("shuffled", epochs.shuffle.to_string()),
            ("augmented", epochs.augment.to_string()),
            ("seeds", format!("{} from {} on", args.seeds, args.settings.seed)),
        ]);
    }
    Question {
        version: env!("CARGO_PKG_VERSION").to_string(),
        network: model.graph.name().to_string(),
        network_hash: Fingerprint::of_model(model).digits(),
        data: training.map(|(examples, ..)| examples.name().to_string()),
        data_hash: training.map(|(examples, ..)| hash(examples)),
        batch: options.batch,
        threads,
        settings: settings.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
    }
}

/// The hash of all examples, as they are used.
fn hash(examples: &Examples) -> String {
    let mut all = Fingerprint::default();
    examples.for_each_part(&mut |bytes| all.add(bytes));
    all.digits()
}

/// A loss with its numbers.
fn shown(loss: &Loss) -> String {
    match loss {
        Loss::CrossEntropy { smoothing, weights, axis } => {
            let smoothing = if *smoothing > 0.0 { format!(", label smoothing {smoothing}") } else { String::new() };
            let weights = if weights.is_empty() { String::new() } else { format!(", class weights {weights:?}") };
            let axis = axis.map_or(String::new(), |axis| format!(", classes in dimension {axis}"));
            format!("{loss}{smoothing}{weights}{axis}")
        }
        Loss::Huber { delta } => format!("{loss}, delta {delta}"),
        _ => loss.to_string(),
    }
}

/// Everything beside its input that the program's results depend on: itself, and the processor's instructions.
fn machine() -> Result<Value> {
    let path = std::env::current_exe().context("cannot find this program's file")?;
    let program = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Fingerprint::default();
    hash.add(&program);
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(&str, bool); 0] = [];
    Ok(json!({
        "program": hash.digits(),
        "processor": std::env::consts::ARCH,
        "features": features,
        "instructions": std::env::var("BITBUDGET_INSTRUCTIONS").unwrap_or_default(),
    }))
}
