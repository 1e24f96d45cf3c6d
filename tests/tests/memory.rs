//! What a program will take is what the executor holds, for every network and assignment, and it shrinks with the bits.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Options, Storage, compile};
use bitbudget_autodiff::{Optimizer, Updates};
use bitbudget_exec::{Array, Executor, Footprint, Inputs, Target, Values};
use bitbudget_precision::Method;
use bitbudget_zoo::{Network, Spec, build};

const BATCH: usize = 16;

/// What one step was predicted to take, and took.
fn step(network: Network, options: &Options, threads: usize) -> Footprint {
    let spec = Spec { network, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    let compiled = compile(build(&spec).unwrap(), options).unwrap();
    let mut executor = Executor::new(Target::Cpu, threads).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let predicted = executor.predicted(&compiled.train);
    let examples: Vec<f32> = (0..BATCH * 3 * 32 * 32).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let (input, labels) = (Array::f32(&[BATCH, 3, 32, 32], &examples), Array::integers(&[BATCH], &labels));
    let inputs = Inputs { learning_rate: 0.01, ..Inputs::new([("input", input), ("labels", labels)]) };
    for _ in 0..2 {
        let step = executor.run(&compiled.train, &mut values, &inputs).unwrap();
        assert!(step.outputs["loss"][0].is_finite());
    }
    assert_eq!(executor.allocated(&values), predicted, "{network} {} {threads} threads", options.method);
    let memory = compiled.peak.memory;
    assert_eq!(memory.total(), predicted.kept + predicted.arena);
    assert_eq!(memory.masters + memory.state, predicted.kept);
    predicted
}

#[test]
fn what_is_predicted_is_what_is_held() {
    for network in Network::OF_PAPER {
        for method in Method::ALL.into_iter().filter(|&method| method != Method::Ilp) {
            for optimizer in [Optimizer::sgd(), Optimizer::adamw()] {
                let options = Options { batch: BATCH, method, optimizer, ..Options::default() };
                step(network, &options, 1 + method as usize % 3);
            }
        }
    }
}

#[test]
fn fewer_bits_and_earlier_updates_take_less() {
    for network in Network::OF_PAPER {
        // What is stored nowhere does not shrink with its bits.
        let options = |low_ratio| Options { batch: BATCH, low_ratio, rewrite: None, ..Options::default() };
        let fp32 = Options { method: Method::Fp32, ..options(0.0) };
        let early = Options { updates: Updates::Always, ..fp32.clone() };
        let simulated = Options { storage: Storage::Simulated, ..options(1.0) };
        let all = [simulated, fp32, early, options(0.0), options(0.5), options(1.0)];
        let arenas = all.map(|options| step(network, &options, 2).arena);
        assert!(arenas.is_sorted_by(|a, b| a >= b), "{network}: {arenas:?}");
        let [simulated, whole, _, half, _, quarter] = arenas.map(|bytes| bytes as f64);
        assert!(half < 0.6 * whole && quarter < 0.4 * whole && quarter < 0.35 * simulated, "{network}: {arenas:?}");
    }
}
