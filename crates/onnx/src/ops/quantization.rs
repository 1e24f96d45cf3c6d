//! Quantisation as training sees it: numbers are rounded to those that the quantised type holds, and gradients pass as if they were not
//! (the straight-through estimator), except where they are out of its range.

use super::fold;
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::file::tensor;
use crate::importer::{Importer, Node, Operand, Value, axis};
use crate::inline::notes;
use crate::warning::WarningKind;
use bitbudget_ir::{NodeId, Real, UnaryFunction, ops};
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Enum;
use std::rc::Rc;

pub(super) const QUANTIZE: Row = Row {
    name: "QuantizeLinear",
    versions: &[10, 13, 19, 21, 23, 24, 25],
    attributes: &["axis", "block_size", "output_dtype", "precision", "saturate"],
    forms: "`div`, `unary` (round, with the gradient of the identity), `add`, `clip`; whole numbers of 4, 8, 16 and 32 bits; scales and zero \
            points known at import, for all, per axis or per block",
    build: Some(quantize),
    fold: None,
};

pub(super) const DEQUANTIZE: Row = Row {
    name: "DequantizeLinear",
    versions: &[10, 13, 19, 21, 23, 24, 25],
    attributes: &["axis", "block_size", "output_dtype"],
    forms: "`sub`, `mul`; a parameter where whole numbers are stored in the file; scales and zero points as for QuantizeLinear",
    build: Some(dequantize),
    fold: None,
};

pub(super) const ROWS: &[Row] = &[QUANTIZE, DEQUANTIZE];

/// The least and the largest number of a quantised type; nothing where FP32 has no more.
fn range(code: i32) -> Result<Option<(f64, f64)>, String> {
    Ok(match DataType::from_i32(code) {
        Some(DataType::UINT8) => Some((0.0, 255.0)),
        Some(DataType::INT8) => Some((-128.0, 127.0)),
        Some(DataType::UINT16) => Some((0.0, 65535.0)),
        Some(DataType::INT16) => Some((-32768.0, 32767.0)),
        Some(DataType::UINT4) => Some((0.0, 15.0)),
        Some(DataType::INT4) => Some((-8.0, 7.0)),
        Some(DataType::INT32) => None,
        _ => return Err(format!("quantised numbers of type {} are not supported", tensor::type_name(code))),
    })
}

/// The range of the numbers that a node quantises to: the type of its zero point, or that of an attribute, or 8 bits without sign.
fn target(importer: &Importer, node: &Node) -> Result<Option<(f64, f64)>, String> {
    let stated = node.int("output_dtype")?.filter(|&code| code != 0).and_then(|code| i32::try_from(code).ok());
    match (stated, node.input(2)) {
        (Some(code), _) => range(code),
        (None, None) => range(DataType::UINT8.value()),
        (None, Some(zero)) => match importer.element_types.get(&zero.name) {
            Some(&code) => range(code),
            None => Err(format!("the type of its zero point `{}` is not stored in the file", zero.name)),
        },
    }
}

/// Known numbers for all elements, per axis or per block, as they broadcast to a shape.
fn spread(node: &Node, numbers: &Constant, shape: &[Option<usize>]) -> Result<Constant, String> {
    let wrong = || format!("its scale or zero point {:?} does not fit its input", numbers.shape);
    if numbers.len() == 1 {
        return Ok(Constant { shape: Vec::new(), elements: Elements::Floats(numbers.as_floats()?) });
    }
    let axis = axis(node.int("axis")?.unwrap_or(1), shape.len())?;
    let block = usize::try_from(node.int("block_size")?.unwrap_or(0)).map_err(|_| "block_size is negative")?;
    let elements = Elements::Floats(numbers.as_floats()?);
    if block == 0 {
        if numbers.shape.len() != 1 || shape[axis] != Some(numbers.len()) {
            return Err(wrong());
        }
        let mut target = vec![1; shape.len()];
        target[axis] = numbers.len();
        return Ok(Constant { shape: target, elements });
    }
    let sizes: Option<Vec<usize>> = shape.iter().copied().collect();
    let sizes = sizes.ok_or("blocks are not possible where the batch size is open")?;
    let fits =
        |(a, (&own, &size)): (usize, (&usize, &usize))| own == if a == axis { size.div_ceil(block) } else { size };
    if numbers.shape.len() != sizes.len() || !numbers.shape.iter().zip(&sizes).enumerate().all(fits) {
        return Err(wrong());
    }
    let numbers = Constant { shape: numbers.shape.clone(), elements };
    let mut from = vec![0; sizes.len()];
    fold::gather(&numbers, &sizes, usize::MAX, |index| {
        from.copy_from_slice(index);
        from[axis] /= block;
        Some(fold::offset(&numbers.shape, &from))
    })
}

