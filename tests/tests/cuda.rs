//! The CUDA kernels of whole training steps, run by the emulator, beside the CPU: each instruction on the CPU's numbers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure in a test's own function fails the test")]

use bitbudget::{Options, compile};
use bitbudget_cuda::{Addresses, Emitted, Kernel, Launch, emit, file, packed};
use bitbudget_emulator::{self as emulator, Machine, Memory, Module, TensorCore};
use bitbudget_exec::{Array, Executor, Inputs, Values};
use bitbudget_formats::{Format, Overflow, pack_u8, pack_u16, unpack_u8, unpack_u16};
use bitbudget_ir::{DType, Graph, Layout, NodeId, Op, ScalarKind};
use bitbudget_lower::place_and_lower;
use bitbudget_precision::Method;
use bitbudget_program::{Buffer, BufferId, Instruction, Part, Program, Source};
use bitbudget_rewrite::{derive, lay_out};
use bitbudget_schedule::{Setting, Storage, derivable, group, inside};
use bitbudget_select::{Cuda, Target, select};
use bitbudget_testkit::lowered;
use bitbudget_zoo::{Network, Spec, build};
use std::collections::BTreeMap;

const BATCH: usize = 2;
const MACHINE: Machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 5, records_traffic: false };

/// A graph's program for CUDA devices, with the graph that it was made of.
fn for_cuda(graph: &Graph, derives: bool) -> (Graph, Program) {
    let setting = Setting { batch: BATCH, storage: Storage::Packed, alignment: Cuda.alignment() };
    let exact = graph.exact();
    let steps = group(&exact, BATCH);
    let takes = |reader, position| derives && Cuda.takes(&exact, reader, position);
    let graph = derive(graph, &steps, &derivable(&exact, &steps, &setting, &takes)).unwrap();
    let graph = lay_out(&graph, &group(&graph, BATCH)).unwrap();
    let steps = group(&graph, BATCH);
    let kernels = select(&Cuda, &graph, &steps, &inside(&graph, &steps, BATCH), BATCH);
    let (_, program) = place_and_lower(&graph, steps, &kernels, &setting, bitbudget_program::Machine::Cuda).unwrap();
    (graph, program)
}

/// Whether a buffer has memory of its own, or shows such.
fn is_there(program: &Program, roots: &[BufferId], id: BufferId) -> bool {
    let root = program.buffer(roots[id.index()]);
    root.offset.is_some() || root.source != Source::None
}

fn written(instruction: &Instruction) -> Vec<BufferId> {
    match instruction {
        Instruction::Compute { parts, .. } => parts.iter().map(|part| part.output).collect(),
        Instruction::View { output, .. } => vec![*output],
        Instruction::Store { .. } | Instruction::Free { .. } => Vec::new(),
    }
}

