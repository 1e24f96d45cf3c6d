//! Convolutions and their gradients on tensor cores against sums in FP64, over random shapes and formats.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its functions too")]

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, ConvSizes, Elements, Kernel, Pass, Product, file, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, TensorCore, launch};
use bitbudget_formats::{Counts, Format, Overflow, Rounder, pack_u8, pack_u16};
use bitbudget_ir::Expression;
use fastrand::Rng;

const FORMATS: [Format; 4] = [Format::PAPER_LOW_FORWARD, Format::PAPER_LOW_BACKWARD, Format::BF16, Format::E4M3];

/// The bytes of numbers that a format holds.
fn stored(elements: Elements, x: &[f32]) -> Vec<u8> {
    match elements {
        Elements::Codes(format) if format.bytes() == 1 => {
            let mut codes = vec![0; x.len()];
            pack_u8(format, Overflow::Saturate, x, &mut codes).unwrap();
            codes
        }
        Elements::Codes(format) => {
            let mut codes = vec![0; x.len()];
            pack_u16(format, Overflow::Saturate, x, &mut codes).unwrap();
            codes.iter().flat_map(|code| code.to_ne_bytes()).collect()
        }
        _ => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
    }
}

fn rounded(format: Format, mut x: Vec<f32>) -> Vec<f32> {
    Rounder::new(format, Overflow::Saturate).round_slice(&mut x);
    x
}

/// A product's kernel and the numbers of its operands: input and weights, or the output's gradient in the place of what is computed.
struct Case {
    sizes: ConvSizes,
    product: Product,
    operands: [Vec<f32>; 2],
    /// What is multiplied with the channels of the input before they are rectified and rounded, if the kernel does that.
    factors: Option<Vec<f32>>,
}

/// An input that is read as it is.
fn plain(elements: Elements) -> Chain {
    let part = ChainPart {
        expression: Expression::Operand(0),
        operands: vec![ChainOperand::Input(0)],
        rounding: None,
        stored: None,
    };
    Chain { inputs: vec![ChainInput { elements, read: ChainRead::Each }], parts: vec![part] }
}

/// An input that is scaled by channel, rectified and rounded as it is read.
fn scaled(elements: Elements, format: Format) -> Chain {
    let x = |i| Expression::Operand(i);
    let product = Expression::Mul(Box::new([x(0), x(1)]));
    let relu =
        Expression::AtMost(Box::new([product.clone(), Expression::Number(0.0), Expression::Number(0.0), product]));
    let part = ChainPart {
        expression: relu,
        operands: vec![ChainOperand::Input(0), ChainOperand::Input(1)],
        rounding: Some((format, Overflow::Saturate, false)),
        stored: None,
    };
    let inputs = vec![
        ChainInput { elements, read: ChainRead::Each },
        ChainInput { elements: Elements::Fp32, read: ChainRead::Channel },
    ];
    Chain { inputs, parts: vec![part] }
}

fn case(rng: &mut Rng, pass: Pass, largest: usize) -> Case {
    let format = FORMATS[rng.usize(..FORMATS.len())];
    let elements = Elements::Codes(format);
    let kernel = [rng.usize(1..4), rng.usize(1..4)];
    let (strides, dilations) = ([rng.usize(1..3), rng.usize(1..3)], [rng.usize(1..3), rng.usize(1..3)]);
    let pads = [rng.usize(..2), rng.usize(..2)];
    let reach = |d: usize| dilations[d] * (kernel[d] - 1) + 1;
    let (height, width) = (rng.usize(reach(0)..reach(0) + 9), rng.usize(reach(1)..reach(1) + 9));
    let out = |size: usize, d: usize| (size + 2 * pads[d] - reach(d)) / strides[d] + 1;
    let channels = if rng.bool() { 8 * rng.usize(1..largest / 8 + 1) } else { rng.usize(1..largest) };
    let sizes = ConvSizes {
        batch: rng.usize(1..4),
        height,
        width,
        channels,
        out_height: out(height, 0),
        out_width: out(width, 1),
        out_channels: rng.usize(1..largest * 3),
        kernel,
        strides,
        dilations,
        pads,
    };
    let mut numbers = |count: usize| rounded(format, (0..count).map(|_| rng.f32() * 4.0 - 2.0).collect());
    let input = numbers(sizes.batch * height * width * channels);
    let weights = numbers(sizes.out_channels * kernel[0] * kernel[1] * channels);
    let gradient = numbers(sizes.batch * sizes.out_height * sizes.out_width * sizes.out_channels);
    let is_scaled = rng.bool() && pass != Pass::GradInput;
    let to = FORMATS[rng.usize(..FORMATS.len())];
    let overflow = if rng.bool() { Overflow::Saturate } else { Overflow::NotFinite };
    let read = || if is_scaled { scaled(elements, format) } else { plain(elements) };
    let (operands, chains) = match pass {
        Pass::Forward => ([input, weights], [read(), plain(elements)]),
        Pass::GradInput => ([gradient, weights], [plain(elements), plain(elements)]),
        Pass::GradWeight => ([gradient, input], [plain(elements), read()]),
    };
    let mut product = Product::new(pass, chains, Some((to, overflow, true)), Elements::Codes(to), &sizes);
    product.is_long |= rng.u8(..4) == 0;
    let factors = is_scaled.then(|| (0..channels).map(|c| 0.5 + c as f32 / 64.0).collect());
    Case { sizes, product, operands, factors }
}

