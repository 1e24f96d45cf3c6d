//! Prints the source of kernels of each kind, for compilers: products of each pass, precision and way to read, sums of columns, a chain,
//! functions of rows, moves, windows, slices by index, recurrent layers.
//! `cargo run -p bitbudget-cuda --example kernels`.

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, ColumnSizes, Columns, ConvSizes, Depthwise, DepthwiseSizes,
    Elements, Epilogue, Indexed, Kernel, Largest, Launch, MoveAxis, Parts, Pass, Pool, PoolSizes, Pooling, Precision,
    Product, RecurrentLayer, Rounding, RowFunction, RowSizes, Rows, Statistic, file, moved, together,
};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::ops::{self, Window};
use bitbudget_ir::{Activations, Cell, Direction, Expression, Real};

const ROUNDING: Option<Rounding> = Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, true));
const LOW: Elements = Elements::Codes(Format::PAPER_LOW_FORWARD);
const ROUNDED: Epilogue = Epilogue { rounding: ROUNDING, elements: LOW };

fn main() {
    println!("{}", file(&kernels()));
}

fn kernels() -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = products().iter().map(|(name, product)| product.kernel(name)).collect();
    for (statistic, name, count) in [(Statistic::Sums(1), "sums", 1), (Statistic::Moments, "moments", 2)] {
        for (channels, size_name) in [(64, "four"), (3, "any")] {
            let (results, sizes) = (vec![Epilogue::FP32; count], ColumnSizes { rows: 1 << 17, channels });
            let columns = Columns::new(normalised(), statistic, results, &sizes);
            kernels.push(columns.kernel(&format!("{name}_of_{size_name}")));
        }
    }
    let parts = Parts { statistic: Statistic::Sums(1), results: vec![Epilogue::FP32] };
    kernels.push(parts.kernel("sums_of_parts"));
    let mut chain = normalised();
    chain.parts[0].stored = Some(LOW);
    kernels.push(chain.kernel("chain"));
    kernels.extend(of_several(&chain));
    kernels.extend(rows());
    kernels.extend(moves());
    kernels.extend(windows());
    kernels.extend(indexed());
    kernels.extend(recurrent());
    kernels
}

/// A chain on several tensors.
fn of_several(chain: &Chain) -> Option<Kernel> {
    let arguments = chain.arguments([1, 64, 1], &vec![0; chain.inputs.len() + 1], 0, &[]);
    let one = Launch::Kernel { kernel: chain.kernel("one_chain"), blocks: 1, shared: 0, arguments };
    together(&[&one, &one]).into_iter().find_map(|launch| match launch {
        Launch::Kernel { kernel, .. } => Some(kernel),
        Launch::Zero { .. } => None,
    })
}

/// Slices by index, their sums, and the largest elements.
fn indexed() -> Vec<Kernel> {
    let slices = |sums| Indexed { sums, from: LOW, indices: Elements::I32, epilogue: ROUNDED };
    let largest = Largest { from: LOW, to: Elements::I32, last: false };
    vec![slices(false).kernel("slices"), slices(true).kernel("sums_of_slices"), largest.kernel("largest")]
}

/// Layers of each kind, and their gradients by the gates.
fn recurrent() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for cell in Cell::ALL {
        let op = ops::Recurrent {
            cell,
            direction: Direction::Bidirectional,
            activations: Activations::standard(cell, Direction::Bidirectional),
            clip: Real(0.0),
            linear_before_reset: cell == Cell::Gru,
            input_forget: false,
            bias: true,
            lengths: true,
            initial: true,
            peepholes: false,
        };
        for (by, name) in [(None, "layer"), (Some(ops::RecurrentGradient::Gates), "layer_grad")] {
            let operands = RecurrentLayer::operands(&op, by.is_some()).map(|at| at.map(|_| LOW));
            let layer = RecurrentLayer { op: op.clone(), by, operands, epilogue: ROUNDED };
            kernels.push(layer.kernel(&format!("{}_{name}", cell.name())));
        }
    }
    kernels
}

