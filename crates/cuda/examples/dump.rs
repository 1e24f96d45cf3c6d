use bitbudget_cuda::*;
use bitbudget_formats::{Format, Overflow};
use bitbudget_ir::Expression;
fn main() {
    let x = |i| Expression::Operand(i);
    let e = Elements::Codes(Format::PAPER_LOW_FORWARD);
    let plain = Chain {
        inputs: vec![ChainInput { elements: e, read: ChainRead::Each }],
        parts: vec![ChainPart {
            expression: x(0),
            operands: vec![ChainOperand::Input(0)],
            rounding: None,
            stored: None,
        }],
    };
    let fma = Expression::Fma(Box::new([x(0), x(1), x(2)]));
    let relu = Expression::AtMost(Box::new([fma.clone(), Expression::Number(0.0), Expression::Number(0.0), fma]));
    let norm = Chain {
        inputs: vec![
            ChainInput { elements: e, read: ChainRead::Each },
            ChainInput { elements: Elements::Fp32, read: ChainRead::Channel },
            ChainInput { elements: Elements::Fp32, read: ChainRead::Channel },
        ],
        parts: vec![ChainPart {
            expression: relu,
            operands: vec![ChainOperand::Input(0), ChainOperand::Input(1), ChainOperand::Input(2)],
            rounding: Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, false)),
            stored: None,
        }],
    };
    let b = Elements::Codes(Format::BF16);
    let bf = Chain { inputs: vec![ChainInput { elements: b, read: ChainRead::Each }], ..plain.clone() };
    let mut all = vec![];
    for (n, input, w) in [("plain", plain, e), ("norm", norm, e), ("bf16", bf, b)] {
        for is_aligned in [true, false] {
            for is_long in [false, true] {
                let p = Product {
                    input: input.clone(),
                    weights: w,
                    rounding: Some((Format::PAPER_LOW_FORWARD, Overflow::Saturate, true)),
                    stored: e,
                    is_aligned,
                    is_long,
                };
                all.push(p.kernel(&format!(
                    "{n}_{}_{}",
                    if is_aligned { "aligned" } else { "any" },
                    if is_long { "long" } else { "short" }
                )));
            }
        }
    }
    println!("{}", file(&all));
}
