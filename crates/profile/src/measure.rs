//! Runs the batches.

use crate::cost::{Sample, Sums};
use crate::error::ProfileError;
use crate::file::{NodeSeconds, Profile, Seconds, Settings, VERSION, fingerprint};
use crate::probe::{Probe, Probed, result};
use bitbudget_exec::{Executor, Inputs, Loaded, Values};
use bitbudget_ir::{Model, NodeId};
use bitbudget_precision::Kind;
use bitbudget_program::{Instruction, Program};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Everything compiled in FP32 at the profile's batch.
#[derive(Clone, Debug)]
pub struct Programs {
    /// [`Probe::step`].
    pub step: Program,
    /// [`Probe::forward`].
    pub forward: Program,
    /// The training step itself, to take the time of.
    pub training: Program,
}

/// Profiles a network at its present weights, which stay as they are, over batches of inputs; `done` is called after each.
///
/// All but the times is determined by network, batches and settings, whatever the number of threads.
///
/// # Errors
/// If a setting has no meaning, a batch does not fit the programs, or some number is not finite.
pub fn measure(
    model: &Model,
    probe: &Probe,
    programs: &Programs,
    executor: &mut Executor,
    settings: Settings,
    batches: &[Inputs<'_>],
    done: &mut dyn FnMut(),
) -> Result<Profile, ProfileError> {
    check(&settings, batches)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(executor.threads()).build()?;
    let mut sums = vec![Sums::new(&settings.formats); probe.tensors.len()];
    let mut timer = Timer::new(model, &programs.training, executor)?;
    let (first, second) = (executor.load(&programs.step)?, executor.load(&programs.forward)?);
    let mut values = Values::new(&programs.step, &model.values, executor.device())?;
    let mut moved = model.values.clone();
    for batch in batches {
        timer.step(executor, batch)?;
        let inputs = Inputs { loss_scale: settings.loss_scale, ..batch.clone() };
        let step = Results(first.step(executor, &mut values, &inputs)?.outputs);
        for parameter in &probe.parameters {
            let gradient = step.gradient(&parameter.contributions, settings.loss_scale)?;
            let mut value = step.get(parameter.copy)?.to_vec();
            value.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= settings.learning_rate * g);
            moved.insert(parameter.name.clone(), value);
        }
        let mut after = Values::new(&programs.forward, &moved, executor.device())?;
        let after = Results(second.step(executor, &mut after, &inputs.only(&programs.forward))?.outputs);
        let mut errors: Vec<ProfileError> = threads.install(|| {
            let pairs = sums.par_iter_mut().zip(&probe.tensors);
            pairs.filter_map(|(sums, probed)| add(sums, probed, &step, &after, &settings).err()).collect()
        });
        // The first tensor of the forward pass, if one is not finite, else the first gradient.
        errors.sort_by_key(ProfileError::is_of_gradient);
        if let Some(first) = errors.into_iter().next() {
            return Err(first);
        }
        done();
    }
    let finished = sums.iter().zip(&probe.tensors).map(|(sums, Probed { tensor, name, .. })| {
        sums.finish(tensor.kind, tensor.node.0, name, tensor.elements, settings.batches)
    });
    let seconds = timer.seconds(probe, executor.threads());
    Ok(Profile { version: VERSION, network: fingerprint(&model.graph), tensors: finished.collect(), seconds, settings })
}

