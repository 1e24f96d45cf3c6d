//! Prints the source of kernels of each kind, for compilers: products of each pass, precision and way to read, sums of columns, a chain.
//! `cargo run -p bitbudget-cuda --example kernels`.

use bitbudget_cuda::{
    Chain, ChainInput, ChainOperand, ChainPart, ChainRead, ColumnSizes, Columns, ConvSizes, Elements, Kernel, Parts,
    Pass, Precision, Product, Statistic, file,
};
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::Expression;

const ROUNDING: Option<(Format, Overflow, bool)> = Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, true));
const LOW: Elements = Elements::Codes(Format::PAPER_LOW_FORWARD);

fn main() {
    println!("{}", file(&kernels()));
}

fn kernels() -> Vec<Kernel> {
    let mut kernels = products();
    for (statistic, name) in [(Statistic::Sums(1), "sums"), (Statistic::Moments, "moments")] {
        for (channels, size_name) in [(64, "four"), (3, "any")] {
            let columns = Columns::new(normalised(), statistic, &ColumnSizes { rows: 1 << 17, channels });
            kernels.push(columns.kernel(&format!("{name}_of_{size_name}")));
        }
    }
    for (statistic, name, count) in [(Statistic::Sums(1), "sums", 1), (Statistic::Moments, "moments", 2)] {
        let results = vec![(None, Elements::Fp32); count];
        kernels.push(Parts { statistic, results }.kernel(&format!("{name}_of_parts")));
    }
    let mut chain = normalised();
    chain.parts[0].stored = Some(LOW);
    kernels.push(chain.kernel("chain"));
    kernels
}

fn products() -> Vec<Kernel> {
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
    let mut kernels = Vec::new();
    for (name, chain, precision) in &operands {
        for (pass, pass_name) in [(Pass::Forward, "forward"), (Pass::GradInput, "input"), (Pass::GradWeight, "weight")]
        {
            for (sizes, size_name) in [(sizes(64, 32), "eight"), (sizes(512, 4), "eight_long"), (sizes(3, 32), "any")] {
                let operands = match pass {
                    Pass::Forward | Pass::GradInput => [chain.clone(), read(LOW)],
                    Pass::GradWeight => [read(LOW), chain.clone()],
                };
                let product = Product::new(pass, operands, *precision, ROUNDING, LOW, &sizes);
                kernels.push(product.kernel(&format!("of_{}_{pass_name}_{size_name}", name.replace('-', "_"))));
            }
        }
    }
    kernels
}

/// Numbers as they are stored.
fn read(elements: Elements) -> Chain {
    let part = ChainPart {
        expression: Expression::Operand(0),
        operands: vec![ChainOperand::Input(0)],
        rounding: None,
        stored: None,
    };
    Chain { inputs: vec![ChainInput { elements, read: ChainRead::Each }], parts: vec![part] }
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