impl Case {
    /// The numbers that are multiplied.
    fn multiplied(&self) -> [Vec<f32>; 2] {
        let mut operands = self.operands.clone();
        if let Some(factors) = &self.factors {
            let position = usize::from(self.product.pass == Pass::GradWeight);
            let format = self.product.sides[position].chain.parts[0].rounding.unwrap().0;
            let channels = self.sizes.channels;
            let of = |(i, x): (usize, &f32)| Some(x * factors[i % channels]).filter(|x| *x > 0.0).unwrap_or(0.0);
            operands[position] = rounded(format, operands[position].iter().enumerate().map(of).collect());
        }
        operands
    }

    /// Each sum in FP64, and the sum of the magnitudes of its products.
    fn expected(&self) -> Vec<(f64, f64)> {
        let (s, pass, [first, second]) = (&self.sizes, self.product.pass, self.multiplied());
        let [rows, columns, _] = s.product(pass);
        let mut sums = vec![(0.0, 0.0); rows * columns];
        for out in 0..s.batch * s.out_height * s.out_width {
            let (n, y, x) = (out / s.out_width / s.out_height, out / s.out_width % s.out_height, out % s.out_width);
            for tap in 0..s.kernel[0] * s.kernel[1] {
                let at = |out: usize, tap: usize, d: usize| {
                    (out * s.strides[d] + tap * s.dilations[d]).checked_sub(s.pads[d])
                };
                let (iy, ix) = (at(y, tap / s.kernel[1], 0), at(x, tap % s.kernel[1], 1));
                let (Some(iy), Some(ix)) = (iy, ix) else { continue };
                if iy >= s.height || ix >= s.width {
                    continue;
                }
                let pixel = (n * s.height + iy) * s.width + ix;
                for m in 0..s.out_channels {
                    for c in 0..s.channels {
                        let output = out * s.out_channels + m;
                        let (input, weight) =
                            (pixel * s.channels + c, (m * s.kernel[0] * s.kernel[1] + tap) * s.channels + c);
                        let (result, a, b) = match pass {
                            Pass::Forward => (output, input, weight),
                            Pass::GradInput => (input, output, weight),
                            Pass::GradWeight => (weight, output, input),
                        };
                        let product = f64::from(first[a]) * f64::from(second[b]);
                        sums[result].0 += product;
                        sums[result].1 += product.abs();
                    }
                }
            }
        }
        sums
    }