fn check(settings: &Settings, batches: &[Inputs<'_>]) -> Result<(), ProfileError> {
    let refuse = |text: String| Err(ProfileError::Setting(text));
    let Settings { learning_rate, loss_scale, formats, .. } = settings;
    if batches.is_empty() || batches.len() != settings.batches {
        return refuse(format!("{} batches were given, not {}; give at least 1", batches.len(), settings.batches));
    }
    if !(learning_rate.is_finite() && *learning_rate > 0.0) {
        return refuse(format!("the learning rate is {learning_rate:?}; choose a number above 0"));
    }
    if !(loss_scale.is_normal() && loss_scale.recip().is_normal() && *loss_scale > 0.0) {
        let least = f32::MIN_POSITIVE;
        return refuse(format!(
            "the loss scale is {loss_scale:?}; choose a number from 2^-126 ({least:e}) up to 2^126"
        ));
    }
    if formats.is_empty() {
        return refuse("there is no format; name at least one".into());
    }
    match formats.iter().enumerate().find(|(i, format)| formats[..*i].contains(format)) {
        Some((_, twice)) => refuse(format!("format {twice} is named twice")),
        None => Ok(()),
    }
}

/// Results of a program by name.
struct Results(BTreeMap<String, Vec<f32>>);

impl Results {
    fn get(&self, node: NodeId) -> Result<&[f32], ProfileError> {
        self.0.get(&result(node)).map(Vec::as_slice).ok_or_else(|| ProfileError::Missing(result(node)))
    }

    fn all(&self, nodes: &[NodeId]) -> Result<Vec<&[f32]>, ProfileError> {
        nodes.iter().map(|&node| self.get(node)).collect()
    }

    /// A whole gradient without the loss scale; empty if there are no contributions.
    fn gradient(&self, contributions: &[NodeId], loss_scale: f32) -> Result<Vec<f32>, ProfileError> {
        let mut parts = self.all(contributions)?.into_iter();
        let mut sum = parts.next().map(<[f32]>::to_vec).unwrap_or_default();
        parts.for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
        sum.iter_mut().for_each(|x| *x /= loss_scale);
        Ok(sum)
    }
}

/// Adds a tensor's numbers in one batch to its sums.
fn add(
    sums: &mut Sums,
    probed: &Probed,
    step: &Results,
    after: &Results,
    settings: &Settings,
) -> Result<(), ProfileError> {
    let Probed { tensor, name, contributions, trained } = probed;
    let &Settings { loss_scale, learning_rate, .. } = settings;
    if tensor.kind.is_gradient() && !trained {
        return Ok(());
    }
    let effect: Vec<f32> = match tensor.kind {
        Kind::Parameter | Kind::Output => step.gradient(contributions, loss_scale)?,
        Kind::OutputGradient => {
            step.get(tensor.node)?.iter().zip(after.get(tensor.node)?).map(|(y, next)| y - next).collect()
        }
        Kind::ParameterGradient => {
            let mut gradient = step.gradient(contributions, loss_scale)?;
            gradient.iter_mut().for_each(|g| *g *= learning_rate);
            gradient
        }
    };
    let parts = if tensor.kind.is_gradient() { step.all(contributions)? } else { vec![step.get(tensor.node)?] };
    let unscale = if tensor.kind.is_gradient() { f64::from(loss_scale).recip() } else { 1.0 };
    let effect = (!effect.is_empty()).then_some(effect.as_slice());
    let is_finite = parts.iter().all(|part| part.iter().all(|x| x.is_finite()));
    let sample = Sample { parts, unscale, effect };
    match if tensor.kind.is_gradient() { sums.add(&sample) } else { sums.add_forward(&sample) } {
        true => Ok(()),
        false => {
            // What rounding a tensor costs comes from its gradient.
            let of_gradient = is_finite && !tensor.kind.is_gradient();
            let kind = format!("{}{}", if of_gradient { "gradient of " } else { "" }, tensor.kind);
            let gradient = of_gradient || tensor.kind.is_gradient();
            let moved = Some(learning_rate).filter(|_| is_finite && tensor.kind.is_gradient());
            Err(ProfileError::NotFinite { kind, name: name.clone(), gradient, loss_scale, moved })
        }
    }
}

/// Takes the time of training steps that change nothing.
struct Timer {
    loaded: Loaded,
    values: Values,
    /// The fastest step so far, whole and per instruction; the first does not count, for it touches memory for the
    /// first time.
    best: Option<(Duration, Vec<Duration>)>,
    warm: bool,
}

impl Timer {
    fn new(model: &Model, program: &Program, executor: &mut Executor) -> Result<Timer, ProfileError> {
        let values = Values::new(program, &model.values, executor.device())?;
        Ok(Timer { loaded: executor.load(program)?, values, best: None, warm: false })
    }

    fn step(&mut self, executor: &mut Executor, inputs: &Inputs<'_>) -> Result<(), ProfileError> {
        if !self.warm {
            self.loaded.step(executor, &mut self.values, inputs)?;
            self.warm = true;
        }
        let mut times = vec![Duration::ZERO; self.loaded.program().instructions.len()];
        let start = Instant::now();
        self.loaded.step_timed(executor, &mut self.values, inputs, &mut times)?;
        let step = start.elapsed();
        if self.best.as_ref().is_none_or(|(best, _)| step < *best) {
            self.best = Some((step, times));
        }
        Ok(())
    }

    fn seconds(self, probe: &Probe, threads: usize) -> Seconds {
        let (step, times) = self.best.unwrap_or_default();
        let mut by_node: BTreeMap<u32, f64> = BTreeMap::new();
        for (instruction, time) in self.loaded.program().instructions.iter().zip(times) {
            let Instruction::Compute { parts, .. } = instruction else { continue };
            for part in parts {
                // Buffers have the ids of the nodes that they were lowered from.
                *by_node.entry(part.output.0).or_default() += time.as_secs_f64() / parts.len() as f64;
            }
        }
        let seconds = |(node, name): &(NodeId, String)| {
            let seconds = *by_node.get(&node.0)?;
            Some(NodeSeconds { node: node.0, name: name.clone(), seconds })
        };
        Seconds { threads, step: step.as_secs_f64(), forward: probe.timed.iter().filter_map(seconds).collect() }
    }
}
