//! Programs for CUDA devices through a device's driver: the emulator, or one that only counts what it is asked for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use bitbudget::{
    Array, Budget, Compiled, ExecError, Executor, Footprint, Inputs, Limit, Machine, Method, Options, SaveAs, Session,
    Target, Values, compile,
};
use bitbudget_cuda::Driver;
use bitbudget_emulator::{self as emulator, Calls, Device, TensorCore};
use bitbudget_ir::{Bindings, Graph, Op, interpret};
use bitbudget_lower::place_and_lower;
use bitbudget_program::Program;
use bitbudget_rewrite::lay_out;
use bitbudget_schedule::{Setting, Storage, group, inside};
use bitbudget_select::{Cuda, Target as _, select};
use bitbudget_testkit::values;
use bitbudget_zoo::{Network, Spec, build};
use std::collections::{BTreeMap, BTreeSet};
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
        (Network::ResNet50, 32),
    ];
    let batch = 16;
    for (network, size) in networks {
        let searches = matches!(network, Network::SqueezeNet | Network::ResNet18);
        let last = if searches { Method::Ilp } else { Method::Demote };
        for (share, method) in [(1.0, Method::Demote), (0.85, Method::Demote), (0.7, last)] {
            let budget = Budget { effort: Some(1), ..Budget::new(Limit::Share(share), 1) };
            let machine = Machine::Cuda;
            let options = Options { batch, machine, method, budget: Some(budget), ..Options::default() };
            let compiled = compiled(network, 0.1, size, &options);
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
            let second = device.calls();
            let [replayed, writes, waits] =
                [second.replayed - first.replayed, second.writes - first.writes, second.waits - first.waits];
            // Up to the loss, which is looked at, and the rest.
            assert_eq!([replayed, writes, waits], [2, 1, 2], "{network} {share}");
            let Calls { replayed, writes, waits, .. } = second;
            assert_eq!(Calls { replayed, writes, waits, ..first }, second, "{network} {share}: nothing else is done");
        }
    }
}

/// The loss of each step, and what is kept after them.
fn trained(network: Network, options: &Options, steps: usize) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let compiled = compiled(network, 0.1, 16, options);
    let executor = match options.machine {
        Machine::Cpu => Executor::new(Target::Cpu, 2).unwrap(),
        Machine::Cuda => Executor::driven(Arc::new(Device::new(EMULATED)), 1).unwrap(),
    };
    let mut session = Session::on(executor, compiled);
    let losses = (0..steps).map(|i| session.step(&Batch::new(options.batch, 16, i).inputs()).unwrap().loss);
    let losses = losses.collect();
    (losses, Compiled::decode(&session.save(SaveAs::Trainer).unwrap()).unwrap().values)
}

#[test]
fn trainings_on_an_emulated_device_go_as_on_the_cpu() {
    let on = |machine| {
        let options = Options { batch: 2, machine, method: Method::Fp32, ..Options::default() };
        trained(Network::ResNet18, &options, 2)
    };
    let [(on_cpu, values), (on_device, found)] = [on(Machine::Cpu), on(Machine::Cuda)];
    for (cpu, device) in on_cpu.iter().zip(&on_device) {
        assert!((cpu - device).abs() <= 1e-4 * cpu.abs(), "{on_device:?}, not {on_cpu:?}");
    }
    assert_eq!(found.len(), values.len());
    for (name, expected) in &values {
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let apart = norm(&mut found[name].iter().zip(expected).map(|(a, b)| a - b));
        let whole = norm(&mut expected.iter().copied());
        assert!(apart <= 1e-3 * whole + 1e-6, "{name}: {apart} of {whole}");
    }
}