/// The element that lies in each place.
fn places(shape: &[usize], layout: Layout) -> Vec<usize> {
    let axes = layout.axes(shape.len());
    let element = |place: usize| {
        let (mut rest, mut index) = (place, vec![0; shape.len()]);
        for &axis in axes.iter().rev() {
            index[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        index.iter().zip(shape).fold(0, |at, (i, size)| at * size + i)
    };
    (0..shape.iter().product()).map(element).collect()
}

/// The bytes of a buffer that holds numbers.
fn stored(buffer: &Buffer, numbers: &[f32]) -> Vec<u8> {
    let x: Vec<f32> = places(&buffer.shape, buffer.layout).into_iter().map(|at| numbers[at]).collect();
    let floats = |x: &[f32]| x.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>();
    if buffer.source != Source::None {
        return floats(&x);
    }
    match (buffer.dtype, buffer.width()) {
        (DType::F32, 1) => {
            let mut codes = vec![0; x.len()];
            pack_u8(buffer.format, Overflow::NotFinite, &x, &mut codes).unwrap();
            codes
        }
        (DType::F32, 2) => {
            let mut codes = vec![0; x.len()];
            pack_u16(buffer.format, Overflow::NotFinite, &x, &mut codes).unwrap();
            codes.iter().flat_map(|code| code.to_ne_bytes()).collect()
        }
        (DType::F32, _) => floats(&x),
        (DType::I32, _) => x.iter().flat_map(|&x| (x as i32).to_ne_bytes()).collect(),
        (DType::Bool | DType::Index8, _) => x.iter().map(|&x| x as u8).collect(),
    }
}

/// The numbers of a buffer's bytes, in the order of their indices.
fn numbers(buffer: &Buffer, bytes: &[u8]) -> Vec<f32> {
    let floats = || bytes.chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect::<Vec<f32>>();
    let x = match (buffer.source, buffer.dtype, buffer.width()) {
        (Source::None, DType::F32, 1) => {
            let mut x = vec![0.0; bytes.len()];
            unpack_u8(buffer.format, bytes, &mut x).unwrap();
            x
        }
        (Source::None, DType::F32, 2) => {
            let codes: Vec<u16> = bytes.chunks_exact(2).map(|x| u16::from_ne_bytes([x[0], x[1]])).collect();
            let mut x = vec![0.0; codes.len()];
            unpack_u16(buffer.format, &codes, &mut x).unwrap();
            x
        }
        (Source::None, DType::I32, _) => {
            bytes.chunks_exact(4).map(|x| i32::from_ne_bytes(x.try_into().unwrap()) as f32).collect()
        }
        (Source::None, DType::Bool | DType::Index8, _) => bytes.iter().map(|&x| f32::from(x)).collect(),
        _ => floats(),
    };
    let mut numbers = vec![0.0; x.len()];
    places(&buffer.shape, buffer.layout).into_iter().zip(x).for_each(|(at, x)| numbers[at] = x);
    numbers
}

/// A step on the CPU, which stores every tensor: their numbers by node, and the counts by tensor.
struct OnCpu {
    numbers: BTreeMap<u32, Vec<f32>>,
    counts: BTreeMap<u32, [u64; 3]>,
}

fn on_cpu(graph: &Graph, values: &BTreeMap<String, Vec<f32>>, inputs: &Inputs<'_>) -> OnCpu {
    let program = lowered(graph, BATCH, Storage::Packed).unwrap();
    let mut executor = Executor::new(bitbudget_exec::Target::Cpu, 2).unwrap();
    let mut values = Values::new(&program, values, executor.device()).unwrap();
    let mut numbers = BTreeMap::new();
    let mut observe = |id: BufferId, x: &[f32]| drop(numbers.insert(id.0, x.to_vec()));
    let step = executor.run_observed(&program, &mut values, inputs, &mut observe).unwrap();
    let counts = step.overflows.iter();
    let counts = counts.map(|o| (o.tensor, [o.counts.overflow, o.counts.underflow, o.counts.not_finite])).collect();
    OnCpu { numbers, counts }
}

/// A device with a program's memory.
struct Device<'p> {
    program: &'p Program,
    roots: Vec<BufferId>,
    memory: Memory,
    addresses: Vec<u64>,
    counters: u64,
    turns: u64,
    /// The buffer that lies at an address: a result may take an operand's place before that is freed.
    lying: BTreeMap<u64, BufferId>,
}

impl<'p> Device<'p> {
    fn new(
        program: &'p Program,
        values: &BTreeMap<String, Vec<f32>>,
        inputs: &BTreeMap<&str, Vec<f32>>,
        learning_rate: f32,
    ) -> Device<'p> {
        let roots = program.storages();
        let mut memory = Memory::default();
        let arena = memory.reserve(program.arena);
        let mut addresses = vec![0; program.buffers.len()];
        for (i, buffer) in program.buffers.iter().enumerate() {
            let value = match buffer.source {
                Source::None => {
                    addresses[i] = buffer.offset.map_or(0, |offset| arena + offset as u64);
                    continue;
                }
                Source::Input => inputs[buffer.name.as_str()].clone(),
                Source::Scalar(ScalarKind::LearningRate) => vec![learning_rate],
                Source::Scalar(_) => vec![1.0],
                Source::Kept | Source::Constant => {
                    let zeros = || vec![0.0; buffer.elements()];
                    values.get(&buffer.name).cloned().unwrap_or_else(zeros)
                }
            };
            addresses[i] = memory.put(&stored(buffer, &value));
        }
        let of_roots = roots.iter().map(|root| addresses[root.index()]).collect();
        let counters = memory.put(&vec![0; 24 * program.buffers.len()]);
        let turns = memory.put(&vec![0; program.given().turns.len()]);
        Device { program, roots, memory, addresses: of_roots, counters, turns, lying: BTreeMap::new() }
    }

    /// The launches of all instructions, each with a workspace of its own.
    fn emitted(&mut self) -> Vec<Emitted> {
        let (mut all, mut counted) = (Vec::new(), 0);
        for instruction in &self.program.instructions {
            let planned = match instruction {
                Instruction::Compute { kernel, .. } => kernel.workspace,
                _ => 0,
            };
            let workspace = self.memory.reserve(planned.max(1));
            let (buffers, counters, turns) = (self.addresses.clone(), self.counters, self.turns);
            let addresses = Addresses { buffers, counters, workspace, turns };
            let emitted = emit(self.program, instruction, &addresses, counted);
            let emitted = emitted.unwrap_or_else(|e| panic!("{e}\n{instruction:?}"));
            assert_eq!(emitted.workspace, planned, "{instruction:?}");
            counted += emitted.counted.len();
            all.push(emitted);
        }
        all
    }

    fn run(&mut self, module: &mut Module, emitted: &Emitted, place: &str) {
        for launch in &emitted.launches {
            match launch {
                Launch::Zero { address, bytes } => assert!(self.memory.write(*address, &vec![0; *bytes])),
                Launch::Kernel { kernel, blocks, shared, arguments } => {
                    let arguments = packed(arguments);
                    let call = emulator::Launch {
                        kernel: &kernel.name,
                        blocks: *blocks,
                        threads: kernel.threads,
                        shared: *shared,
                        arguments: &arguments,
                    };
                    let outcome = emulator::launch(module, &mut self.memory, &call, &MACHINE).unwrap();
                    assert!(outcome.faults.is_empty(), "{place}: {}\n{}", outcome.faults[0], kernel.text);
                }
            }
        }
    }

    fn numbers(&self, id: BufferId) -> Vec<f32> {
        let buffer = self.program.buffer(id);
        let root = self.program.buffer(self.roots[id.index()]);
        // A view holds what its root does.
        let held = Buffer { source: root.source, ..buffer.clone() };
        let bytes = self.memory.read(self.addresses[id.index()], held.bytes()).unwrap();
        numbers(&held, &bytes)
    }

    fn set(&mut self, id: BufferId, x: &[f32]) {
        let root = self.program.buffer(self.roots[id.index()]);
        let held = Buffer { source: root.source, ..self.program.buffer(id).clone() };
        let bytes = stored(&held, x);
        let address = self.addresses[id.index()];
        assert!(self.memory.write(address, &bytes));
        self.lies(id);
    }

    /// A buffer lies at its address now.
    fn lies(&mut self, id: BufferId) {
        self.lying.insert(self.addresses[id.index()], self.roots[id.index()]);
    }

    fn free(&mut self, id: BufferId) {
        let (address, bytes) = (self.addresses[id.index()], self.program.buffer(id).bytes());
        if self.lying.get(&address) == Some(&id) {
            self.memory.forget(address, bytes);
        }
    }
}

