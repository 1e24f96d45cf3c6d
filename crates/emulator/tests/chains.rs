//! Elementwise kernels give the CPU's bits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{Argument, Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Elements, Kernel, file, packed};
use bitbudget_emulator::{Address, Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_exec::{Array, Executor, Inputs, Target, Values};
use bitbudget_formats::{Format, Overflow, Rounder, pack_u8, pack_u16};
use bitbudget_ir::{DType, Expression, Form, Graph, NodeId, Op, Read, Sample};
use bitbudget_program::BufferId;
use bitbudget_schedule::Storage;
use bitbudget_testkit::{lowered, numbers, values};
use std::collections::BTreeMap;

const MACHINE: Machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 3, records_traffic: false };

/// Runs a chain's kernel on stored inputs, and gives the bytes of its stored results and the counters.
fn run(
    module: &mut Module,
    (chain, kernel): (&Chain, &Kernel),
    (shape, sizes): ([usize; 3], &[usize]),
    inputs: &[Vec<u8>],
) -> (Vec<Vec<u8>>, Vec<u64>) {
    let elements: usize = shape.iter().product();
    let mut memory = Memory::default();
    let mut addresses: Vec<Address> = inputs.iter().map(|bytes| memory.put(bytes)).collect();
    let stored = chain.parts.iter().filter_map(|part| part.stored);
    let results: Vec<Address> = stored.map(|of| memory.reserve(elements * of.width() as usize / 8)).collect();
    addresses.extend(&results);
    let counters = memory.put(&vec![0; 24 * chain.parts.len()]);
    let arguments: Vec<Argument> = chain.arguments(shape, &addresses, counters, sizes);
    let call = Launch {
        kernel: &kernel.name,
        blocks: Chain::blocks(elements),
        threads: kernel.threads,
        shared: 0,
        arguments: &packed(&arguments),
    };
    let outcome = launch(module, &mut memory, &call, &MACHINE).unwrap();
    assert!(outcome.faults.is_empty(), "{}: {}", kernel.name, outcome.faults[0]);
    let counters = memory.get(counters).unwrap();
    let counters = counters.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
    (results.iter().map(|&address| memory.get(address).unwrap()).collect(), counters)
}

/// What the CPU computes.
fn on_cpu(graph: &Graph, values: &BTreeMap<String, Vec<f64>>) -> Vec<Option<Vec<f32>>> {
    let program = lowered(graph, 1, Storage::Packed).unwrap();
    let mut executor = Executor::new(Target::Cpu, 1).unwrap();
    let initial = values.iter().map(|(n, v)| (n.clone(), v.iter().map(|&x| x as f32).collect())).collect();
    let mut kept = Values::new(&program, &initial, executor.device()).unwrap();
    let integers: BTreeMap<&str, Vec<i32>> =
        values.iter().map(|(name, value)| (name.as_str(), value.iter().map(|&x| x as i32).collect())).collect();
    let array = |name: &str, shape| Array::integers(shape, &integers[name]);
    let inputs = Inputs::new(program.inputs().map(|input| (input.name.as_str(), array(&input.name, &input.shape))));
    let mut results = vec![None; graph.len()];
    let mut observe = |id: BufferId, numbers: &[f32]| results[id.index()] = Some(numbers.to_vec());
    executor.run_observed(&program, &mut kept, &inputs, &mut observe).unwrap();
    results
}

/// Whether the CPU computes it by functions that are ours, or exact.
fn is_ours(expression: &Expression) -> bool {
    match expression {
        Expression::Operand(_) | Expression::Number(_) | Expression::PerChannel(_) => true,
        Expression::Log(_) | Expression::Sin(_) | Expression::Cos(_) | Expression::Log1p(_) | Expression::Pow(_) => {
            false
        }
        Expression::Neg(a) | Expression::Sqrt(a) | Expression::Exp(a) | Expression::Tanh(a) => is_ours(a),
        Expression::Erf(a) | Expression::Floor(a) | Expression::Round(a) => is_ours(a),
        Expression::Add(ab) | Expression::Sub(ab) | Expression::Mul(ab) | Expression::Div(ab) => ab.iter().all(is_ours),
        Expression::Fma(abc) => abc.iter().all(is_ours),
        Expression::Uniform(_, ab) => ab.iter().all(is_ours),
        Expression::Less(abcd) | Expression::AtMost(abcd) => abcd.iter().all(is_ours),
    }
}

