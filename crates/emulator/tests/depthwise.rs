//! Convolutions of each channel by itself, and their gradients, against loops in FP64.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, Depthwise, DepthwiseSizes, Elements, Epilogue, Parts, Pass,
    PoolSizes, Statistic, file, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Format, Overflow, Rounder, pack_u8};
use bitbudget_ir::Expression;
use bitbudget_ir::ops::Window;
use fastrand::Rng;
use std::collections::BTreeMap;

const FORMAT: Format = Format::PAPER_LOW_FORWARD;

/// What is read: stored codes, rectified where the kernel does that.
fn chain(is_rectified: bool) -> Chain {
    let (x, zero) = (Expression::Operand(0), Expression::Number(0.0));
    let rectified = Expression::AtMost(Box::new([x.clone(), zero.clone(), zero, x.clone()]));
    let part = ChainPart {
        expression: if is_rectified { rectified } else { x },
        operands: vec![ChainOperand::Input(0)],
        rounding: None,
        stored: None,
    };
    Chain { inputs: vec![ChainInput { elements: Elements::Codes(FORMAT), read: ChainRead::Each }], parts: vec![part] }
}

struct Case {
    sizes: DepthwiseSizes,
    of: Depthwise,
    is_rectified: bool,
    name: String,
}

fn case(rng: &mut Rng) -> Case {
    let window = Window {
        kernel: [rng.usize(1..5), rng.usize(1..5)],
        strides: [rng.usize(1..3), rng.usize(1..3)],
        pads_begin: [rng.usize(..2), rng.usize(..2)],
        pads_end: [rng.usize(..2), rng.usize(..2)],
        dilations: [rng.usize(1..3), rng.usize(1..3)],
        ceil: false,
    };
    let input = [rng.usize(8..20), rng.usize(8..20)];
    let output = window.output(input).unwrap();
    let channels = if rng.bool() { 4 * rng.usize(1..40) } else { rng.usize(1..30) };
    let sizes = DepthwiseSizes(PoolSizes { batch: rng.usize(1..4), channels, input, output, window });
    let pass = [Pass::Forward, Pass::GradInput, Pass::GradWeight][rng.usize(..3)];
    let is_rectified = rng.bool();
    let of = Depthwise::new(pass, [chain(is_rectified), chain(false)], Epilogue::FP32, &sizes);
    let name = format!("depthwise_{pass:?}_{is_rectified}_{}", of.is_aligned);
    Case { sizes, of, is_rectified, name }
}

/// For each output pixel, channel and tap in the image: the places in input, weights and output.
fn products(sizes: &DepthwiseSizes, mut f: impl FnMut(usize, usize, usize)) {
    let PoolSizes { batch, channels, input, output, window } = sizes.0;
    for n in 0..batch {
        for at in 0..output[0] * output[1] * window.kernel[0] * window.kernel[1] {
            let (tap, pixel) = (at % (window.kernel[0] * window.kernel[1]), at / (window.kernel[0] * window.kernel[1]));
            let o = [pixel / output[1], pixel % output[1]];
            let k = [tap / window.kernel[1], tap % window.kernel[1]];
            let place = [0, 1]
                .map(|d| (o[d] * window.strides[d] + k[d] * window.dilations[d]).wrapping_sub(window.pads_begin[d]));
            if (0..2).any(|d| place[d] >= input[d]) {
                continue;
            }
            for c in 0..channels {
                let x = ((n * input[0] + place[0]) * input[1] + place[1]) * channels + c;
                let w = c * window.kernel[0] * window.kernel[1] + tap;
                f(x, w, ((n * output[0] + o[0]) * output[1] + o[1]) * channels + c);
            }
        }
    }
}

#[test]
fn convolutions_of_single_channels_are_right() {
    let mut rng = Rng::with_seed(21);
    let cases: Vec<Case> = (0..bitbudget_testkit::cases(150)).map(|_| case(&mut rng)).collect();
    let mut kernels: BTreeMap<&str, _> =
        cases.iter().map(|case| (case.name.as_str(), case.of.kernel(&case.name))).collect();
    let parts = Parts { statistic: Statistic::Sums(1), results: vec![Epilogue::FP32] };
    kernels.insert("parts", parts.kernel("parts"));
    let mut module = Module::compile(&file(&kernels.into_values().collect::<Vec<_>>())).unwrap();
    let machine = Machine { tensor_core: TensorCore::HOPPER, resident: 2, seed: 4, records_traffic: false };
    for Case { sizes, of, is_rectified, name } in &cases {
        let place = format!("{name} {sizes:?}");
        let PoolSizes { batch, channels, input, output, window } = sizes.0;
        let counts = [
            batch * channels * input[0] * input[1],
            channels * window.kernel[0] * window.kernel[1],
            batch * channels * output[0] * output[1],
        ];
        let mut tensors = counts.map(|count| {
            let mut x: Vec<f32> = (0..count).map(|_| rng.f32() * 4.0 - 2.0).collect();
            Rounder::new(FORMAT, Overflow::Saturate).round_slice(&mut x);
            x
        });
        let stored = tensors.clone().map(|x| {
            let mut codes = vec![0; x.len()];
            pack_u8(FORMAT, Overflow::Saturate, &x, &mut codes).unwrap();
            codes
        });
        let [read, other, result] = match of.pass {
            Pass::Forward => [0, 1, 2],
            Pass::GradInput => [2, 1, 0],
            Pass::GradWeight => [0, 2, 1],
        };
        if *is_rectified {
            tensors[read].iter_mut().for_each(|x| *x = x.max(0.0));
        }
        let mut expected = vec![0.0; counts[result]];
        products(sizes, |x, w, y| {
            let at = [x, w, y];
            let product = f64::from(tensors[read][at[read]]) * f64::from(tensors[other][at[other]]);
            expected[at[result]] += product;
        });
        let mut memory = Memory::default();
        let part_sizes = sizes.part_sizes();
        let addresses = [memory.put(&stored[read]), memory.put(&stored[other])];
        let out = memory.reserve(4 * counts[result]);
        let workspace = memory.reserve(part_sizes.workspace(Statistic::Sums(1)));
        let to = if of.pass == Pass::GradWeight { workspace } else { out };
        let arguments = packed(&sizes.arguments(of.pass, &[addresses[0], addresses[1], to], 0));
        let (blocks, shared) = (sizes.blocks(of.pass), sizes.shared(of.pass));
        let mut run = |kernel: &str, blocks, shared, arguments: &[u8]| {
            let call = Launch { kernel, blocks, threads: 256, shared, arguments };
            let outcome = launch(&mut module, &mut memory, &call, &machine).unwrap();
            assert!(outcome.faults.is_empty(), "{place}: {}", outcome.faults[0]);
        };
        run(name, blocks, shared, &arguments);
        if of.pass == Pass::GradWeight {
            run("parts", part_sizes.blocks(), 0, &packed(&part_sizes.arguments(workspace, &[out], 0)));
        }
        let found = memory.get(out).unwrap();
        let found = found.chunks_exact(4).map(|x| f64::from(f32::from_ne_bytes(x.try_into().unwrap())));
        for (i, (found, expected)) in found.zip(expected).enumerate() {
            assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{place} {i}: {found}, not {expected}");
        }
    }
}
