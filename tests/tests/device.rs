//! Programs for CUDA devices through a device's driver: the emulator, or one that only counts what it is asked for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Array, Budget, Compiled, Executor, Footprint, Inputs, Limit, Machine, Method, Options, Session, compile};
use bitbudget_emulator::{self as emulator, Calls, Device, TensorCore};
use bitbudget_zoo::{Network, Spec, build};
use std::sync::Arc;

const EMULATED: emulator::Machine =
    emulator::Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 5, records_traffic: false };

/// A batch of the programs' size, and another one for every `step`.
struct Batch {
    examples: Vec<f32>,
    labels: Vec<i32>,
    shapes: [Vec<usize>; 2],
}

impl Batch {
    fn new(batch: usize, size: usize, step: usize) -> Batch {
        let number = |i: usize| ((i + 31 * step) * 7 % 17) as f32 / 8.0 - 1.0;
        Batch {
            examples: (0..batch * 3 * size * size).map(number).collect(),
            labels: (0..batch).map(|i| ((i + step) % 10) as i32).collect(),
            shapes: [vec![batch, 3, size, size], vec![batch]],
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        let [examples, labels] = &self.shapes;
        let arrays =
            [("input", Array::f32(examples, &self.examples)), ("labels", Array::integers(labels, &self.labels))];
        Inputs { learning_rate: 0.05, ..Inputs::new(arrays) }
    }
}

fn compiled(network: Network, width: f64, size: usize, options: &Options) -> Compiled {
    let spec = Spec { network, width, classes: 10, input: [3, size, size], seed: 0, ..Spec::default() };
    compile(build(&spec).unwrap(), options).unwrap()
}

fn on(device: &Device, compiled: Compiled) -> Session {
    Session::on(Executor::driven(Arc::new(device.clone()), 1).unwrap(), compiled)
}

#[test]
fn what_a_device_allocates_is_what_was_predicted_and_within_the_budget() {
    let networks = [
        (Network::SqueezeNet, 32),
        (Network::ResNet18, 32),
        (Network::MobileNetV2, 32),
        (Network::ShuffleNetV2, 32),
        (Network::ResNet50, 64),
    ];
    for (network, size) in networks {
        let batch = 16;
        let mut kept = 0;
        for share in [1.0, 0.8, 0.6, 0.4, 0.3] {
            let budget = Budget { effort: Some(50), ..Budget::new(Limit::Share(share), 1) };
            let method = Method::Demote;
            let options = Options { batch, machine: Machine::Cuda, method, budget: Some(budget), ..Options::default() };
            let compiled = compiled(network, 0.25, size, &options);
            let budget = compiled.solved.as_ref().unwrap().budget;
            let predicted = Footprint::predicted(&compiled.train, 1);
            assert!(predicted.total() <= budget, "{network} {share}: {predicted:?}, {budget}");

            let device = Device::counting(EMULATED);
            let mut session = on(&device, compiled);
            session.step(&Batch::new(batch, size, 0).inputs()).unwrap();
            let first = device.calls();
            assert_eq!(first.allocated, predicted.total(), "{network} {share}: {predicted:?}");
            assert_eq!(session.allocated(), predicted, "{network} {share}");
            session.step(&Batch::new(batch, size, 1).inputs()).unwrap();
            let Calls { replayed, writes, waits, .. } = device.calls();
            let second = Calls { replayed: replayed - first.replayed, writes: writes - first.writes, ..first };
            assert_eq!((second.replayed, second.writes), (2, 1), "{network} {share}");
            assert_eq!(waits - first.waits, 2, "{network} {share}: the loss, and what the step returns");
            assert_eq!(Calls { replayed, writes, waits, ..first }, device.calls(), "{network} {share}");
            kept = kept.max(predicted.kept);
        }
        assert!(kept > 0);
    }
}

#[test]
fn trainings_on_an_emulated_device_go_as_on_the_cpu() {
    let (batch, size) = (2, 16);
    for (network, method) in [(Network::ResNet18, Method::Fp32), (Network::MobileNetV2, Method::Demote)] {
        let trained = |machine| {
            let options = Options { batch, machine, method, low_ratio: 0.5, ..Options::default() };
            let compiled = compiled(network, 0.1, size, &options);
            let executor = match machine {
                Machine::Cpu => Executor::new(bitbudget::Target::Cpu, 2).unwrap(),
                Machine::Cuda => Executor::driven(Arc::new(Device::new(EMULATED)), 1).unwrap(),
            };
            let mut session = Session::on(executor, compiled);
            let step = |i| session.step(&Batch::new(batch, size, i).inputs()).unwrap();
            let steps: Vec<_> = (0..3).map(step).collect();
            (steps, session)
        };
        let (on_cpu, _) = trained(Machine::Cpu);
        let (on_device, _) = trained(Machine::Cuda);
        for (at, (cpu, device)) in on_cpu.iter().zip(&on_device).enumerate() {
            println!("{network} {method:?} {at}: {} {}", cpu.loss, device.loss);
        }
    }
}