/// How far two neighbours of a format lie apart at a magnitude.
fn gap(format: Format, x: f32) -> f64 {
    let bits = format.mantissa_bits().min(23) as i32;
    let least = format.min_normal().log2() as i32;
    2f64.powi((f64::from(x).abs().max(f64::MIN_POSITIVE).log2().floor() as i32).max(least) - bits)
}

/// What a sum of all numbers of the operands may be off by: sums of gradients are next to nothing beside their terms.
fn slack(instruction: &Instruction, numbers: &dyn Fn(BufferId) -> Option<Vec<f32>>, results: usize) -> f64 {
    let Instruction::Compute { parts, .. } = instruction else { return 0.0 };
    let of = |part: &Part| {
        let operand = part.inputs.first().and_then(|&id| numbers(id)).unwrap_or_default();
        let sum = operand.iter().map(|x| f64::from(x.abs())).sum::<f64>();
        match &part.op {
            Op::ReduceSum(_) | Op::BatchNormGradScale(_) => sum / results as f64,
            Op::BatchMean(_) => sum / operand.len().max(1) as f64,
            _ => 0.0,
        }
    };
    1e-6 * parts.iter().map(of).sum::<f64>()
}

/// Numbers are the same but for roundings of sums: a few are neighbours in their format.
fn assert_near(
    place: &str,
    buffer: &Buffer,
    found: &[f32],
    expected: &[f32],
    slack: f64,
    describe: &dyn Fn() -> String,
) {
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(f64::from(b.abs())));
    let mut neighbours = 0;
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(found) - f64::from(expected)).abs();
        let near = apart <= 2e-5 * f64::from(expected.abs()) + 4e-6 * largest + slack;
        let is_same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan() || near;
        if is_same {
            continue;
        }
        let one = 1.01 * gap(buffer.format, expected.abs().max(found.abs()));
        assert!(apart <= one, "{place}, element {i}: {found}, not {expected}\n{}", describe());
        neighbours += 1;
    }
    assert!(neighbours <= 2 + found.len() / 50, "{place}: {neighbours} of {} are neighbours", found.len());
}

