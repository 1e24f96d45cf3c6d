//! Elementwise functions as C.

use bitbudget_ir::Expression;
use std::collections::BTreeSet;

/// What an element's expression reads.
pub(crate) struct Names<'n> {
    /// The C of each operand's number.
    pub(crate) operands: &'n [String],
    /// The C of how many elements a channel of an operand has, by operand.
    pub(crate) per_channel: &'n dyn Fn(usize) -> String,
    /// The place of the element in the tensor.
    pub(crate) place: &'n str,
}

/// C that gives a function's number.
pub(crate) fn c(expression: &Expression, names: &Names<'_>) -> String {
    let of = |e: &Expression| c(e, names);
    let call = |name: &str, all: &[Expression]| {
        let arguments: Vec<String> = all.iter().map(|e| c(e, names)).collect();
        format!("{name}({})", arguments.join(", "))
    };
    let one = |name: &str, a: &Expression| format!("{name}({})", of(a));
    match expression {
        Expression::Operand(position) => names.operands.get(*position).cloned().unwrap_or_else(|| "0.0f".into()),
        Expression::Number(number) => literal(*number as f32),
        Expression::PerChannel(position) => (names.per_channel)(*position),
        Expression::Neg(a) => format!("(-{})", of(a)),
        Expression::Add(ab) => format!("({} + {})", of(&ab[0]), of(&ab[1])),
        Expression::Sub(ab) => format!("({} - {})", of(&ab[0]), of(&ab[1])),
        Expression::Mul(ab) => format!("({} * {})", of(&ab[0]), of(&ab[1])),
        Expression::Div(ab) => format!("({} / {})", of(&ab[0]), of(&ab[1])),
        Expression::Fma(abc) => call("fused", &abc[..]),
        Expression::Sqrt(a) => one("root", a),
        Expression::Exp(a) => one("exponential", a),
        Expression::Log(a) => one("logf", a),
        Expression::Tanh(a) => one("hyperbolic_tangent", a),
        Expression::Erf(a) => one("error_function", a),
        Expression::Sin(a) => one("sinf", a),
        Expression::Cos(a) => one("cosf", a),
        Expression::Log1p(a) => one("log1pf", a),
        Expression::Floor(a) => one("floorf", a),
        Expression::Round(a) => one("rintf", a),
        Expression::Pow(ab) => call("powf", &ab[..]),
        Expression::Uniform(key, ab) => {
            format!("uniform({key:#x}ull, (u32){}, (u32){}, {})", of(&ab[0]), of(&ab[1]), names.place)
        }
        Expression::Less(abcd) => chosen("<", abcd, names),
        Expression::AtMost(abcd) => chosen("<=", abcd, names),
    }
}

fn chosen(comparison: &str, [a, b, then, otherwise]: &[Expression; 4], names: &Names<'_>) -> String {
    let of = |e: &Expression| c(e, names);
    format!("({} {comparison} {} ? {} : {})", of(a), of(b), of(then), of(otherwise))
}

/// An FP32 number, to the bit.
fn literal(number: f32) -> String {
    match number.is_finite() {
        // The shortest decimal that reads back as the same number.
        true => format!("{number:?}f"),
        false => format!("number_of({:#x}u)", number.to_bits()),
    }
}

/// The operands that a function reads, and those of whose channels it takes the sizes.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) numbers: BTreeSet<usize>,
    pub(crate) sizes: BTreeSet<usize>,
}

/// Adds what a function uses.
pub(crate) fn used(expression: &Expression, by: &mut Used) {
    let mut all = |of: &[Expression]| of.iter().for_each(|e| used(e, by));
    match expression {
        Expression::Operand(position) => {
            by.numbers.insert(*position);
        }
        Expression::PerChannel(position) => {
            by.sizes.insert(*position);
        }
        Expression::Number(_) => {}
        Expression::Neg(a) | Expression::Sqrt(a) | Expression::Exp(a) | Expression::Log(a) => used(a, by),
        Expression::Tanh(a) | Expression::Erf(a) | Expression::Sin(a) | Expression::Cos(a) => used(a, by),
        Expression::Log1p(a) | Expression::Floor(a) | Expression::Round(a) => used(a, by),
        Expression::Add(ab) | Expression::Sub(ab) | Expression::Mul(ab) | Expression::Div(ab) => all(&ab[..]),
        Expression::Pow(ab) | Expression::Uniform(_, ab) => all(&ab[..]),
        Expression::Fma(abc) => all(&abc[..]),
        Expression::Less(abcd) | Expression::AtMost(abcd) => all(&abcd[..]),
    }
}
