//! The saving of recomputation, which changes no bit.

use super::Subject;
use crate::{Budget, Compiled, Engine, Limit, Options, compile};
use bitbudget_autodiff::Optimizer;
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_precision::{Assignment, Method, Pinned};
use bitbudget_solver::{Outcome, Settings, solve};
use bitbudget_zoo::{Network, Spec, build};

const BATCH: usize = 32;
const THREADS: usize = 2;

fn options(share: f64) -> Options {
    let budget = Budget { seconds: 3.0, ..Budget::new(Limit::Share(share), THREADS) };
    Options { batch: BATCH, method: Method::Ilp, budget: Some(budget), ..Options::default() }
}

fn model(network: Network) -> bitbudget_ir::Model {
    build(&Spec { network, width: 0.25, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() }).unwrap()
}

/// Losses of two steps, the weights after them, and the bytes that were allocated.
fn run(compiled: &Compiled) -> (Vec<f32>, Vec<u32>, usize) {
    let mut executor = Executor::new(Target::Cpu, THREADS).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let examples: Vec<f32> = (0..BATCH * 3 * 32 * 32).map(number).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let (input, labels) = (Array::f32(&[BATCH, 3, 32, 32], &examples), Array::integers(&[BATCH], &labels));
    let inputs = Inputs::new([("input", input), ("labels", labels)]);
    let inputs = Inputs { loss_scale: 1024.0, learning_rate: 0.05, ..inputs };
    let losses = (0..2).map(|_| executor.run(&compiled.train, &mut values, &inputs).unwrap().outputs["loss"][0]);
    let losses = losses.collect();
    let weights = values.download().unwrap().into_values().flatten().map(f32::to_bits).collect();
    (losses, weights, executor.allocated(&values).total())
}

#[test]
fn allocated_memory_fits_the_budget_and_recomputing_changes_no_bit() {
    let mut recomputed = 0;
    for network in Network::OF_PAPER {
        for share in [0.7, 0.5] {
            let compiled = compile(model(network), &options(share)).unwrap();
            let solved = compiled.solved.clone().unwrap();
            let (losses, weights, allocated) = run(&compiled);
            assert!(allocated <= solved.budget, "{network} {share}: {allocated} of {}", solved.budget);
            assert_eq!(allocated, solved.peak);
            assert!(solved.peak as f64 >= 0.8 * solved.budget as f64, "{network} {share}: {solved:?}");
            recomputed += compiled.assignment.recomputed.len();
            let mut kept = compiled;
            kept.assign(Assignment { recomputed: Vec::new(), ..kept.assignment.clone() }).unwrap();
            let (expected, bits, more) = run(&kept);
            assert_eq!((losses, weights), (expected, bits), "{network} {share}");
            assert!(more >= allocated);
        }
    }
    assert!(recomputed > 0);
}

/// The memory that gaps between tensors may add to that of the integer program.
const GAPS: f64 = 1.03;

#[test]
fn recomputation_takes_no_more_memory_than_the_program_says() {
    let mut recomputed = 0;
    for network in [Network::SqueezeNet, Network::ResNet18] {
        let spec = Spec { network, width: 1.0, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
        let training = bitbudget_autodiff::training(&build(&spec).unwrap().graph, &Optimizer::sgd()).unwrap();
        let budget = options(1.0).budget.unwrap();
        let pinned = Pinned::new();
        let subject = Subject::new(&training, BATCH, THREADS, &pinned);
        let search = subject.search(&budget);
        let costs = search.costs().unwrap();
        for share in [0.3, 0.2, 0.15] {
            let memory = (subject.exact_peak() as f64 * share) as usize;
            let program = search.program(&costs, memory);
            let settings = Settings { seconds: 3.0, gap: 0.3, ..Settings::default() };
            let Outcome::Solved(solution) = solve(&program.problem, Engine::Embedded, &settings).unwrap() else {
                continue;
            };
            let assignment = search.assignment(program.choices(&solution.picks)).unwrap();
            let (peak, most) = (subject.peak(&assignment), (memory + subject.fp32.step.beside) as f64 * GAPS);
            assert!(peak as f64 <= most, "{network} {share}: {peak} of {most}");
            recomputed += assignment.recomputed.len();
        }
    }
    assert!(recomputed > 20, "{recomputed}");
}