/// `size` is the height and width of images.
fn check(network: Network, size: usize, method: Method, low_ratio: f64, derives: bool) {
    let spec = Spec { network, width: 0.1, classes: 10, input: [3, size, size], seed: 0, ..Spec::default() };
    let options = Options { batch: BATCH, method, low_ratio, rewrite: None, ..Options::default() };
    let compiled = compile(build(&spec).unwrap(), &options).unwrap();
    let training = compiled.training.stored_in(&compiled.assignment.formats);
    let examples: Vec<f32> = (0..BATCH * 3 * size * size).map(|i| (i * 7 % 17) as f32 / 8.0 - 1.0).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let shapes = [vec![BATCH, 3, size, size], vec![BATCH]];
    let arrays = [("input", Array::f32(&shapes[0], &examples)), ("labels", Array::integers(&shapes[1], &labels))];
    let cpu = on_cpu(&training, &compiled.values, &Inputs { learning_rate: 0.1, ..Inputs::new(arrays) });

    let (graph, program) = for_cuda(&training, derives);
    let label_numbers = labels.iter().map(|&label| label as f32).collect();
    let inputs = BTreeMap::from([("input", examples.clone()), ("labels", label_numbers)]);
    let mut device = Device::new(&program, &compiled.values, &inputs, 0.1);
    let all = device.emitted();
    let mut kernels: BTreeMap<&str, &Kernel> = BTreeMap::new();
    for launch in all.iter().flat_map(|emitted| &emitted.launches) {
        if let Launch::Kernel { kernel, .. } = launch {
            kernels.insert(&kernel.name, kernel);
        }
    }
    let launches: usize = all.iter().map(|emitted| emitted.launches.len()).sum();
    let (instructions, sources) = (program.instructions.len(), kernels.len());
    println!("{network}: {instructions} instructions, {launches} launches, {sources} kernels, arena {}", program.arena);
    let mut module = Module::compile(&file(&kernels.into_values().cloned().collect::<Vec<_>>())).unwrap();

    let of_node = |id: BufferId| {
        let origin = graph.contains(NodeId(id.0)).then(|| graph.origin(NodeId(id.0))).flatten()?;
        cpu.numbers.get(&origin.0).cloned()
    };
    for (instruction, emitted) in program.instructions.iter().zip(&all) {
        device.run(&mut module, emitted, &name(instruction));
        for id in written(instruction) {
            if !is_there(&program, &device.roots, id) {
                continue;
            }
            let expected = match (of_node(id), graph.origin(NodeId(id.0))) {
                (Some(expected), _) => expected,
                // A copy in another order holds what it was made of.
                (None, None) => device.numbers(BufferId(graph.operands(NodeId(id.0))[0].0)),
                // The CPU computes it in passing.
                (None, Some(_)) => {
                    device.lies(id);
                    continue;
                }
            };
            let buffer = program.buffer(id);
            let place = format!("{id} `{}` {:?} of {}", buffer.name, buffer.shape, name(instruction));
            let slack = slack(instruction, &of_node, expected.len());
            let found = device.numbers(id);
            assert_near(&place, buffer, &found, &expected, slack, &|| {
                format!("{instruction:?}\n{found:?}\n{expected:?}")
            });
            device.set(id, &expected);
        }
        if let Instruction::Free { buffer } = instruction {
            device.free(*buffer);
        }
    }
    let counted: Vec<(u32, BufferId)> = all.iter().flat_map(|emitted| emitted.counted.clone()).collect();
    let counters = device.memory.get(device.counters).unwrap();
    let mut found: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for (i, (tensor, _)) in counted.iter().enumerate() {
        let word = |k: usize| u64::from_ne_bytes(counters[24 * i + 8 * k..24 * i + 8 * k + 8].try_into().unwrap());
        found.insert(*tensor, [word(0), word(1), word(2)]);
    }
    for (tensor, expected) in &cpu.counts {
        let found = found.get(tensor).unwrap_or_else(|| panic!("tensor {tensor} is not counted"));
        let near = (0..3).all(|k| found[k].abs_diff(expected[k]) <= 2 + expected[k] / 50);
        assert!(near, "tensor {tensor}: {found:?}, not {expected:?}");
    }
}

fn name(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Compute { parts, .. } => {
            parts.iter().map(|part: &Part| part.op.name()).collect::<Vec<_>>().join(" & ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn steps_in_fp32_are_those_of_the_cpu() {
    check(Network::ResNet18, 16, Method::Fp32, 0.0, false);
}

#[test]
fn steps_with_packed_and_derived_tensors_are_those_of_the_cpu() {
    check(Network::SqueezeNet, 32, Method::Demote, 0.6, true);
    check(Network::ResNet18, 16, Method::Demote, 1.0, true);
}

#[test]
fn steps_with_depthwise_convolutions_are_those_of_the_cpu() {
    check(Network::MobileNetV2, 16, Method::Demote, 0.6, true);
}

#[test]
fn steps_with_shuffled_channels_are_those_of_the_cpu() {
    check(Network::ShuffleNetV2, 16, Method::Demote, 0.6, true);
}
