//! A program trains and evaluates on arrays of its own, which it gives by the names of the network's inputs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Compiled, Options, compile};
use bitbudget_exec::{Executor, Inputs, Target, Values};
use bitbudget_ir::{Graph, Model, Op};
use bitbudget_precision::Method;
use bitbudget_testkit::{NETWORK, numbers};
use bitbudget_train::batches::{Array, Batch, Batches, Numbers};
use bitbudget_train::divergence::Ended;
use bitbudget_train::evaluation::evaluate;
use bitbudget_train::examples::Examples;
use bitbudget_train::learning_rate::LearningRate;
use bitbudget_train::loss_scale::LossScaling;
use bitbudget_train::metrics::Record;
use bitbudget_train::run::{Length, Programs, Settings, Training, train};
use bitbudget_train::{Error, ErrorKind, Result};

const BATCH: usize = 4;

/// Numbers without pattern, as a batch of the network.
fn batch(seed: usize, size: usize) -> Batch {
    let x = Array { shape: vec![size, 2, 4, 4], numbers: Numbers::F32(numbers(size * 32, seed)) };
    let classes = (0..size as i32).map(|i| (i + seed as i32) % 5).collect();
    let labels = Array { shape: vec![size], numbers: Numbers::Integers(classes) };
    Batch::new([("x".to_string(), x), ("labels".to_string(), labels)], "labels").unwrap()
}

/// Changes a batch before it is given.
type Change = fn(Batch) -> Result<Batch>;

/// Two batches an epoch, and no test examples.
struct Own {
    change: Change,
}

impl Examples for Own {
    fn steps(&self) -> Result<u64> {
        Ok(2)
    }

    fn epoch(&self, epoch: u64) -> Result<Box<dyn Batches + '_>> {
        let seeds = 2 * epoch as usize..2 * epoch as usize + 2;
        Ok(Box::new(seeds.map(|seed| (self.change)(batch(seed, BATCH)))))
    }

    fn test(&self, _: usize) -> Result<Option<Box<dyn Batches + '_>>> {
        Ok(None)
    }

    fn sample(&self, size: usize) -> Result<Box<dyn Batches + '_>> {
        Ok(Box::new(std::iter::once(Ok(batch(0, size)))))
    }
}

fn compiled() -> Compiled {
    let graph: Graph = NETWORK.parse().unwrap();
    let value = |id| match graph.op(id) {
        Op::Parameter(op) => Some((op.name.clone(), numbers(graph.ty(id).shape.elements(1), op.name.len()))),
        _ => None,
    };
    let values = graph.ids().filter_map(value).collect();
    compile(Model { graph, values }, &Options { batch: BATCH, method: Method::Fp32, ..Options::default() }).unwrap()
}

/// The losses of so many steps, and the trained values.
fn trained(change: Change, steps: u64) -> Result<(Vec<f64>, Values)> {
    let compiled = compiled();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut values = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    let settings = Settings {
        length: Length::Steps(steps),
        learning_rate: 0.1,
        schedule: LearningRate::Constant,
        loss_scale: LossScaling::Fixed(16.0),
        promotion: None,
        seed: 0,
        betas: [0.0; 2],
    };
    let programs = Programs { train: compiled.train.clone(), evaluate: compiled.evaluate.clone() };
    let training =
        Training { programs, fp32: &compiled.evaluate_fp32().unwrap(), examples: &Own { change }, settings: &settings };
    let mut losses = Vec::new();
    let ended = train(&mut executor, &mut values, training, &mut |_| Ok(None), &mut |record| {
        if let Record::Step(step) = record {
            losses.push(step.loss);
        }
        Ok(())
    })?;
    match ended {
        Ended::Finished(record) => assert_eq!((record.steps, record.test_accuracy), (steps, None)),
        Ended::Diverged(divergence) => panic!("{divergence:?}"),
    }
    Ok((losses, values))
}

#[test]
fn a_run_over_an_iterator_is_that_of_its_steps() {
    let (losses, values) = trained(Ok, 5).unwrap();
    let compiled = compiled();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let mut expected = Values::new(&compiled.train, &compiled.values, executor.device()).unwrap();
    for (step, loss) in losses.iter().enumerate() {
        let batch = batch(step, BATCH);
        let inputs = Inputs { loss_scale: 16.0, learning_rate: 0.1, ..batch.inputs() };
        let outputs = executor.run(&compiled.train, &mut expected, &inputs).unwrap().outputs;
        assert_eq!(f64::from(outputs["loss"][0]), *loss);
    }
    assert_eq!((losses.len(), values.download().unwrap()), (5, expected.download().unwrap()));
}

#[test]
fn an_evaluation_takes_an_iterator_and_counts_what_is_valid() {
    let compiled = compiled();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let program = &compiled.evaluate;
    let mut values = Values::new(program, &compiled.values, executor.device()).unwrap();
    let loaded = executor.load(program).unwrap();
    let mut run = |batches: Vec<Batch>| evaluate(&mut executor, &mut values, &loaded, &mut batches.into_iter().map(Ok));
    let [one, mut other] = [3, 7].map(|seed| batch(seed, program.batch));
    let whole = run(vec![one.clone(), other.clone()]).unwrap();
    assert_eq!(whole.examples, 2 * program.batch as u64);
    other.valid = 0;
    assert_eq!(run(vec![one.clone(), other]).unwrap(), run(vec![one]).unwrap());
    assert_eq!(run(Vec::new()).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let renamed = |batch: Batch| {
        let arrays =
            batch.arrays.into_iter().map(|(name, array)| (if name == "x" { "X1".into() } else { name }, array));
        Batch::new(arrays, "labels")
    };
    let cases: [(Change, &str); 4] = [
        (
            renamed,
            "the program has no input `X1`; do you mean `x`?; `x` is missing: give FP32 numbers of shape [4, 2, 4, 4]",
        ),
        (|batch| Batch::new(batch.arrays, "x"), "a batch has FP32 numbers for its labels `x`: give integers"),
        (|_| Ok(batch(0, 3)), "FP32 numbers of shape [3, 2, 4, 4] were given, not FP32 numbers of shape [4, 2, 4, 4]"),
        (|_| Err(Error::new(ErrorKind::Io, "the disk is gone")), "the disk is gone"),
    ];
    for (change, expected) in cases {
        let error = trained(change, 3).map(|(losses, _)| losses).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