/// The chain of a sample's operator, if it is elementwise.
fn chain(sample: &Sample, y: NodeId) -> Option<Chain> {
    let graph = &sample.graph;
    let facts = graph.facts(y);
    let Form::Map(expression) = &facts.form else { return None };
    let by_channel = (0..graph.operands(y).len()).any(|k| facts.reads.of(k) == Read::Channel);
    // The CPU computes a normalisation's factors in FP64 first.
    if !facts.is_elementwise() || !is_ours(expression) || by_channel {
        return None;
    }
    let input = |(k, &id): (usize, &NodeId)| ChainInput {
        elements: Elements::new(graph.ty(id).dtype, Format::FP32, true),
        read: match facts.reads.of(k) {
            Read::Channel => ChainRead::Channel,
            Read::Scalar => ChainRead::Scalar,
            _ => ChainRead::Each,
        },
    };
    let inputs: Vec<ChainInput> = graph.operands(y).iter().enumerate().map(input).collect();
    let part = ChainPart {
        expression: expression.clone(),
        operands: (0..inputs.len()).map(ChainOperand::Input).collect(),
        rounding: None,
        stored: Some(Elements::new(graph.ty(y).dtype, Format::FP32, true)),
    };
    Some(Chain { inputs, parts: vec![part] })
}

fn bytes(numbers: &[f64], elements: Elements) -> Vec<u8> {
    match elements {
        Elements::I32 => numbers.iter().flat_map(|&x| (x as i32).to_ne_bytes()).collect(),
        Elements::Bytes => numbers.iter().map(|&x| x as u8).collect(),
        Elements::Fp32 | Elements::Codes(_) => numbers.iter().flat_map(|&x| (x as f32).to_ne_bytes()).collect(),
    }
}

#[test]
fn every_elementwise_operator_has_the_bits_of_the_cpu() {
    let samples = Op::all_samples().into_iter().flat_map(|(name, all)| all.into_iter().map(move |s| (name, s)));
    let mut cases = Vec::new();
    for (name, sample) in samples {
        let y = sample.graph.output("y").unwrap();
        if let Some(chain) = chain(&sample, y) {
            let kernel = chain.kernel(&format!("{name}_{}", cases.len()));
            cases.push((name, sample, y, chain, kernel));
        }
    }
    let kernels: Vec<Kernel> = cases.iter().map(|(.., kernel)| kernel.clone()).collect();
    let mut module = Module::compile(&file(&kernels)).unwrap();
    let mut compared = Vec::new();
    for (name, sample, y, chain, kernel) in &cases {
        let graph = &sample.graph;
        let values = values(sample);
        let Some(mut expected) = on_cpu(graph, &values)[y.index()].clone() else { continue };
        if graph.ty(*y).dtype != DType::F32 {
            // Whole numbers have one zero.
            expected.iter_mut().for_each(|x| *x += 0.0);
        }
        let source = |&id: &NodeId| values[graph.op(id).source_name().unwrap()].clone();
        let numbers = graph.operands(*y).iter().map(source).zip(&chain.inputs);
        let inputs: Vec<Vec<u8>> = numbers.map(|(numbers, input)| bytes(&numbers, input.elements)).collect();
        let shape = graph.ty(*y).shape.at(1);
        let (batch, channels) = (shape.first().map_or(1, |&n| n), shape.get(1).map_or(1, |&n| n));
        let shape = [batch, channels, shape.iter().skip(2).product()];
        let per_channel = |(_, position): (usize, usize)| {
            let shape = graph.ty(graph.operands(*y)[position]).shape.at(1);
            shape.iter().product::<usize>() / shape.get(1).copied().unwrap_or(1)
        };
        let sizes: Vec<usize> = chain.sizes().into_iter().map(per_channel).collect();
        let (results, _) = run(&mut module, (chain, kernel), (shape, &sizes), &inputs);
        let found: Vec<f32> = match graph.ty(*y).dtype {
            DType::F32 => results[0].chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect(),
            DType::I32 => {
                results[0].chunks_exact(4).map(|x| i32::from_ne_bytes(x.try_into().unwrap()) as f32).collect()
            }
            DType::Bool | DType::Index8 => results[0].iter().map(|&x| f32::from(x)).collect(),
        };
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "{name}: {found:?}, not {expected:?}\n{}", kernel.text);
        compared.push(*name);
    }
    compared.dedup();
    assert!(compared.len() >= 25, "{compared:?}");
}

/// Formats of each encoding, with one and two bytes.
const FORMATS: [Format; 7] = [
    Format::PAPER_HIGH,
    Format::PAPER_LOW_FORWARD,
    Format::PAPER_LOW_BACKWARD,
    Format::BF16,
    Format::FP16,
    Format::E4M3,
    Format::E5M2,
];

fn codes(format: Format, overflow: Overflow, x: &[f32]) -> Vec<u8> {
    if format.bytes() == 1 {
        let mut codes = vec![0; x.len()];
        pack_u8(format, overflow, x, &mut codes).unwrap();
        return codes;
    }
    let mut codes = vec![0; x.len()];
    pack_u16(format, overflow, x, &mut codes).unwrap();
    codes.iter().flat_map(|code| code.to_ne_bytes()).collect()
}

