//! What less memory costs: assignments of one network under several budgets.
//!
//!     cargo run --release --example sweep_budgets

use bitbudget::zoo::{Network, Spec, build};
use bitbudget::{Budget, Error, ErrorKind, Limit, Method, Options, compile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec =
        Spec { network: Network::SqueezeNet, width: 0.1, classes: 10, input: [3, 32, 32], seed: 0, ..Spec::default() };
    let model = build(&spec)?;
    for share in [0.05, 0.3, 0.6] {
        let budget = Some(Budget::new(Limit::Share(share), 1));
        let options = Options { batch: 32, method: Method::Ilp, budget, ..Options::default() };
        let compiled = match compile(model.clone(), &options).map_err(Error::from) {
            Ok(compiled) => compiled,
            Err(error) if error.kind() == ErrorKind::Budget => {
                println!("{share:.2}: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(solved) = &compiled.solved else { continue };
        let Some(certificate) = &solved.solver else { continue };
        println!(
            "{share:.2}: {} bytes of {}, cost {:.4}, at least {:.4}, {} recomputed",
            solved.peak,
            solved.budget,
            certificate.cost,
            certificate.bound,
            compiled.assignment.recomputed.len()
        );
    }
    Ok(())
}
