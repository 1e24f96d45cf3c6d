//! Functions of rows against FP64.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Elements, Epilogue, Kernel, RowFunction, RowSizes, Rows,
    file, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Counts, Format, Overflow, Rounder, pack_u8};
use bitbudget_ir::{Array, Expression, Op, Real, Shape, ops};
use bitbudget_testkit::numbers;
use std::collections::BTreeMap;

const MACHINE: Machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 9, records_traffic: false };

/// How the first operand is stored, and the results where they are not FP32.
const FORMAT: Format = Format::PAPER_LOW_FORWARD;
const STORED: Format = Format::PAPER_LOW_BACKWARD;

/// Around the numbers of elements that a warp and a block hold, multiples of four and others.
const SIZES: [(usize, usize); 13] = [
    (1, 1),
    (5, 3),
    (9, 10),
    (17, 64),
    (8, 127),
    (3, 129),
    (3, 1000),
    (2, 1024),
    (2, 1025),
    (1, 4096),
    (1, 8191),
    (2, 8193),
    (1, 9001),
];

/// A kernel reads operand `i` of the function as `reads[i]` says.
fn chain(reads: &[ChainRead]) -> Chain {
    let elements = |i: usize, read| match (i, read) {
        (_, ChainRead::Row) => Elements::I32,
        (0, ChainRead::Each) => Elements::Codes(FORMAT),
        _ => Elements::Fp32,
    };
    let part = |i| ChainPart {
        expression: Expression::Operand(0),
        operands: vec![ChainOperand::Input(i)],
        rounding: None,
        stored: None,
    };
    Chain {
        inputs: reads.iter().enumerate().map(|(i, &read)| ChainInput { elements: elements(i, read), read }).collect(),
        parts: (0..reads.len()).map(part).collect(),
    }
}

/// The kernels that sizes need, each once.
struct Kernels {
    all: BTreeMap<String, (Rows, Kernel)>,
}

impl Kernels {
    fn name(function: &str, rows: &Rows) -> String {
        format!("{function}_{:?}_{}_{}", rows.reach, rows.is_aligned, rows.epilogue.elements.width())
    }

    fn add(&mut self, function: &str, rows: Rows) {
        let name = Kernels::name(function, &rows);
        let kernel = rows.kernel(&name);
        self.all.insert(name, (rows, kernel));
    }

    fn module(&self) -> Module {
        Module::compile(&file(&self.all.values().map(|(_, kernel)| kernel.clone()).collect::<Vec<_>>())).unwrap()
    }
}

fn results(module: &mut Module, rows: &Rows, name: &str, sizes: &RowSizes, operands: &[Vec<u8>]) -> (Vec<u8>, Counts) {
    let mut memory = Memory::default();
    let mut addresses: Vec<_> = operands.iter().map(|bytes| memory.put(bytes)).collect();
    let per_row = if rows.function.is_number { 1 } else { sizes.length };
    let result = memory.reserve(sizes.rows * per_row * rows.epilogue.elements.width() as usize / 8);
    addresses.push(result);
    let counters = memory.put(&[0; 24]);
    let arguments = packed(&sizes.arguments(&addresses, counters));
    let (blocks, shared) = (sizes.blocks(), rows.shared());
    let call = Launch { kernel: name, blocks, threads: 256, shared, arguments: &arguments };
    let outcome = launch(module, &mut memory, &call, &MACHINE).unwrap();
    assert!(outcome.faults.is_empty(), "{name} {sizes:?}: {}", outcome.faults[0]);
    let counters = memory.get(counters).unwrap();
    let count = |i: usize| u64::from_ne_bytes(counters[8 * i..8 * i + 8].try_into().unwrap());
    let counts = Counts { overflow: count(0), underflow: count(1), not_finite: count(2) };
    (memory.get(result).unwrap(), counts)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect()
}

fn bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

fn packed_in(format: Format, x: &[f32]) -> Vec<u8> {
    let mut codes = vec![0; x.len()];
    pack_u8(format, Overflow::Saturate, x, &mut codes).unwrap();
    codes
}

/// Results are off by roundings of sums, whose terms are as large as the largest result of all.
fn assert_near(found: &[f32], expected: &[f64], place: &str) {
    let largest = expected.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(found) - expected).abs();
        assert!(apart <= 1e-5 * expected.abs() + 3e-6 * largest, "{place}, {i}: {found}, not {expected}");
    }
}

