//! Networks that take one number of examples.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::batches::{Array, Numbers};
use bitbudget::{Batch, Graph, Inputs, Method, Model, Options, Precision, Session, compile};
use bitbudget_testkit::numbers;

const BATCH: usize = 8;

/// A convolution and a linear layer, for any batch or for one.
fn model(batch: &str) -> Model {
    let text = r#"graph "g" {
  %0 = input {name="x"} : f32[N,2,4,4]
  %1 = parameter {name="w"} : f32[3,2,3,3]
  %2 = conv(%0, %1) {pads_begin=[1,1], pads_end=[1,1]} : f32[N,3,4,4] output "conv"
  %3 = relu(%2) : f32[N,3,4,4] output "relu"
  %4 = reshape(%3) {shape=<N,48>} : f32[N,48] output
  %5 = parameter {name="v"} : f32[5,48]
  %6 = matmul(%4, %5) {trans_b=true} : f32[N,5] output "fc"
  return "scores" = %6
}"#;
    let graph: Graph = text.replace('N', batch).parse().unwrap();
    Model { graph, values: [("w".to_string(), numbers(54, 1)), ("v".to_string(), numbers(240, 2))].into() }
}

fn options(method: Method, batch: usize) -> Options {
    Options { batch, method, threads: 1, ..Options::default() }
}

fn batch() -> Batch {
    let x = Array { shape: vec![BATCH, 2, 4, 4], numbers: Numbers::F32(numbers(BATCH * 32, 5)) };
    let labels = Array { shape: vec![BATCH], numbers: Numbers::Integers((0..BATCH as i32).map(|i| i % 5).collect()) };
    Batch::new([("x".to_string(), x), ("labels".to_string(), labels)], "labels").unwrap()
}

#[test]
fn a_stated_batch_trains_as_a_variable_one_of_that_size() {
    for method in [Method::Fp32, Method::UniformLow, Method::Demote] {
        let run = |shape: &str| {
            let mut session = Session::compile(model(shape), &options(method, BATCH)).unwrap();
            let batch = batch();
            let inputs = Inputs { learning_rate: 0.1, ..batch.inputs() };
            let losses: Vec<f32> = (0..3).map(|_| session.step(&inputs).unwrap().loss).collect();
            let evaluated = session.evaluate(&mut std::iter::once(Ok(batch.clone())), Precision::Assigned).unwrap();
            (losses, evaluated, session.end().unwrap().values)
        };
        assert_eq!(run("8"), run("N"), "{method:?}");
    }
}

#[test]
fn another_batch_is_refused_and_examples_are_counted_by_the_first_dimension() {
    let message = compile(model("8"), &options(Method::Fp32, 4)).unwrap_err().to_string();
    assert!(message.contains("it takes 8 examples at a time, not 4; use a batch of 8"), "{message}");
    let of = |shape: &str| compile(model(shape), &options(Method::Fp32, BATCH)).unwrap().interface().unwrap();
    assert_eq!(of("8"), of("N"));
}

/// Where an evaluation in FP32 takes more memory than a low training step, it takes fewer examples at a time, unless there is only one number.
#[test]
fn evaluations_keep_a_stated_batch() {
    let of = |shape: &str| {
        let compiled = compile(model(shape), &options(Method::UniformLow, BATCH)).unwrap();
        (compiled.evaluate.batch, compiled.evaluate_fp32().unwrap().batch)
    };
    assert_eq!(of("8"), (BATCH, BATCH));
}
