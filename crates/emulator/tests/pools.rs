//! Pooling and its gradients against the reference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Elements, Epilogue, Pool, PoolSizes, Pooling, file, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Format, Overflow, Rounder, pack_u8};
use bitbudget_ir::ops::{self, Window};
use bitbudget_ir::{Array, Expression, Op, Shape};
use fastrand::Rng;
use std::collections::BTreeMap;

const FORMAT: Format = Format::PAPER_LOW_FORWARD;

/// The numbers of `[N, C, H, W]` with channels last.
fn channels_last(x: &Array<f64>) -> Vec<f64> {
    let [n, c, h, w] = x.shape[..] else { panic!("{:?}", x.shape) };
    let at = |i: usize| x.at(&[i / (c * w * h), i % c, i / (c * w) % h, i / c % w]);
    (0..n * c * h * w).map(at).collect()
}

/// What is read: stored codes, times those of their channels where the kernel computes that.
fn chain(is_scaled: bool) -> Chain {
    let x = Expression::Operand;
    let each = ChainInput { elements: Elements::Codes(FORMAT), read: ChainRead::Each };
    let by_channel = ChainInput { elements: Elements::Fp32, read: ChainRead::Channel };
    let (inputs, expression) = if is_scaled { (vec![each, by_channel], x(0) * x(1)) } else { (vec![each], x(0)) };
    let operands = (0..inputs.len()).map(ChainOperand::Input).collect();
    Chain { inputs, parts: vec![ChainPart { expression, operands, rounding: None, stored: None }] }
}

struct Case {
    sizes: PoolSizes,
    pool: Pool,
    is_scaled: bool,
    name: String,
}

fn case(rng: &mut Rng) -> Case {
    let window = Window {
        kernel: [rng.usize(1..4), rng.usize(1..4)],
        strides: [rng.usize(1..4), rng.usize(1..4)],
        pads_begin: [rng.usize(..2), rng.usize(..2)],
        pads_end: [rng.usize(..2), rng.usize(..2)],
        dilations: [rng.usize(1..3), rng.usize(1..3)],
        ceil: rng.bool(),
    };
    let input = [rng.usize(5..12), rng.usize(5..12)];
    let extent = |d: usize| (window.kernel[d] - 1) * window.dilations[d] + 1;
    if (0..2).any(|d| window.pads_begin[d].max(window.pads_end[d]) >= extent(d)) {
        return case(rng);
    }
    let output = window.output(input).unwrap();
    let channels = if rng.bool() { 4 * rng.usize(1..4) } else { rng.usize(1..12) };
    let sizes = PoolSizes { batch: rng.usize(1..3), channels, input, output, window };
    let is_padded = rng.bool();
    let pooling = match rng.usize(..6) {
        0 => Pooling::Max { maximum: true, tap: false },
        1 => Pooling::Max { maximum: false, tap: true },
        2 => Pooling::Max { maximum: true, tap: true },
        3 => Pooling::MaxGrad,
        4 => Pooling::Average { is_padded },
        _ => Pooling::AverageGrad { is_padded },
    };
    let is_scaled = rng.bool();
    let is_rounded = rng.bool();
    let epilogue = if is_rounded { Epilogue::counted(FORMAT, Overflow::Saturate) } else { Epilogue::FP32 };
    let pool = Pool::new(chain(is_scaled), pooling, epilogue, &sizes);
    let name = format!("pool_{pooling:?}_{is_scaled}_{is_rounded}_{}", pool.is_aligned);
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Case { sizes, pool, is_scaled, name }
}

/// The operator that a kernel of pooling computes, and that of the taps.
fn operators(pooling: Pooling, sizes: &PoolSizes, channels: usize) -> (Op, Op) {
    let Window { kernel, strides, pads_begin, pads_end, dilations, ceil } = sizes.window;
    let input = Shape::fixed(&[sizes.batch, channels, sizes.input[0], sizes.input[1]]);
    let taps = ops::MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil };
    let numbers = match pooling {
        Pooling::Max { .. } => ops::MaxPool { kernel, strides, pads_begin, pads_end, dilations, ceil }.into(),
        Pooling::MaxGrad => ops::MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, input }.into(),
        Pooling::Average { is_padded } => {
            let count_include_pad = is_padded;
            ops::AveragePool { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad }.into()
        }
        Pooling::AverageGrad { is_padded } => {
            let count_include_pad = is_padded;
            ops::AveragePoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad, input }
                .into()
        }
    };
    (numbers, taps.into())
}

/// What a case's kernel reads, and what it is to write, with channels last.
struct Numbers {
    codes: Vec<u8>,
    factors: Vec<f32>,
    taps: Vec<u8>,
    expected: Vec<f64>,
}

impl Case {
    /// The shapes of what is read and of the result.
    fn shapes(&self) -> [[usize; 4]; 2] {
        let PoolSizes { batch, channels, input, output, .. } = self.sizes;
        let shape = |[h, w]: [usize; 2]| [batch, channels, h, w];
        match self.pool.pooling {
            Pooling::MaxGrad | Pooling::AverageGrad { .. } => [shape(output), shape(input)],
            Pooling::Max { .. } | Pooling::Average { .. } => [shape(input), shape(output)],
        }
    }

