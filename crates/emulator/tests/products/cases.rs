//! Cases of products: sizes, operands, what is expected.

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, ConvSizes, Elements, Epilogue, Kernel, Pass, Precision,
    Product, packed,
};
use bitbudget_emulator::{Launch, Machine, Memory, Module, Outcome, launch};
use bitbudget_formats::{Counts, Format, Overflow, Rounder, pack_u8, pack_u16, unpack_u8};
use bitbudget_ir::{DType, Expression};
use fastrand::Rng;

/// Formats that BF16, FP16, TF32 and none of them hold.
const FORMATS: [Format; 8] = [
    Format::PAPER_LOW_FORWARD,
    Format::FP16,
    Format::PAPER_LOW_BACKWARD,
    Format::PAPER_HIGH,
    Format::BF16,
    Format::FP32,
    Format::E4M3,
    Format::E5M2,
];

/// The bytes of numbers that a format holds.
fn stored(elements: Elements, x: &[f32]) -> Vec<u8> {
    match elements {
        Elements::Codes(format) if format.bytes() == 1 => {
            let mut codes = vec![0; x.len()];
            pack_u8(format, Overflow::NotFinite, x, &mut codes).unwrap();
            codes
        }
        Elements::Codes(format) => {
            let mut codes = vec![0; x.len()];
            pack_u16(format, Overflow::NotFinite, x, &mut codes).unwrap();
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
pub(crate) struct Case {
    pub(crate) sizes: ConvSizes,
    pub(crate) product: Product,
    pub(crate) operands: [Vec<f32>; 2],
    /// What is multiplied with the channels of the input before they are rectified and rounded, if the kernel does that.
    factors: Option<Vec<f32>>,
    /// What is added to the output's channels.
    bias: Option<Vec<f32>>,
}

/// What a kernel came to.
pub(crate) struct Tried {
    pub(crate) result: Vec<u8>,
    pub(crate) counts: Counts,
    pub(crate) turns_are_left: bool,
    pub(crate) outcome: Outcome,
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

/// The elements of input, weights and output.
fn elements_of(s: &ConvSizes) -> [usize; 3] {
    let input = s.batch * s.height * s.width * s.channels;
    let weights = s.out_channels * s.kernel[0] * s.kernel[1] * s.channels / s.groups;
    [input, weights, s.batch * s.out_height * s.out_width * s.out_channels].map(|elements| s.count * elements)
}

pub(crate) fn case(rng: &mut Rng, pass: Pass, largest: usize) -> Case {
    let format = FORMATS[rng.usize(..FORMATS.len())];
    let elements = Elements::new(DType::F32, format, true);
    let kernel = [rng.usize(1..4), rng.usize(1..4)];
    let (strides, dilations) = ([rng.usize(1..3), rng.usize(1..3)], [rng.usize(1..3), rng.usize(1..3)]);
    let pads = [rng.usize(..2), rng.usize(..2)];
    let reach = |d: usize| dilations[d] * (kernel[d] - 1) + 1;
    let (height, width) = (rng.usize(reach(0)..reach(0) + 9), rng.usize(reach(1)..reach(1) + 9));
    let out = |size: usize, d: usize| (size + 2 * pads[d] - reach(d)) / strides[d] + 1;
    let groups = if rng.bool() { 1 } else { rng.usize(1..5) };
    let share = if rng.bool() { 8 * rng.usize(1..largest / 8 + 1) } else { rng.usize(1..largest) };
    let channels = groups * share;
    let sizes = ConvSizes {
        batch: rng.usize(1..4),
        height,
        width,
        channels,
        out_height: out(height, 0),
        out_width: out(width, 1),
        out_channels: groups * rng.usize(1..largest * 3 / groups + 1),
        kernel,
        strides,
        dilations,
        pads,
        groups,
        count: 1,
    };
    let (is_matrices, is_pointwise) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
    let one = [1, 1];
    let of_pixels = ConvSizes {
        out_height: height,
        out_width: width,
        kernel: one,
        strides: one,
        dilations: one,
        pads: [0, 0],
        ..sizes
    };
    let sizes = match is_matrices {
        false if is_pointwise => of_pixels,
        true => ConvSizes::matrices(rng.usize(1..5), rng.usize(1..200), rng.usize(1..largest * 3), share),
        false => sizes,
    };
    let [input, weights, gradient] = elements_of(&sizes);
    let mut numbers = |count: usize| rounded(format, (0..count).map(|_| rng.f32() * 4.0 - 2.0).collect());
    let (input, weights, gradient) = (numbers(input), numbers(weights), numbers(gradient));
    let bias = numbers(sizes.out_channels);
    let is_scaled = rng.bool() && pass != Pass::GradInput && !is_matrices;
    let to = [Format::PAPER_LOW_FORWARD, Format::BF16, Format::PAPER_HIGH][rng.usize(..3)];
    let overflow = if rng.bool() { Overflow::Saturate } else { Overflow::NotFinite };
    let read = || if is_scaled { scaled(elements, format) } else { plain(elements) };
    let (operands, chains) = match pass {
        Pass::Forward => ([input, weights], [read(), plain(elements)]),
        Pass::GradInput => ([gradient, weights], [plain(elements), plain(elements)]),
        Pass::GradWeight => ([gradient, input], [plain(elements), read()]),
    };
    let precision = Precision::of(format, format);
    let mut product = Product::new(pass, chains, precision, Epilogue::counted(to, overflow), &sizes);
    product.is_long |= rng.u8(..4) == 0;
    let bias = Some(bias).filter(|_| pass == Pass::Forward && rng.bool());
    if bias.is_some() {
        product = product.with_bias(elements);
    }
    let factors = is_scaled.then(|| (0..channels).map(|c| 0.5 + (c * 7 % 16) as f32 / 8.0).collect());
    Case { sizes, product, operands, factors, bias }
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

    /// The elements of the result.
    fn results(&self) -> usize {
        let [input, weights, output] = elements_of(&self.sizes);
        match self.product.pass {
            Pass::Forward => output,
            Pass::GradInput => input,
            Pass::GradWeight => weights,
        }
    }

    /// Each sum in FP64, and the sum of the magnitudes of its products.
    pub(crate) fn expected(&self) -> Vec<(f64, f64)> {
        let (s, pass, [first, second]) = (&self.sizes, self.product.pass, self.multiplied());
        let bias = |i: usize| self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[i % s.out_channels]));
        let mut sums: Vec<(f64, f64)> = (0..self.results()).map(|i| (bias(i), bias(i).abs())).collect();
        let (share, out_share) = (s.channels / s.groups, s.out_channels / s.groups);
        // Several products have images of their own.
        for out in 0..s.count * s.batch * s.out_height * s.out_width {
            let (n, y, x) = (out / s.out_width / s.out_height, out / s.out_width % s.out_height, out % s.out_width);
            let filters = n / s.batch * s.out_channels;
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
                    for c in 0..share {
                        let input = pixel * s.channels + m / out_share * share + c;
                        let weight = ((filters + m) * s.kernel[0] * s.kernel[1] + tap) * share + c;
                        let output = out * s.out_channels + m;
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

    /// The stored results, and the counters, of a kernel without faults.
    pub(crate) fn run(
        &self,
        module: &mut Module,
        product: &Product,
        kernel: &Kernel,
        machine: &Machine,
    ) -> (Vec<u8>, Counts) {
        let tried = self.tried(module, product, kernel, machine);
        let (pass, s) = (product.pass, &self.sizes);
        assert!(tried.outcome.faults.is_empty(), "{pass:?} {s:?}: {}", tried.outcome.faults[0]);
        assert!(!tried.turns_are_left, "{pass:?} {s:?}: turns are left");
        (tried.result, tried.counts)
    }

    /// Runs a kernel.
    pub(crate) fn tried(&self, module: &mut Module, product: &Product, kernel: &Kernel, machine: &Machine) -> Tried {
        let (s, pass) = (&self.sizes, product.pass);
        let mut memory = Memory::default();
        let mut addresses = Vec::new();
        for (side, operand) in product.sides.iter().zip(&self.operands) {
            addresses.push(memory.put(&stored(side.chain.inputs[0].elements, operand)));
            if side.chain.inputs.len() > 1 {
                addresses.extend(self.factors.as_ref().map(|factors| memory.put(&stored(Elements::Fp32, factors))));
            }
        }
        addresses.extend(
            self.bias.as_ref().map(|bias| memory.put(&stored(product.sides[1].chain.inputs[0].elements, bias))),
        );
        let result = memory.reserve(self.results() * product.epilogue.elements.width() as usize / 8);
        let counters = memory.put(&[0; 24]);
        addresses.push(result);
        let turns_at = memory.put(&vec![0; 4 * s.turns(pass)]);
        let workspace = [memory.reserve(s.workspace(pass)), turns_at];
        let call = Launch {
            kernel: &kernel.name,
            blocks: s.blocks(pass),
            threads: kernel.threads,
            shared: product.shared(),
            arguments: &packed(&s.arguments(pass, &addresses, counters, workspace)),
        };
        let outcome = launch(module, &mut memory, &call, machine).unwrap();
        let turns_are_left = memory.get(turns_at).unwrap().iter().any(|&byte| byte != 0);
        let counters = memory.get(counters).unwrap();
        let counter = |i: usize| u64::from_ne_bytes(counters[8 * i..8 * i + 8].try_into().unwrap());
        let counts = Counts { overflow: counter(0), underflow: counter(1), not_finite: counter(2) };
        Tried { result: memory.get(result).unwrap(), counts, turns_are_left, outcome }
    }
}

/// The gradient of weights in several parts, whose steps are several too.
pub(crate) fn in_parts() -> Case {
    let sizes = ConvSizes {
        batch: 8,
        height: 20,
        width: 16,
        channels: 8,
        out_height: 20,
        out_width: 16,
        out_channels: 24,
        kernel: [3, 3],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1],
        groups: 1,
        count: 1,
    };
    let (format, elements) = (Format::PAPER_LOW_FORWARD, Elements::Codes(Format::PAPER_LOW_FORWARD));
    let mut rng = Rng::with_seed(3);
    let mut numbers = |count: usize| rounded(format, (0..count).map(|_| rng.f32() * 4.0 - 2.0).collect());
    let operands = [numbers(8 * 20 * 16 * 24), numbers(8 * 20 * 16 * 8)];
    let epilogue = Epilogue::counted(Format::BF16, Overflow::Saturate);
    let chains = [plain(elements), plain(elements)];
    let product = Product::new(Pass::GradWeight, chains, Precision::Bf16, epilogue, &sizes);
    Case { sizes, product, operands, factors: None, bias: None }
}

/// A product with the unit matrix, of eight channels, of which the first one of pixel `i` is the code `i` of a format of 8 bits.
pub(crate) fn every_code(format: Format) -> Case {
    let elements = Elements::Codes(format);
    let sizes = ConvSizes {
        batch: 1,
        height: 1,
        width: 256,
        channels: 8,
        out_height: 1,
        out_width: 256,
        out_channels: 8,
        kernel: [1, 1],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0, 0],
        groups: 1,
        count: 1,
    };
    let mut numbers = vec![0.0; 256];
    unpack_u8(format, &(0..=255).collect::<Vec<u8>>(), &mut numbers).unwrap();
    let input = (0..256 * 8).map(|i| if i % 8 == 0 { numbers[i / 8] } else { 0.0 }).collect();
    let weights = (0..64).map(|i| f32::from(u8::from(i % 9 == 0))).collect();
    let weight = Elements::Codes(Format::BF16);
    let product =
        Product::new(Pass::Forward, [plain(elements), plain(weight)], Precision::Bf16, Epilogue::FP32, &sizes);
    Case { sizes, product, operands: [input, weights], factors: None, bias: None }
}
