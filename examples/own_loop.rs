//! A training loop of one's own over data of one's own: which points of a square lie in a circle?
//!
//!     cargo run --release --example own_loop

use bitbudget::batches::{Array, Numbers};
use bitbudget::{Batch, Graph, Inputs, LossScaler, LossScaling, Model, Options, Precision, Promotion, SaveAs, Session};
use std::error::Error;

/// The third number of each point is 1, so that the first weights hold a bias.
const NETWORK: &str = r#"graph "circle" {
  %0 = input {name="points"} : f32[N,3]
  %1 = parameter {name="hidden"} : f32[48,3]
  %2 = matmul(%0, %1) {trans_a=false, trans_b=true} : f32[N,48] output "hidden"
  %3 = relu(%2) : f32[N,48] output "relu"
  %4 = parameter {name="scores"} : f32[2,48]
  %5 = matmul(%3, %4) {trans_a=false, trans_b=true} : f32[N,2] output "scores"
  return "scores" = %5
}"#;

const BATCH: usize = 64;

/// Numbers from -1 to 1 without a pattern.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Points with their classes.
fn batch(random: &mut Random, size: usize) -> Batch {
    let (mut points, mut classes) = (Vec::new(), Vec::new());
    for _ in 0..size {
        let [x, y] = [random.next(), random.next()];
        points.extend([x, y, 1.0]);
        classes.push(i32::from(x * x + y * y < 0.6));
    }
    let points = Array { shape: vec![size, 3], numbers: Numbers::F32(points) };
    let classes = Array { shape: vec![size], numbers: Numbers::Integers(classes) };
    let arrays = [("points".to_string(), points), ("labels".to_string(), classes)].into();
    Batch { arrays, labels: "labels".into(), valid: size, ..Batch::default() }
}

/// Accuracy on 10 new batches.
fn accuracy(session: &mut Session) -> Result<f64, bitbudget::Error> {
    let (size, mut random) = (session.evaluation_batch(Precision::Assigned)?, Random(7));
    let mut batches = (0..10).map(|_| Ok(batch(&mut random, size)));
    Ok(session.evaluate(&mut batches, Precision::Assigned)?.metrics.accuracy.unwrap_or_default())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Random(1);
    let graph: Graph = NETWORK.parse()?;
    let mut weights = |count: usize, scale: f32| (0..count).map(|_| scale * random.next()).collect::<Vec<f32>>();
    let values = [("hidden".to_string(), weights(48 * 3, 1.0)), ("scores".to_string(), weights(48 * 2, 0.3))].into();
    // Half of all elements in 8 bits, as in the paper.
    let options = Options { batch: BATCH, threads: 1, ..Options::default() };
    let mut session = Session::compile(Model { graph, values }, &options)?;
    println!("accuracy before: {:.1}%", 100.0 * accuracy(&mut session)?);

    let mut scaler = LossScaler::new(LossScaling::Dynamic, 100);
    for step in 0..600 {
        let batch = batch(&mut random, BATCH);
        let inputs = Inputs { learning_rate: 0.1, loss_scale: scaler.scale(), ..batch.inputs() };
        let result = session.step(&inputs)?;
        scaler.update(result.updated);
        for promotion in session.promote(&result.overflows, Promotion::Fitting)? {
            println!("step {step}: {} overflowed, {} instead of {}", promotion.tensor, promotion.to, promotion.from);
        }
        if step % 200 == 0 {
            println!("step {step}: loss {:.4}", result.loss);
        }
    }

    let after = accuracy(&mut session)?;
    println!("accuracy after: {:.1}%", 100.0 * after);
    let file = session.save(SaveAs::Trainer)?;
    let mut again = Session::load(&file)?;
    println!("accuracy from a trainer file of {} bytes: {:.1}%", file.len(), 100.0 * accuracy(&mut again)?);
    Ok(())
}