/// Functions of rows that a warp, a block, and a block over and over take.
fn rows() -> Vec<Kernel> {
    let each = ChainInput { elements: LOW, read: ChainRead::Each };
    let by_place = ChainInput { elements: Elements::Fp32, read: ChainRead::Channel };
    let functions = [
        ("softmax", RowFunction::of(&ops::Softmax {}.into()), vec![each]),
        ("layer_norm", Some(RowFunction::layer_normalization(1e-5, true)), vec![each, by_place, by_place]),
        (
            "layer_norm_grad",
            RowFunction::of(&ops::LayerNormGradInput { axis: 1, epsilon: Real(1e-5) }.into()),
            vec![each, each, by_place],
        ),
    ];
    let mut kernels = Vec::new();
    for (name, function, inputs) in functions {
        let Some(function) = function else { continue };
        for (size, length) in [("warp", 768), ("block", 4096), ("far", 50_000)] {
            let parts = (0..inputs.len()).map(as_read).collect();
            let chain = Chain { inputs: inputs.clone(), parts };
            let rows = Rows::new(chain, function.clone(), ROUNDED, &RowSizes { rows: 1 << 14, length });
            kernels.push(rows.kernel(&format!("{name}_of_{size}")));
        }
    }
    kernels
}

/// Slices, permutations and transpositions.
fn moves() -> Vec<Kernel> {
    let axis = |size, from, to| MoveAxis { size, from, to };
    let kinds = [
        ("slices", vec![axis(64, 1, 1), axis(1024, 128, 64)]),
        ("permutations", vec![axis(3, 1, 8), axis(8, 3, 1), axis(1024, 24, 24)]),
        ("transpositions", vec![axis(64, 1, 1024), axis(1024, 64, 1), axis(32, 65_536, 65_536)]),
    ];
    let mut kernels = Vec::new();
    for (name, axes) in kinds {
        if let Some(first) = moved(&axes, [0, 0]).unwrap_or_default().first() {
            kernels.push(first.kernel(LOW, Epilogue { rounding: None, ..ROUNDED }).kernel(&format!("{name}_of_codes")));
            kernels.push(first.kernel(Elements::Fp32, ROUNDED).kernel(&format!("{name}_to_codes")));
        }
    }
    kernels
}

/// Pooling and convolutions of each channel by itself.
fn windows() -> Vec<Kernel> {
    let window = Window {
        kernel: [3, 3],
        strides: [2, 2],
        pads_begin: [1, 1],
        pads_end: [1, 1],
        dilations: [1, 1],
        ceil: false,
    };
    let sizes = PoolSizes { batch: 128, channels: 64, input: [32, 32], output: [16, 16], window };
    let pooling = [
        ("maxima", Pooling::Max { maximum: true, tap: true }),
        ("maxima_grad", Pooling::MaxGrad),
        ("means", Pooling::Average { is_padded: false }),
        ("means_grad", Pooling::AverageGrad { is_padded: false }),
    ];
    let mut kernels = Vec::new();
    for (name, pooling) in pooling {
        kernels.push(Pool::new(normalised(), pooling, ROUNDED, &sizes).kernel(name));
    }
    for (name, pass) in [("forward", Pass::Forward), ("input", Pass::GradInput), ("weight", Pass::GradWeight)] {
        let chains = match pass {
            Pass::GradInput => [read(LOW), read(LOW)],
            Pass::Forward | Pass::GradWeight => [normalised(), read(LOW)],
        };
        let depthwise = Depthwise::new(pass, chains, ROUNDED, &DepthwiseSizes(sizes));
        kernels.push(depthwise.kernel(&format!("depthwise_{name}")));
    }
    kernels
}