    /// The stored results, and the counters.
    fn run(&self, module: &mut Module, product: &Product, kernel: &Kernel, machine: &Machine) -> (Vec<u8>, Counts) {
        let (s, pass) = (&self.sizes, product.pass);
        let mut memory = Memory::default();
        let mut addresses = Vec::new();
        for (side, operand) in product.sides.iter().zip(&self.operands) {
            addresses.push(memory.put(&stored(side.chain.inputs[0].elements, operand)));
            if side.chain.inputs.len() > 1 {
                addresses.extend(self.factors.as_ref().map(|factors| memory.put(&stored(Elements::Fp32, factors))));
            }
        }
        let [rows, columns, _] = s.product(pass);
        let result = memory.reserve(rows * columns * product.stored.width() as usize / 8);
        let counters = memory.put(&[0; 24]);
        addresses.push(result);
        let [sums, turns] = s.workspace(pass);
        let turns_at = memory.put(&vec![0; turns]);
        let workspace = [memory.reserve(sums), turns_at];
        let call = Launch {
            kernel: &kernel.name,
            blocks: s.blocks(pass),
            threads: kernel.threads,
            shared: product.shared(),
            arguments: &packed(&s.arguments(pass, &addresses, counters, workspace)),
        };
        let outcome = launch(module, &mut memory, &call, machine).unwrap();
        assert!(outcome.faults.is_empty(), "{pass:?} {s:?}: {}", outcome.faults[0]);
        assert!(memory.get(turns_at).unwrap().iter().all(|&byte| byte == 0), "{pass:?} {s:?}: turns are left");
        let counters = memory.get(counters).unwrap();
        let counter = |i: usize| u64::from_ne_bytes(counters[8 * i..8 * i + 8].try_into().unwrap());
        let counts = Counts { overflow: counter(0), underflow: counter(1), not_finite: counter(2) };
        (memory.get(result).unwrap(), counts)
    }
}

/// Compiles the kernels of cases and runs each twice, storing FP32 numbers and codes.
fn check(cases: &[Case]) {
    let mut kernels = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let exact = Product { rounding: None, stored: Elements::Fp32, ..case.product.clone() };
        kernels.push((exact.kernel(&format!("exact_{i}")), exact));
        kernels.push((case.product.kernel(&format!("codes_{i}")), case.product.clone()));
    }
    let sources: Vec<Kernel> = kernels.iter().map(|(kernel, _)| kernel.clone()).collect();
    let mut module = Module::compile(&file(&sources)).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let core = if i % 2 == 0 { TensorCore::HOPPER } else { TensorCore::AMPERE };
        let machine = Machine { tensor_core: core, resident: 2, seed: i as u64, records_traffic: false };
        let (kernel, product) = &kernels[2 * i];
        let (bytes, _) = case.run(&mut module, product, kernel, &machine);
        let found: Vec<f32> = bytes.chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect();
        for (found, (sum, magnitude)) in found.iter().zip(case.expected()) {
            // Each of the products' blocks cuts off less than a unit in the last place of the largest sum.
            let tolerance = magnitude * 2f64.powi(-23) * (4.0 + case.sizes.product(product.pass)[2] as f64 / 16.0);
            let off = (f64::from(*found) - sum).abs();
            assert!(off <= tolerance, "{:?} {:?}: {found}, not {sum}", product.pass, case.sizes);
        }
        let (kernel, product) = &kernels[2 * i + 1];
        let (codes, counts) = case.run(&mut module, product, kernel, &machine);
        let (format, overflow, _) = product.rounding.unwrap();
        let mut results = found;
        let expected = match format.bytes() {
            1 => {
                let mut codes = vec![0; results.len()];
                pack_u8(format, overflow, &results, &mut codes).unwrap();
                codes
            }
            _ => {
                let mut codes = vec![0; results.len()];
                pack_u16(format, overflow, &results, &mut codes).unwrap();
                codes.iter().flat_map(|code| code.to_ne_bytes()).collect()
            }
        };
        assert_eq!(codes, expected, "{:?}", case.sizes);
        assert_eq!(counts, Rounder::new(format, overflow).round_slice(&mut results), "{:?}", case.sizes);
    }
}

fn random(pass: Pass, count: usize) {
    let mut rng = Rng::with_seed(7 + pass as u64);
    let cases: Vec<Case> = (0..count).map(|_| case(&mut rng, pass, 40)).collect();
    let aligned = |case: &Case| case.product.sides.iter().filter(|side| side.is_aligned).count();
    assert!((0..3).all(|sides| pass == Pass::Forward && sides == 1 || cases.iter().any(|case| aligned(case) == sides)));
    check(&cases);
}

#[test]
fn convolutions_of_random_shapes_and_formats_are_right() {
    random(Pass::Forward, 24);
}

#[test]
fn gradients_of_inputs_of_random_shapes_and_formats_are_right() {
    random(Pass::GradInput, 24);
}

#[test]
fn gradients_of_weights_of_random_shapes_and_formats_are_right() {
    random(Pass::GradWeight, 24);
}
