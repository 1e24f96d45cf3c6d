//! Dropout: a function of seed, update and place, which keeps nothing.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own function fails the test")]

use bitbudget::batches::{Array, Numbers};
use bitbudget::{Batch, Graph, Inputs, Method, Model, Options, Precision, Session, compile};
use bitbudget_testkit::numbers;

const BATCH: usize = 64;
const WIDE: usize = 300;

/// Scores are one hidden element each, so that what is dropped shows.
fn model(ratio: f64) -> Model {
    let text = format!(
        r#"graph "g" {{
  %0 = input {{name="x"}} : f32[N,4]
  %1 = parameter {{name="w"}} : f32[{WIDE},4]
  %2 = matmul(%0, %1) {{trans_b=true}} : f32[N,{WIDE}] output "fc"
  %3 = relu(%2) : f32[N,{WIDE}] output "relu"
  %4 = scalar {{kind="seed"}} : f32[]
  %5 = scalar {{kind="update"}} : f32[]
  %6 = dropout(%3, %4, %5) {{name="d", ratio={ratio:?}}} : f32[N,{WIDE}] output "d"
  return "scores" = %6
}}"#
    );
    let graph: Graph = text.parse().unwrap();
    Model { graph, values: [("w".to_string(), numbers(WIDE * 4, 1))].into() }
}

fn options(method: Method, threads: usize) -> Options {
    Options { batch: BATCH, method, threads, ..Options::default() }
}

fn batch() -> Batch {
    let x = Array { shape: vec![BATCH, 4], numbers: Numbers::F32(numbers(BATCH * 4, 5)) };
    let labels = Array { shape: vec![BATCH], numbers: Numbers::Integers((0..BATCH as i32).collect()) };
    Batch::new([("x".to_string(), x), ("labels".to_string(), labels)], "labels").unwrap()
}

/// The scores of some steps, with the weights after them.
fn scores(session: &mut Session, seed: u64, steps: usize) -> Vec<Vec<f32>> {
    let batch = batch();
    let inputs = Inputs { learning_rate: 0.1, seed, ..batch.inputs() };
    (0..steps).map(|_| session.step(&inputs).unwrap().outputs["logits"].clone()).collect()
}

#[test]
fn elements_are_dropped_at_random_and_the_others_scaled() {
    let mut whole = Session::compile(model(0.0), &options(Method::Fp32, 1)).unwrap();
    let whole = scores(&mut whole, 3, 1).remove(0);
    let mut session = Session::compile(model(0.25), &options(Method::Fp32, 1)).unwrap();
    let dropped = scores(&mut session, 3, 1).remove(0);
    let (mut kept, mut alive) = (0, 0);
    for (x, y) in whole.iter().zip(&dropped).filter(|(x, _)| **x != 0.0) {
        assert!(*y == 0.0 || (y - x / 0.75).abs() <= 1e-6 * x.abs(), "{x} became {y}");
        kept += usize::from(*y != 0.0);
        alive += 1;
    }
    // Six standard deviations of a binomial distribution.
    let (mean, deviation) = (0.75 * alive as f64, (0.1875 * alive as f64).sqrt());
    assert!((kept as f64 - mean).abs() < 6.0 * deviation, "{kept} of {alive} are kept");
    // Which ones differs from column to column and from row to row.
    let mask: Vec<bool> = whole.iter().zip(&dropped).map(|(x, y)| *x != 0.0 && *y == 0.0).collect();
    let share = |wanted: &dyn Fn(usize) -> bool| (0..mask.len()).filter(|&i| wanted(i) && mask[i]).count();
    assert!((0..BATCH).all(|row| share(&|i| i / WIDE == row) > 0));
    assert!((0..4).all(|lane| share(&|i| i % 4 == lane) > alive / 32));
}

#[test]
fn masks_follow_seed_and_update_alone() {
    let run = |seed, threads, method| {
        let mut session = Session::compile(model(0.5), &options(method, threads)).unwrap();
        scores(&mut session, seed, 3)
    };
    let first = run(1, 1, Method::Fp32);
    assert_eq!(first, run(1, 2, Method::Fp32));
    assert_eq!(run(1, 1, Method::UniformLow), run(1, 2, Method::UniformLow));
    let zeros = |scores: &[f32]| scores.iter().map(|&x| x == 0.0).collect::<Vec<_>>();
    assert_ne!(zeros(&first[0]), zeros(&first[1]));
    assert_ne!(zeros(&first[0]), zeros(&run(2, 1, Method::Fp32)[0]));
}

#[test]
fn gradients_are_dropped_like_the_elements() {
    // A column that is dropped in every row leaves its weights as they are.
    let mut session = Session::compile(model(0.97), &options(Method::Fp32, 1)).unwrap();
    let scores = scores(&mut session, 1, 1).remove(0);
    let weights = session.end().unwrap().values.remove("w").unwrap();
    let before = numbers(WIDE * 4, 1);
    let decayed = |i: usize| (weights[i] - before[i]).abs() <= 1e-3 * before[i].abs();
    let (mut dropped, mut moved) = (0, 0);
    for column in 0..WIDE {
        let is_dropped = (0..BATCH).all(|row| scores[row * WIDE + column] == 0.0);
        let is_still = (0..4).all(|k| decayed(column * 4 + k));
        dropped += usize::from(is_dropped);
        moved += usize::from(!is_still);
        assert!(!is_dropped || is_still, "column {column}");
    }
    assert!(dropped > 10 && moved > 100, "{dropped} columns are dropped, {moved} moved");
}

#[test]
fn evaluation_has_no_dropout_and_masks_take_no_memory() {
    let of = |ratio| compile(model(ratio), &options(Method::Fp32, 1)).unwrap();
    let (with, without) = (of(0.5), of(0.0));
    assert!(!with.evaluate.to_string().contains("dropout"));
    let mut sessions = [with, without]
        .map(|compiled| Session::on(bitbudget::Executor::new(bitbudget::Target::Cpu, 1).unwrap(), compiled));
    let [a, b] = &mut sessions;
    let evaluated =
        |session: &mut Session| session.evaluate(&mut std::iter::once(Ok(batch())), Precision::Fp32).unwrap();
    assert_eq!(evaluated(a), evaluated(b));
    // A factor in the place of dropout takes as much.
    let scaled =
        model(0.5).graph.to_string().replace("dropout(%3, %4, %5) {name=\"d\", ratio=0.5}", "scale(%3) {by=2.0}");
    let model = |graph: Graph| Model { graph, values: [("w".to_string(), numbers(WIDE * 4, 1))].into() };
    let peak = |graph: Graph| compile(model(graph), &options(Method::Fp32, 1)).unwrap().peak.memory.total();
    assert_eq!(peak(self::model(0.5).graph) & !63, peak(scaled.parse().unwrap()) & !63);
}