#[test]
fn functions_of_rows_are_right() {
    use ChainRead::{Channel, Each};
    let epsilon = Real(1e-3);
    let layer_norm = Op::from(ops::LayerNormalization { axis: 1, epsilon });
    let cases: [(&str, Op, RowFunction, &[ChainRead]); 7] = [
        ("layer_norm", layer_norm.clone(), RowFunction::layer_normalization(1e-3, true), &[Each, Channel, Channel]),
        ("without_bias", layer_norm, RowFunction::layer_normalization(1e-3, false), &[Each, Channel]),
        of("layer_norm_grad", ops::LayerNormGradInput { axis: 1, epsilon }.into(), &[Each, Each, Channel]),
        of("softmax", ops::Softmax {}.into(), &[Each]),
        of("softmax_grad", ops::SoftmaxGrad {}.into(), &[Each, Each]),
        of("log_softmax", ops::LogSoftmax {}.into(), &[Each]),
        of("log_softmax_grad", ops::LogSoftmaxGrad {}.into(), &[Each, Each]),
    ];
    let forms = [Epilogue::FP32, Epilogue::counted(STORED, Overflow::Saturate)];
    let mut kernels = Kernels { all: BTreeMap::new() };
    for (name, _, function, reads) in &cases {
        for (rows, length) in SIZES {
            for epilogue in forms {
                let sizes = RowSizes { rows, length };
                kernels.add(name, Rows::new(chain(reads), function.clone(), epilogue, &sizes));
            }
        }
    }
    let mut module = kernels.module();
    for (name, op, function, reads) in &cases {
        for (rows, length) in SIZES {
            let sizes = RowSizes { rows, length };
            let mut operands: Vec<Vec<f32>> = Vec::new();
            for (i, read) in reads.iter().enumerate() {
                let count = if *read == Each { rows * length } else { length };
                operands.push(numbers(count, i + 2).iter().map(|x| 6.0 * x).collect());
            }
            Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut operands[0]);
            let mut stored: Vec<Vec<u8>> = operands.iter().map(|x| bytes(x)).collect();
            stored[0] = packed_in(FORMAT, &operands[0]);
            let arrays: Vec<Array<f64>> = operands
                .iter()
                .zip(reads.iter())
                .map(|(x, read)| {
                    let shape = if *read == Each { vec![rows, length] } else { vec![length] };
                    Array::new(&shape, x.iter().map(|&x| f64::from(x)).collect())
                })
                .collect();
            let expected = op.evaluate(&arrays.iter().collect::<Vec<_>>(), &[rows, length]).data;
            let mut exact = Vec::new();
            for epilogue in forms {
                let of = Rows::new(chain(reads), function.clone(), epilogue, &sizes);
                let name = Kernels::name(name, &of);
                let (result, counts) = results(&mut module, &of, &name, &sizes, &stored);
                match epilogue.rounding {
                    None => {
                        exact = floats(&result);
                        assert_near(&exact, &expected, &format!("{name} {sizes:?}"));
                    }
                    Some((format, overflow, _)) => {
                        assert_eq!(result, packed_in(format, &exact), "{name} {sizes:?}");
                        assert_eq!(counts, Rounder::new(format, overflow).round_slice(&mut exact), "{name} {sizes:?}");
                    }
                }
            }
        }
    }
}

fn of<'n>(name: &'n str, op: Op, reads: &'n [ChainRead]) -> (&'n str, Op, RowFunction, &'n [ChainRead]) {
    let function = RowFunction::of(&op).unwrap();
    (name, op, function, reads)
}

/// The loss's parts of rows, the rows' weights, and the gradient; some rows have no label.
#[test]
fn losses_are_right() {
    use ChainRead::{Channel, Each, Row, Scalar};
    for (smoothing, has_weights) in [(0.0, false), (0.25, false), (0.0, true), (0.25, true)] {
        let with = |reads: &[ChainRead]| [reads, if has_weights { &[Channel][..] } else { &[] }].concat();
        let functions = [
            ("loss", RowFunction::nll_loss(smoothing, has_weights), with(&[Each, Row])),
            ("weight", RowFunction::row_weight(has_weights), with(&[Row])),
            ("gradient", RowFunction::nll_loss_grad(smoothing, has_weights), with(&[Scalar, Scalar, Row])),
        ];
        let rows_of = |i: usize, sizes: &RowSizes| {
            let (_, function, reads) = &functions[i];
            Rows::new(chain(reads), function.clone(), Epilogue::FP32, sizes)
        };
        let mut kernels = Kernels { all: BTreeMap::new() };
        for (rows, length) in SIZES {
            (0..3).for_each(|i| kernels.add(functions[i].0, rows_of(i, &RowSizes { rows, length })));
        }
        let mut module = kernels.module();
        for (rows, length) in SIZES {
            let sizes = RowSizes { rows, length };
            let mut scores: Vec<f32> = numbers(rows * length, 3).iter().map(|x| x - 2.0).collect();
            Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut scores);
            let labels: Vec<i32> =
                (0..rows).map(|row| if row % 4 == 3 { -1 } else { (row * 7919 % length) as i32 }).collect();
            let weights: Vec<f32> = numbers(length, 4).iter().map(|x| x + 1.0).collect();
            let label_bytes: Vec<u8> = labels.iter().flat_map(|x| x.to_ne_bytes()).collect();
            let with = |mut operands: Vec<Vec<u8>>| {
                operands.extend(has_weights.then(|| bytes(&weights)));
                operands
            };
            let mut run = |i: usize, operands: Vec<Vec<u8>>| {
                let of = rows_of(i, &sizes);
                floats(&results(&mut module, &of, &Kernels::name(functions[i].0, &of), &sizes, &operands).0)
            };
            let parts = run(0, with(vec![packed_in(FORMAT, &scores), label_bytes.clone()]));
            let of_rows = run(1, with(vec![label_bytes.clone()]));
            let total: f32 = of_rows.iter().sum();
            let wide = |x: &[f32], shape: &[usize]| Array::new(shape, x.iter().map(|&x| f64::from(x)).collect());
            let mut arrays = vec![
                wide(&scores, &[rows, length]),
                Array::new(&[rows], labels.iter().map(|&label| f64::from(label)).collect()),
            ];
            arrays.extend(has_weights.then(|| wide(&weights, &[length])));
            let loss = ops::NllLoss { smoothing: Real(smoothing) };
            let expected = Op::from(loss).evaluate(&arrays.iter().collect::<Vec<_>>(), &[]).data;
            assert_near(&[parts.iter().sum::<f32>() / total], &expected, &format!("{sizes:?}"));
            let gradient = run(2, with(vec![bytes(&[0.5]), bytes(&[total]), label_bytes]));
            let op = ops::NllLossGrad { shape: Shape::fixed(&[rows, length]), smoothing: Real(smoothing) };
            arrays[0] = wide(&[0.5], &[]);
            let expected = Op::from(op).evaluate(&arrays.iter().collect::<Vec<_>>(), &[rows, length]).data;
            assert_near(&gradient, &expected, &format!("{sizes:?}"));
        }
    }
}