#[test]
fn labels_and_indices_out_of_range_are_refused() {
    let options = Options { batch: 4, machine: Machine::Cuda, ..Options::default() };
    let mut session = on(&Device::counting(EMULATED), compiled(Network::SqueezeNet, 0.1, 16, &options));
    let mut batch = Batch::new(4, 16, 0);
    batch.labels[2] = 10;
    let error = session.step(&batch.inputs()).unwrap_err().to_string();
    assert!(error.contains("element 2 is 10, but indices and labels must be below 10"), "{error}");

    let graph: Graph = r#"graph "gather" {
      %0 = constant {name="table"} : f32[5,2]
      %1 = input {name="ids"} : i32[N]
      %2 = gather(%0, %1) {axis=0, batch_dims=0} : f32[N,2] output
      return "y" = %2
    }"#
    .parse()
    .unwrap();
    let (program, table) = (for_cuda(&graph), vec![0.5; 10]);
    for (id, is_right) in [(4, true), (-5, true), (5, false), (-6, false)] {
        let values = [("table".to_string(), table.clone()), ("ids".to_string(), vec![f64::from(id)])].into();
        assert_eq!(computed(&Device::counting(EMULATED), &program, &values).is_ok(), is_right, "{id}");
    }
}

/// A sample's program for CUDA devices.
fn for_cuda(graph: &Graph) -> Program {
    let setting = Setting { batch: 1, storage: Storage::Packed, alignment: Cuda.alignment() };
    let graph = lay_out(graph, &group(graph, 1)).unwrap();
    let steps = group(&graph, 1);
    let kernels = select(&Cuda, &graph, &steps, &inside(&graph, &steps, 1), 1);
    place_and_lower(&graph, steps, &kernels, &setting, Machine::Cuda).unwrap().1
}

/// What a sample's program computes on a device.
fn computed(device: &Device, program: &Program, values: &BTreeMap<String, Vec<f64>>) -> Result<Vec<f32>, ExecError> {
    let mut executor = Executor::driven(Arc::new(device.clone()), 1)?;
    let initial = values.iter().map(|(n, v)| (n.clone(), v.iter().map(|&x| x as f32).collect())).collect();
    let mut kept = Values::new(program, &initial, executor.device())?;
    let integers: BTreeMap<&str, Vec<i32>> =
        values.iter().map(|(name, value)| (name.as_str(), value.iter().map(|&x| x as i32).collect())).collect();
    let array = |name: &str, shape| Array::integers(shape, &integers[name]);
    let inputs = program.inputs().map(|input| (input.name.as_str(), array(&input.name, &input.shape)));
    Ok(executor.run(program, &mut kept, &Inputs::new(inputs))?.outputs["y"].clone())
}

#[test]
fn every_operator_on_an_emulated_device_agrees_with_the_reference() {
    let samples = Op::all_samples().into_iter().flat_map(|(name, all)| all.into_iter().map(move |s| (name, s)));
    let samples: Vec<_> = samples.map(|(name, sample)| (name, for_cuda(&sample.graph), sample)).collect();
    // All kernels are compiled at once, which takes less time.
    let (counting, device) = (Device::counting(EMULATED), Device::new(EMULATED));
    let mut lacking = BTreeSet::new();
    let mut runs = Vec::new();
    for (name, program, sample) in &samples {
        // Variances are taken around the mean of the same elements, whatever the operand holds.
        if *name == "batch_variance" {
            continue;
        }
        let values = values(sample);
        match computed(&counting, program, &values) {
            Ok(_) => runs.push((name, program, sample, values)),
            Err(error) => {
                println!("{name}: {error}");
                lacking.insert(*name);
            }
        }
    }
    let kernels = counting.kernels();
    device.compile(&kernels.iter().collect::<Vec<_>>()).unwrap();
    for (name, program, sample, values) in runs {
        let expected = interpret(&sample.graph, &Bindings { batch: 1, values: values.clone() }).unwrap();
        let expected = &expected[sample.graph.output("y").unwrap().index()].data;
        let found = computed(&device, program, &values).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let near = (f64::from(found) - expected).abs() < 4e-6 * (1.0 + expected.abs());
            assert!(near, "{name}: [{i}] {found}, not {expected}\n{program}");
        }
    }
    assert!(lacking.is_empty(), "{lacking:?}");
}