/// Rounds, packs and counts what is read from another format: `y = x`, and `z = y + y` from the rounded `y`.
#[test]
fn rounding_packing_and_counting_have_the_bits_of_the_cpu() {
    let part = |expression, operand, format, overflow| ChainPart {
        expression,
        operands: vec![operand],
        rounding: Some((format, overflow, true)),
        stored: Some(Elements::Codes(format)),
    };
    let twice = Expression::Add(Box::new([Expression::Operand(0), Expression::Operand(0)]));
    let mut cases = Vec::new();
    for (i, &from) in FORMATS.iter().chain(&[Format::FP32]).enumerate() {
        for (j, &to) in FORMATS.iter().enumerate() {
            let overflow = if (i + j) % 2 == 0 { Overflow::Saturate } else { Overflow::NotFinite };
            let chain = Chain {
                inputs: vec![ChainInput { elements: Elements::new(DType::F32, from, true), read: ChainRead::Each }],
                parts: vec![
                    part(Expression::Operand(0), ChainOperand::Input(0), to, overflow),
                    part(twice.clone(), ChainOperand::Part(0), FORMATS[(i + j) % 7], overflow),
                ],
            };
            let kernel = chain.kernel(&format!("cast_{i}_{j}"));
            cases.push((from, to, overflow, chain, kernel));
        }
    }
    let kernels: Vec<Kernel> = cases.iter().map(|(.., kernel)| kernel.clone()).collect();
    let mut module = Module::compile(&file(&kernels)).unwrap();
    // Numbers of all magnitudes, ties, and what is no number; not a multiple of four of them.
    let mut x: Vec<f32> = (0..1u32 << 12).map(|leading| f32::from_bits(leading << 20 | leading << 7)).collect();
    x.extend(numbers(1003, 5));
    for (from, to, overflow, chain, kernel) in &cases {
        let stored = match *from {
            Format::FP32 => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
            from => codes(from, Overflow::NotFinite, &x),
        };
        let (results, counters) = run(&mut module, (chain, kernel), ([1, 1, x.len()], &[]), &[stored]);
        let mut y = x.clone();
        if *from != Format::FP32 {
            let infinite = |x: &f32| x.is_infinite() && !matches!(*from, Format::BF16 | Format::FP16 | Format::E5M2);
            Rounder::new(*from, Overflow::NotFinite).round_slice(&mut y);
            y.iter_mut().filter(|x| infinite(x)).for_each(|x| *x = f32::NAN);
        }
        let next = chain.parts[1].rounding.unwrap().0;
        assert_eq!(results[0], codes(*to, *overflow, &y), "{from} to {to}");
        let first = Rounder::new(*to, *overflow).round_slice(&mut y);
        let mut z: Vec<f32> = y.iter().map(|y| y + y).collect();
        assert_eq!(results[1], codes(next, *overflow, &z), "{to} to {next}");
        let second = Rounder::new(next, *overflow).round_slice(&mut z);
        let expected = [first, second].map(|counts| [counts.overflow, counts.underflow, counts.not_finite]);
        assert_eq!(counters, expected.concat(), "{from} to {to} to {next}");
    }
}

/// Channels are found for every shape, and whole vectors are read where they are.
#[test]
fn channels_are_those_of_the_element() {
    let chain = Chain {
        inputs: [ChainRead::Each, ChainRead::Channel]
            .map(|read| ChainInput { elements: Elements::Fp32, read })
            .to_vec(),
        parts: vec![ChainPart {
            expression: Expression::Add(Box::new([Expression::Operand(0), Expression::Operand(1)])),
            operands: vec![ChainOperand::Input(0), ChainOperand::Input(1)],
            rounding: None,
            stored: Some(Elements::Fp32),
        }],
    };
    let kernel = chain.kernel("channels");
    let mut module = Module::compile(&file(std::slice::from_ref(&kernel))).unwrap();
    for shape in
        [[3, 5, 7], [1, 1, 1], [2, 3, 1], [1, 1, 9000], [1, 2, 5000], [5, 1, 3], [700, 3, 4], [2, 1, 1], [3, 2, 1]]
    {
        let [n, c, inner] = shape;
        let x: Vec<f32> = (0..n * c * inner).map(|i| i as f32).collect();
        let bias: Vec<f32> = (0..c).map(|c| 0.25 * c as f32).collect();
        let stored = |x: &[f32]| x.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>();
        let (results, _) = run(&mut module, (&chain, &kernel), (shape, &[]), &[stored(&x), stored(&bias)]);
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + bias[i / inner % c]).collect();
        assert_eq!(results[0], stored(&expected), "{shape:?}");
    }
}