/// Scale and zero point of a node, the latter unless all are 0.
fn parameters(
    importer: &Importer,
    node: &Node,
    shape: &[Option<usize>],
) -> Result<(Constant, Option<Constant>), String> {
    let mut scale = importer.constant(node.need(1)?)?;
    if let Some(name) = notes::get(node.proto, notes::FACTOR) {
        let value = importer.known.get(name).cloned().ok_or_else(|| format!("`{name}` is not there"))?;
        let factor = importer.constant(&Operand { name: name.into(), value })?.as_scalar()?;
        let numbers = scale.as_floats()?.into_iter().map(|scale| scale * factor).collect();
        scale = Rc::new(Constant { shape: scale.shape.clone(), elements: Elements::Floats(numbers) });
    }
    let scale = spread(node, &scale, shape)?;
    let zero = node.input(2).map(|operand| spread(node, &*importer.constant(operand)?, shape)).transpose()?;
    let is_any = |zero: &Constant| zero.as_floats().is_ok_and(|all| all.iter().any(|&x| x != 0.0));
    Ok((scale, zero.filter(is_any)))
}

/// Known numbers as a tensor.
fn source(importer: &mut Importer, node: &Node, what: &str, numbers: &Constant) -> Result<NodeId, String> {
    let name = importer.fresh_name(&format!("{}.{what}", node.name));
    importer.constant_source(&name, numbers)
}

fn sizes(importer: &mut Importer, operand: &Operand) -> Result<Vec<Option<usize>>, String> {
    Ok(importer.shape_of(operand)?.0.iter().map(|dim| dim.as_fixed()).collect())
}

fn quantize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let shape = sizes(importer, node.need(0)?)?;
    let (scale, zero) = parameters(importer, node, &shape)?;
    let range = target(importer, node)?;
    if let Some(wrong) = scale.as_floats()?.into_iter().find(|&scale| !(scale > 0.0 && scale.is_finite())) {
        return Err(format!("its scale holds {wrong}, but must be positive"));
    }
    let round = ops::Unary { function: UnaryFunction::RoundThrough, alpha: Real(1.0), gamma: Real(1.0) };
    let mut y = importer.tensor(node, 0)?;
    if !is_one(&scale) {
        let scale = source(importer, node, "scale", &scale)?;
        y = importer.inner(node, "steps", ops::Div {}, &[y, scale])?;
    }
    if let Some(zero) = zero {
        // Halves are rounded before the zero point is added, to even numbers.
        let zero = source(importer, node, "zero", &zero)?;
        y = importer.inner(node, "rounded", round.clone(), &[y])?;
        y = importer.inner(node, "shifted", ops::Add {}, &[y, zero])?;
    }
    if let Some((min, max)) = range {
        // Beyond the bounds the gradient is 0, and at them too: these lie between whole numbers, from where they are rounded back.
        let clip = ops::Clip { min: Real(min - 0.49), max: Real(max + 0.49) };
        y = importer.inner(node, "clipped", clip, &[y])?;
    }
    Ok(vec![Value::Tensor(importer.inner(node, "whole", round, &[y])?)])
}

/// Whether all numbers are one.
fn is_one(scale: &Constant) -> bool {
    scale.as_floats().is_ok_and(|all| all.iter().all(|&x| x == 1.0))
}

fn dequantize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let operand = node.need(0)?;
    let shape = sizes(importer, operand)?;
    let (scale, zero) = parameters(importer, node, &shape)?;
    if let Value::Constant(stored) = &operand.value {
        return stored_weight(importer, node, operand, stored, [Some(scale), zero]);
    }
    let mut x = importer.operand(operand)?;
    if let Some(zero) = zero {
        let zero = source(importer, node, "zero", &zero)?;
        x = importer.inner(node, "shifted", ops::Sub {}, &[x, zero])?;
    }
    if is_one(&scale) {
        return Ok(vec![Value::Tensor(x)]);
    }
    let scale = source(importer, node, "scale", &scale)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[x, scale])?)])
}

/// The numbers that quantised ones of the file stand for: a parameter, if they are several.
fn stored_weight(
    importer: &mut Importer,
    node: &Node,
    operand: &Operand,
    stored: &Constant,
    [scale, zero]: [Option<Constant>; 2],
) -> Result<Vec<Value>, String> {
    let [scale, zero] = [scale, zero].map(|numbers| {
        numbers.map(|numbers| fold::expand(&numbers, &stored.shape, usize::MAX)?.as_floats()).transpose()
    });
    let (scale, zero) = (scale?.ok_or("its scale is missing")?, zero?);
    let mut numbers = stored.as_floats()?;
    if let Some(zero) = zero {
        numbers.iter_mut().zip(zero).for_each(|(x, zero)| *x -= zero);
    }
    numbers.iter_mut().zip(scale).for_each(|(x, scale)| *x *= scale);
    let constant = Constant { shape: stored.shape.clone(), elements: Elements::Floats(numbers) };
    if stored.len() == 1 {
        return Ok(vec![Value::known(constant)]);
    }
    // Optimizers write a node for each reader of a weight.
    let scale = node.need(1)?;
    let key = format!("{} by {}", operand.name, scale.name);
    if let Some(value) = importer.known.get(&key) {
        return Ok(vec![value.clone()]);
    }
    importer.warn(WarningKind::Dequantized, &operand.name);
    let value = importer.dequantized(&operand.name, constant);
    importer.known.insert(key, value.clone());
    Ok(vec![value])
}
