//! Rewriting lowers the peak and changes no bit: losses, weights and counted overflows of real steps stay what they are.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Options, Rules, compile};
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_formats::Counts;
use bitbudget_ir::{NodeId, Op};
use bitbudget_precision::Method;
use bitbudget_schedule::{Place, Setting, Storage, derivable, plan};
use bitbudget_select::{Cpu, Target as _};
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;

const BATCH: usize = 8;

fn spec(network: Network) -> Spec {
    Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() }
}

/// What two steps came to.
#[derive(PartialEq, Debug)]
struct Outcome {
    losses: Vec<u32>,
    weights: Vec<Vec<u32>>,
    /// By tensor, those that were counted more than once included.
    overflows: BTreeMap<u32, Vec<(Counts, u64)>>,
}

fn run(network: Network, options: &Options) -> (Outcome, usize) {
    let compiled = compile(build(&spec(network)).unwrap(), options).unwrap();
    let mut executor = Executor::new(Target::Cpu, 2).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    // Large numbers, so that 8-bit tensors overflow.
    let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 8.0 - 60.0;
    let examples: Vec<f32> = (0..BATCH * 3 * 32 * 32).map(number).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let (input, labels) = (Array::f32(&[BATCH, 3, 32, 32], &examples), Array::integers(&[BATCH], &labels));
    let inputs = Inputs::new([("input", input), ("labels", labels)]);
    let inputs = Inputs { loss_scale: 1024.0, learning_rate: 0.05, ..inputs };
    let mut outcome = Outcome { losses: Vec::new(), weights: Vec::new(), overflows: BTreeMap::new() };
    for _ in 0..2 {
        let step = executor.run(&compiled.train, &mut values, &inputs).unwrap();
        outcome.losses.push(step.outputs["loss"][0].to_bits());
        for count in step.overflows {
            outcome.overflows.entry(count.tensor).or_default().push((count.counts, count.elements));
        }
    }
    let weights = values.download().unwrap().into_values();
    outcome.weights = weights.map(|numbers| numbers.iter().map(|x| x.to_bits()).collect()).collect();
    (outcome, compiled.train.arena)
}

#[test]
fn it_changes_no_bit_and_no_count() {
    let mut overflowed = 0;
    for network in Network::OF_PAPER {
        for (method, low_ratio) in
            [(Method::Fp32, 0.0), (Method::Demote, 0.5), (Method::UniformLow, 1.0), (Method::Amp, 0.0)]
        {
            let options = Options { batch: BATCH, method, low_ratio, ..Options::default() };
            let (with, less) = run(network, &options);
            let (without, more) = run(network, &Options { rewrite: None, ..options });
            assert_eq!(with.losses, without.losses, "{network} {method}");
            assert_eq!(with.weights, without.weights, "{network} {method}");
            assert_eq!(with.overflows, without.overflows, "{network} {method}");
            assert!(less as f64 <= 0.9 * more as f64, "{network} {method}: {less} of {more}");
            overflowed += with.overflows.values().flatten().filter(|(counts, _)| counts.overflow > 0).count();
        }
    }
    assert!(overflowed > 10, "{overflowed}");
}

#[test]
fn reassociation_changes_gradients_by_rounding_only() {
    let options = Options { batch: BATCH, method: Method::Fp32, ..Options::default() };
    let (exact, _) = run(Network::SqueezeNet, &options);
    let (other, _) = run(Network::SqueezeNet, &Options { rewrite: Some(Rules::Reassociating), ..options });
    // The first step's forward pass is the same.
    assert_eq!(exact.losses[0], other.losses[0]);
    assert_ne!(exact.weights, other.weights);
    let numbers = |outcome: &Outcome| outcome.weights.concat().into_iter().map(f32::from_bits).collect::<Vec<f32>>();
    let difference = numbers(&exact).iter().zip(numbers(&other)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= 1e-4, "{difference}");
}

#[test]
fn what_is_derived_is_stored_nowhere() {
    for network in Network::OF_PAPER {
        let forward = build(&spec(network)).unwrap().graph;
        let training = bitbudget_autodiff::training(&forward, &bitbudget_autodiff::Optimizer::sgd()).unwrap();
        let graph = bitbudget_rewrite::rewrite(&training, Rules::Exact).unwrap();
        let setting = Setting { batch: BATCH, storage: Storage::Packed, alignment: Cpu.alignment() };
        let schedule = plan(&graph, &setting);
        let steps: Vec<Vec<NodeId>> = schedule.steps.iter().map(|step| step.nodes.clone()).collect();
        let derived = derivable(&graph, &steps, &setting, &|reader, position| Cpu.takes(&graph, reader, position));
        let rectified = graph.ids().filter(|&id| matches!(graph.op(id), Op::Relu(_) | Op::Clip(_))).count();
        let of_these = derived.keys().filter(|&&id| matches!(graph.op(id), Op::Relu(_) | Op::Clip(_))).count();
        assert!(of_these * 2 >= rectified, "{network}: {of_these} of {rectified}");

        let copied = bitbudget_rewrite::derive(&graph, &steps, &derived).unwrap();
        let after = plan(&copied, &setting);
        for id in copied.ids().filter(|&id| copied.node(id).origin.in_passing) {
            let place = after.places[id.index()];
            assert!(matches!(place, Some(Place::Inside | Place::Alias)), "{network}: {id} lies at {place:?}");
        }
        assert!(after.peak.total() < schedule.peak.total());

        // One copy of each counts.
        for &id in derived.keys() {
            let origin = graph.origin(id).unwrap();
            let counts = |&id: &NodeId| copied.origin(id) == Some(origin) && !copied.node(id).origin.uncounted;
            assert_eq!(copied.ids().filter(counts).count(), 1, "{network}: {id}");
        }
    }
}
