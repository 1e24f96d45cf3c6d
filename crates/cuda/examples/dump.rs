use bitbudget_cuda::*;
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::Expression;
fn main() {
    let x = |i| Expression::Operand(i);
    let plain = |e| Chain { inputs: vec![ChainInput { elements: e, read: ChainRead::Each }], parts: vec![ChainPart { expression: x(0), operands: vec![ChainOperand::Input(0)], rounding: None, stored: None }] };
    let low = Elements::Codes(Format::PAPER_LOW_FORWARD);
    let fma = Expression::Fma(Box::new([x(0), x(1), x(2)]));
    let relu = Expression::AtMost(Box::new([fma.clone(), Expression::Number(0.0), Expression::Number(0.0), fma]));
    let norm = Chain { inputs: vec![ChainInput { elements: low, read: ChainRead::Each }, ChainInput { elements: Elements::Fp32, read: ChainRead::Channel }, ChainInput { elements: Elements::Fp32, read: ChainRead::Channel }],
        parts: vec![ChainPart { expression: relu, operands: vec![ChainOperand::Input(0), ChainOperand::Input(1), ChainOperand::Input(2)], rounding: Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, false)), stored: None }] };
    let sizes = ConvSizes { batch: 128, height: 32, width: 32, channels: 64, out_height: 32, out_width: 32, out_channels: 64, kernel: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1, 1] };
    let odd = ConvSizes { channels: 3, ..sizes };
    let mut all = vec![];
    for (s, a) in [(sizes, "aligned"), (odd, "any")] {
        for (n, chain) in [("plain", plain(low)), ("norm", norm.clone()), ("bf16", plain(Elements::Codes(Format::BF16)))] {
            for pass in [Pass::Forward, Pass::GradInput, Pass::GradWeight] {
                let chains = match pass { Pass::GradWeight => [plain(low), chain.clone()], _ => [chain.clone(), plain(low)] };
                let p = Product::new(pass, chains, Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, true)), low, &s);
                all.push(p.kernel(&format!("{n}_{pass:?}_{a}_{}", if p.is_long { "long" } else { "short" })));
            }
        }
    }
    println!("{}", file(&all));
}
