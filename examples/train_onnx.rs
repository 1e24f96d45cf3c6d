//! Trains a network from an ONNX file on handwritten digits in 40% of the memory that FP32 takes, and saves it:
//!
//!     cargo run --release --example train_onnx -- models/squeezenet-0.25.onnx trained.onnx

use bitbudget::data::{self, DataSpec, Fitting};
use bitbudget::{
    Budget, Ended, Epochs, Length, Limit, Method, Options, Promotion, Record, SaveAs, Session, Settings, TrainOptions,
};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or("models/squeezenet-0.25.onnx".into());
    let (batch, threads) = (64, 2);
    let budget = Some(Budget::new(Limit::Share(0.4), threads));
    let mut session = Session::from_onnx(path, &Options { batch, method: Method::Ilp, budget, ..Options::default() })?;

    let network = session.compiled().network()?;
    let digits = data::fit(data::load(&DataSpec::Digits, &network, 0, None)?, &network, Fitting::default())?;
    let examples = Epochs::new(&digits, TrainOptions { batch, seed: 0, shuffle: true, augment: false });
    let settings = Settings { length: Length::Epochs(3), learning_rate: 0.05, ..Settings::default() };
    let ended = session.train(&examples, &settings, Promotion::Fitting, &mut |record| {
        if let Record::Epoch(epoch) = record {
            println!("epoch {}: train loss {:.4}", epoch.epoch, epoch.train_loss);
        }
        Ok(())
    })?;
    let record = match ended {
        Ended::Finished(record) => *record,
        Ended::Diverged(divergence) => return Err(format!("diverged at step {}", divergence.step).into()),
    };

    let allowed = session.compiled().solved.as_ref().map_or(0, |solved| solved.budget);
    let (predicted, allocated) = (session.predicted().total(), session.allocated().total());
    println!("test accuracy: {:.1}%", 100.0 * record.test_accuracy.unwrap_or_default());
    println!("bytes at the peak of a step: {predicted} predicted, {allocated} allocated, {allowed} allowed");
    if let Some(path) = arguments.next() {
        std::fs::write(&path, session.save(SaveAs::Onnx)?)?;
        println!("saved: {path}");
    }
    Ok(())
}
