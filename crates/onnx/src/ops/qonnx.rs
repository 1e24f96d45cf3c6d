//! Quantisation as QONNX writes it, the format of Brevitas, QKeras and FINN: any number of bits, in one operator.

use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{NodeId, Real, UnaryFunction, ops};

/// The domains in which the operators stand.
pub(super) const DOMAINS: [&str; 3] = ["qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Quant",
        versions: &[1],
        attributes: &["narrow", "rounding_mode", "signed"],
        forms: "`div`, `add`, `clip`, `unary` (round, with the gradient of the identity), `sub`, `mul`; scale, zero point and bits known at \
                import; rounded to even",
        build: Some(quant),
        fold: None,
    },
    Row {
        name: "BipolarQuant",
        versions: &[1],
        attributes: &[],
        forms: "one with the sign, times the scale: as Quant, with the gradient of the identity between minus one and one",
        build: Some(bipolar),
        fold: None,
    },
];

const ROUND: ops::Unary = ops::Unary { function: UnaryFunction::RoundThrough, alpha: Real(1.0), gamma: Real(1.0) };

/// A known input as a tensor, unless all its numbers are `neutral`.
fn known(
    importer: &mut Importer,
    node: &Node,
    position: usize,
    what: &str,
    neutral: f32,
) -> Result<Option<NodeId>, String> {
    let numbers: Constant = (*importer.constant(node.need(position)?)?).clone();
    if numbers.as_floats()?.iter().all(|&number| number == neutral) {
        return Ok(None);
    }
    let name = importer.fresh_name(&format!("{}.{what}", node.name));
    importer.constant_source(&name, &numbers).map(Some)
}

fn quant(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let mode = node.text("rounding_mode")?.unwrap_or_else(|| "ROUND".into());
    if !mode.eq_ignore_ascii_case("ROUND") {
        return Err(format!("rounding_mode is {mode}; numbers are rounded to the nearest one, ROUND"));
    }
    let bits = importer.constant(node.need(3)?)?.as_scalar()?;
    if bits.fract() != 0.0 || !(1.0..=32.0).contains(&bits) {
        return Err(format!("it has {bits} bits; 1 to 32 are possible"));
    }
    let narrow = f64::from(u8::from(node.flag("narrow")?));
    let (least, most) = match node.flag("signed")? {
        true => (-f64::from(bits - 1.0).exp2() + narrow, f64::from(bits - 1.0).exp2() - 1.0),
        false => (0.0, f64::from(bits).exp2() - 1.0 - narrow),
    };
    let scale = known(importer, node, 1, "scale", 1.0)?;
    let zero = known(importer, node, 2, "zero", 0.0)?;
    let mut y = importer.tensor(node, 0)?;
    if let Some(scale) = scale {
        y = importer.inner(node, "steps", ops::Div {}, &[y, scale])?;
    }
    if let Some(zero) = zero {
        y = importer.inner(node, "shifted", ops::Add {}, &[y, zero])?;
    }
    // The bounds lie between whole numbers, from where they are rounded back.
    let clip = ops::Clip { min: Real(least - 0.49), max: Real(most + 0.49) };
    y = importer.inner(node, "clipped", clip, &[y])?;
    y = match (zero, scale) {
        (None, None) => importer.emit(node.name, ROUND, &[y])?,
        _ => importer.inner(node, "whole", ROUND, &[y])?,
    };
    if let Some(zero) = zero {
        y = match scale {
            Some(_) => importer.inner(node, "apart", ops::Sub {}, &[y, zero])?,
            None => importer.emit(node.name, ops::Sub {}, &[y, zero])?,
        };
    }
    if let Some(scale) = scale {
        y = importer.emit(node.name, ops::Mul {}, &[y, scale])?;
    }
    Ok(vec![Value::Tensor(y)])
}

fn bipolar(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let scale = known(importer, node, 1, "scale", 1.0)?;
    let x = importer.tensor(node, 0)?;
    let clipped = importer.inner(node, "clipped", ops::Clip { min: Real(-1.0), max: Real(1.0) }, &[x])?;
    let half = importer.inner(node, "half", ops::Scale { by: Real(0.5) }, &[clipped])?;
    // A little more than a half, so that zero counts as positive.
    let shift = Constant { shape: Vec::new(), elements: Elements::Floats(vec![0.500_000_06]) };
    let name = importer.fresh_name(&format!("{}.shift", node.name));
    let shift = importer.constant_source(&name, &shift)?;
    let moved = importer.inner(node, "moved", ops::Add {}, &[half, shift])?;
    let bit = importer.inner(node, "bit", ROUND, &[moved])?;
    let twice = importer.inner(node, "twice", ops::Scale { by: Real(2.0) }, &[bit])?;
    let one = Constant { shape: Vec::new(), elements: Elements::Floats(vec![1.0]) };
    let name = importer.fresh_name(&format!("{}.one", node.name));
    let one = importer.constant_source(&name, &one)?;
    let sign = match scale {
        Some(_) => importer.inner(node, "sign", ops::Sub {}, &[twice, one])?,
        None => importer.emit(node.name, ops::Sub {}, &[twice, one])?,
    };
    match scale {
        Some(scale) => Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[sign, scale])?)]),
        None => Ok(vec![Value::Tensor(sign)]),
    }
}