    fn numbers(&self, rng: &mut Rng) -> Numbers {
        let (pooling, channels, [read, result]) = (self.pool.pooling, self.sizes.channels, self.shapes());
        let (op, taps_op) = operators(pooling, &self.sizes, channels);
        // Few different numbers, so that maxima stand several times.
        let mut stored: Vec<f32> =
            (0..read.iter().product::<usize>()).map(|_| rng.u32(..9) as f32 * 0.5 - 2.0).collect();
        Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut stored);
        let factors: Vec<f32> = (0..channels).map(|c| if self.is_scaled { 0.5 + c as f32 } else { 1.0 }).collect();
        let at = |i: usize| f64::from(stored[i]) * f64::from(factors[i / (read[2] * read[3]) % channels]);
        let x = Array::new(&read, (0..stored.len()).map(at).collect());
        let plain = Array::new(&read, stored.iter().map(|&x| f64::from(x)).collect());
        let last: Vec<f32> = channels_last(&plain).into_iter().map(|x| x as f32).collect();
        let mut codes = vec![0; last.len()];
        pack_u8(FORMAT, Overflow::Saturate, &last, &mut codes).unwrap();
        let (taps, operands): (Array<f64>, Vec<&Array<f64>>) = match pooling {
            Pooling::MaxGrad => {
                let pooled = Array::new(&result, (0..result.iter().product()).map(|_| rng.f64()).collect());
                (taps_op.evaluate(&[&pooled], &read), vec![&x])
            }
            Pooling::Max { .. } => (taps_op.evaluate(&[&x], &result), vec![&x]),
            _ => (Array::zeros(&result), vec![&x]),
        };
        let expected = match pooling {
            Pooling::MaxGrad => op.evaluate(&[operands[0], &taps], &result),
            _ => op.evaluate(&operands, &result),
        };
        let tap_bytes = channels_last(&taps).into_iter().map(|tap| tap as u8).collect();
        Numbers { codes, factors, taps: tap_bytes, expected: channels_last(&expected) }
    }

    /// What the kernel writes: results, taps and counters.
    fn run(&self, module: &mut Module, numbers: &Numbers) -> [Vec<u8>; 3] {
        let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 4, records_traffic: false };
        let (pooling, [_, result]) = (self.pool.pooling, self.shapes());
        let count = result.iter().product::<usize>();
        let mut memory = Memory::default();
        let mut addresses = vec![memory.put(&numbers.codes)];
        if self.is_scaled {
            addresses.push(memory.put(&numbers.factors.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<_>>()));
        }
        if pooling == Pooling::MaxGrad {
            addresses.push(memory.put(&numbers.taps));
        }
        let out = memory.reserve(count * self.pool.epilogue.elements.width() as usize / 8);
        let taps = memory.reserve(count);
        match pooling {
            Pooling::Max { maximum, tap } => {
                addresses.extend(maximum.then_some(out));
                addresses.extend(tap.then_some(taps));
            }
            _ => addresses.push(out),
        }
        let counters = memory.put(&[0; 24]);
        let arguments = packed(&self.sizes.arguments(pooling, &addresses, counters));
        let (kernel, blocks) = (self.name.as_str(), self.sizes.blocks(pooling));
        let call = Launch { kernel, blocks, threads: 256, shared: 0, arguments: &arguments };
        let outcome = launch(module, &mut memory, &call, &machine).unwrap();
        assert!(outcome.faults.is_empty(), "{kernel} {:?}: {}", self.sizes, outcome.faults[0]);
        [out, taps, counters].map(|address| memory.get(address).unwrap())
    }
}

#[test]
fn pooling_is_right() {
    let mut rng = Rng::with_seed(11);
    let cases: Vec<Case> = (0..400).map(|_| case(&mut rng)).collect();
    let kernels: BTreeMap<&str, _> =
        cases.iter().map(|case| (case.name.as_str(), case.pool.kernel(&case.name))).collect();
    let mut module = Module::compile(&file(&kernels.into_values().collect::<Vec<_>>())).unwrap();
    for case in &cases {
        let place = format!("{} {:?}", case.name, case.sizes);
        let numbers = case.numbers(&mut rng);
        let [found, taps, counters] = case.run(&mut module, &numbers);
        let (is_maximum, has_taps) = match case.pool.pooling {
            Pooling::Max { maximum, tap } => (maximum, tap),
            _ => (true, false),
        };
        if has_taps {
            assert_eq!(taps, numbers.taps, "{place}");
        }
        if !is_maximum {
            continue;
        }
        if let Some((format, overflow, _)) = case.pool.epilogue.rounding {
            // Means are off by a rounding, which codes would show.
            if matches!(case.pool.pooling, Pooling::Max { .. } | Pooling::MaxGrad) {
                let mut expected: Vec<f32> = numbers.expected.iter().map(|&x| x as f32).collect();
                let mut codes = vec![0; expected.len()];
                pack_u8(format, overflow, &expected, &mut codes).unwrap();
                assert_eq!(found, codes, "{place}");
                let counts = Rounder::new(format, overflow).round_slice(&mut expected);
                let count = |i: usize| u64::from_ne_bytes(counters[8 * i..8 * i + 8].try_into().unwrap());
                assert_eq!([count(0), count(1)], [counts.overflow, counts.underflow], "{place}");
            }
            continue;
        }
        let found = found.chunks_exact(4).map(|x| f64::from(f32::from_ne_bytes(x.try_into().unwrap())));
        for (i, (found, expected)) in found.zip(numbers.expected).enumerate() {
            assert!((found - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{place} {i}: {found}, not {expected}");
        }
    }
}