fn products() -> Vec<(String, Product)> {
    let sizes = |channels, pixels| ConvSizes {
        batch: 128,
        height: pixels,
        width: pixels,
        channels,
        out_height: pixels,
        out_width: pixels,
        out_channels: if channels == 3 { 30 } else { channels },
        kernel: [3, 3],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1],
        groups: 1,
        count: 1,
    };
    let operands = [
        ("low", read(LOW), Precision::Bf16),
        ("normalised", normalised(), Precision::Bf16),
        ("fp16", read(Elements::Codes(Format::FP16)), Precision::Fp16),
        ("1-6-9", read(Elements::Codes(Format::PAPER_HIGH)), Precision::Tf32),
        ("fp32", read(Elements::Fp32), Precision::Split),
    ];
    let mut products = Vec::new();
    for (name, chain, precision) in &operands {
        for (pass, pass_name) in [(Pass::Forward, "forward"), (Pass::GradInput, "input"), (Pass::GradWeight, "weight")]
        {
            for (sizes, size_name) in [(sizes(64, 32), "eight"), (sizes(512, 4), "eight_long"), (sizes(3, 32), "any")] {
                let operands = match pass {
                    Pass::Forward | Pass::GradInput => [chain.clone(), read(LOW)],
                    Pass::GradWeight => [read(LOW), chain.clone()],
                };
                let product = Product::new(pass, operands, *precision, ROUNDED, &sizes);
                products.push((format!("of_{}_{pass_name}_{size_name}", name.replace('-', "_")), product));
            }
        }
    }
    let grouped = ConvSizes { groups: 4, ..sizes(128, 32) };
    let points = ConvSizes { kernel: [1, 1], pads: [0, 0], ..sizes(512, 32) };
    let strided = ConvSizes { out_height: 16, out_width: 16, strides: [2, 2], ..sizes(64, 32) };
    for (pass, name) in [(Pass::Forward, "forward"), (Pass::GradInput, "input"), (Pass::GradWeight, "weight")] {
        for (kind, sizes) in [("grouped", &grouped), ("points", &points), ("strided", &strided)] {
            let product = Product::new(pass, [read(LOW), read(LOW)], Precision::Bf16, ROUNDED, sizes);
            products.push((format!("{kind}_{name}"), product));
        }
    }
    products
}

/// A tensor's numbers as they are.
fn as_read(input: usize) -> ChainPart {
    ChainPart {
        expression: Expression::Operand(0),
        operands: vec![ChainOperand::Input(input)],
        rounding: None,
        stored: None,
    }
}

/// Numbers as they are stored.
fn read(elements: Elements) -> Chain {
    Chain { inputs: vec![ChainInput { elements, read: ChainRead::Each }], parts: vec![as_read(0)] }
}

/// Numbers that are normalised by channel, rectified and rounded as they are read.
fn normalised() -> Chain {
    let x = Expression::Operand;
    let line = Expression::Fma(Box::new([x(0), x(1), x(2)]));
    let relu = Expression::AtMost(Box::new([line.clone(), Expression::Number(0.0), Expression::Number(0.0), line]));
    let by_channel = ChainInput { elements: Elements::Fp32, read: ChainRead::Channel };
    let part = ChainPart {
        expression: relu,
        operands: (0..3).map(ChainOperand::Input).collect(),
        rounding: ROUNDING,
        stored: None,
    };
    let inputs = vec![ChainInput { elements: LOW, read: ChainRead::Each }, by_channel, by_channel];
    Chain { inputs, parts: vec![part] }
}

#[cfg(test)]
mod tests {
    use super::products;
    use std::path::Path;

    /// Estimates are held against what NVIDIA's compiler makes of the loops, for the architecture on which it leaves no loops inside of them.
    #[test]
    fn loops_of_products_have_about_as_many_instructions_as_estimated() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cuda/kernels.csv");
        let table = std::fs::read_to_string(path).unwrap();
        for (name, product) in products() {
            let rows = table.lines().map(|line| line.split(',').collect::<Vec<&str>>()).filter(|row| row[0] == name);
            let most = rows.map(|row| row[4].parse::<f64>().unwrap()).fold(0.0, f64::max);
            let estimate = product.loop_instructions();
            assert!((0.75..1.34).contains(&(estimate / most)), "{name}: {estimate}, not {most}");
        }
    }
}
