//! Prints a line per network and budget: what a program for a CUDA device takes, by its plan and by a device that counts what it is asked
//! for.
//!
//! `device [NETWORK]` takes networks whose name contains `NETWORK`, with CIFAR-10's images at batch 128, ResNet-50 with 224x224 pixels at
//! batch 32. The exit status is 1 if a plan breaks its budget, or the device allocates another number of bytes than were planned.

use bitbudget::{
    Array, Budget, BudgetError, CompileError, Compiled, Executor, Footprint, Inputs, Limit, Machine, Method, Options,
    Session, compile,
};
use bitbudget_emulator::{Calls, Device, TensorCore};
use bitbudget_zoo::{Network, Spec, build};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

/// The networks, with the side of an image and the batch.
const SUBJECTS: [(Network, usize, usize); 5] = [
    (Network::SqueezeNet, 32, 128),
    (Network::ShuffleNetV2, 32, 128),
    (Network::MobileNetV2, 32, 128),
    (Network::ResNet18, 32, 128),
    (Network::ResNet50, 224, 32),
];

const SHARES: [f64; 9] = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!("| network | budget | bytes | planned | allocated | kernels | launches |\n|---|---|---|---|---|---|---|");
    let mut status = ExitCode::SUCCESS;
    for (network, side, batch) in SUBJECTS {
        if !network.to_string().contains(&wanted) {
            continue;
        }
        let model = build(&Spec { network, classes: 10, input: [3, side, side], ..Spec::default() })?;
        for share in SHARES {
            let budget = Some(Budget::new(Limit::Share(share), 1));
            let options = Options { batch, machine: Machine::Cuda, method: Method::Ilp, budget, ..Options::default() };
            let found = match compile(model.clone(), &options) {
                Ok(compiled) => compiled,
                Err(CompileError::Budget(error @ BudgetError::Infeasible { .. })) => {
                    println!("| {network} | {:.0}% | {error} |", 100.0 * share);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let limit = found.solved.as_ref().map_or(0, |solved| solved.budget);
            let planned = Footprint::predicted(&found.train, 1).total();
            let Calls { allocated, compiled, recorded, .. } = stepped(found, side, batch)?;
            let row = [limit, planned, allocated, compiled, recorded].map(|number| number.to_string()).join(" | ");
            println!("| {network} | {:.0}% | {row} |", 100.0 * share);
            if planned > limit || planned != allocated {
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// What a device was asked for by a step.
fn stepped(compiled: Compiled, side: usize, batch: usize) -> Result<Calls, Box<dyn Error>> {
    let device = Device::counting(bitbudget_emulator::Machine {
        tensor_core: TensorCore::HOPPER,
        resident: 1,
        seed: 0,
        records_traffic: false,
    });
    let mut session = Session::on(Executor::driven(Arc::new(device.clone()), 1)?, compiled);
    let shape = [batch, 3, side, side];
    let (images, labels) = (vec![0.0; batch * 3 * side * side], vec![0; batch]);
    let arrays = [("input", Array::f32(&shape, &images)), ("labels", Array::integers(&shape[..1], &labels))];
    session.step(&Inputs { learning_rate: 0.05, ..Inputs::new(arrays) })?;
    Ok(device.calls())
}
