//! Values that are known at import: constants, shapes, and the arithmetic on them.

use super::fold;
use super::row::{Known, Row};
use crate::file::constant::{Constant, Elements, Int};
use crate::file::tensor;
use crate::importer::{Importer, Node, Value, decimal};
use crate::warning::WarningKind;
use bitbudget_ir::{DType, Dim, NodeId, Real, Shape, ops};
use std::cmp::Ordering;
use std::rc::Rc;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Constant",
        versions: &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25],
        attributes: &[
            "sparse_value",
            "value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
            "value_string",
            "value_strings",
        ],
        forms: "a tensor, a number or a list; as a tensor of the network, `constant`",
        build: Some(constant),
        fold: None,
    },
    Row {
        name: "Shape",
        versions: &[1, 13, 15, 19, 21, 23, 24, 25],
        attributes: &["end", "start"],
        forms: "known at import, with the batch size as a symbol",
        build: Some(shape),
        fold: None,
    },
    Row {
        name: "Size",
        versions: &[1, 13, 19, 21, 23, 24, 25],
        attributes: &[],
        forms: "known at import, with the batch size as a symbol",
        build: Some(size),
        fold: None,
    },
    Row {
        name: "Cast",
        versions: &[6, 9, 13, 19, 21, 23, 24, 25, 28],
        attributes: &["round_mode", "saturate", "to"],
        forms: "nothing between floating-point types, else `convert`",
        build: Some(|importer, node| {
            let to = node.element_type("to")?.ok_or("attribute `to` is missing")?;
            cast(importer, node, graph_type(to)?)
        }),
        fold: Some(|node, x, room| {
            let to = node.element_type("to")?.ok_or("attribute `to` is missing")?;
            Ok(vec![converted(fold::need(x, 0)?, tensor::is_float(to), tensor::type_name(to) == "BOOL", room)?])
        }),
    },
    Row {
        name: "CastLike",
        versions: &[15, 19, 21, 23, 24, 25],
        attributes: &["round_mode", "saturate"],
        forms: "like Cast",
        build: Some(cast_like),
        fold: Some(|_, x, room| {
            let float = matches!(fold::need(x, 1)?.elements, Elements::Floats(_));
            Ok(vec![converted(fold::need(x, 0)?, float, false, room)?])
        }),
    },
    Row {
        name: "ConstantOfShape",
        versions: &[9, 20, 21, 23, 24, 25],
        attributes: &["value"],
        forms: "on known values; `broadcast` of a number to a shape with the batch",
        build: Some(number_of_shape),
        fold: Some(constant_of_shape),
    },
    Row {
        name: "Range",
        versions: &[11, 27],
        attributes: &["stash_type"],
        forms: "on known values; over the batch, where each example takes elements of its own by its number",
        build: Some(super::examples::range),
        fold: Some(range),
    },
    Row {
        name: "Min",
        versions: &[6, 8, 12, 13],
        attributes: &[],
        forms: "`clip`, by a known number; `extremum` of tensors, broadcast",
        build: Some(|i, n| extremum(i, n, true)),
        fold: Some(|_, x, room| extreme(x, room, Ordering::Less)),
    },
    Row {
        name: "Max",
        versions: &[6, 8, 12, 13],
        attributes: &[],
        forms: "`clip`, by a known number; `extremum` of tensors, broadcast",
        build: Some(|i, n| extremum(i, n, false)),
        fold: Some(|_, x, room| extreme(x, room, Ordering::Greater)),
    },
];

fn constant(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if node.has("sparse_value") {
        return Err("it is a sparse tensor, which is not supported; store it densely".into());
    }
    if node.has("value_string") || node.has("value_strings") {
        return Err(
            "it is text, with which a trainer cannot compute; export the part of the network that takes numbers".into(),
        );
    }
    let value = if let Some(tensor) = node.tensor("value")? {
        let decoded = tensor::decode(tensor, importer.data())?;
        if let Some(output) = node.proto.output.first() {
            importer.element_types.insert(output.clone(), tensor.data_type);
        }
        if decoded.rounded {
            importer.warn(WarningKind::Rounded, node.name);
        }
        decoded.constant
    } else if let Some(i) = node.int("value_int")? {
        Constant { shape: Vec::new(), elements: Elements::Ints(vec![Int::fixed(i)]) }
    } else if let Some(ints) = node.ints("value_ints")? {
        Constant::ints(ints.iter().map(|&i| Int::fixed(i)).collect())
    } else if let Some(floats) = node.floats("value_floats")? {
        Constant { shape: vec![floats.len()], elements: Elements::Floats(floats.to_vec()) }
    } else if node.has("value_float") {
        let attribute = node.proto.attribute.iter().find(|a| a.name == "value_float");
        let x = attribute.map_or(f32::NAN, |a| a.f);
        Constant { shape: Vec::new(), elements: Elements::Floats(vec![x]) }
    } else {
        return Err("it has no value".into());
    };
    Ok(vec![Value::known(value)])
}

fn shape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let shape = importer.shape_of(node.need(0)?)?;
    let rank = i64::try_from(shape.rank()).map_err(|e| e.to_string())?;
    let bound = |given: i64| (if given < 0 { given.saturating_add(rank) } else { given }).clamp(0, rank) as usize;
    let start = bound(node.int("start")?.unwrap_or(0));
    let end = bound(node.int("end")?.unwrap_or(rank)).max(start);
    Ok(vec![Value::known(Constant::of_shape(&Shape(shape.0[start..end].to_vec())))])
}

fn size(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let size = match importer.shape_of(node.need(0)?)?.symbolic_elements() {
        (factor, 0) => Int::of(Dim::fixed(factor)),
        (factor, _) => Int::of(Dim::batches(factor)),
    };
    Ok(vec![Value::known(Constant { shape: Vec::new(), elements: Elements::Ints(vec![size]) })])
}

/// The type in a graph of an element type of ONNX.
pub(crate) fn graph_type(code: i32) -> Result<DType, String> {
    match () {
        () if tensor::is_float(code) => Ok(DType::F32),
        () if tensor::type_name(code) == "BOOL" => Ok(DType::Bool),
        () if tensor::is_whole(code) => Ok(DType::I32),
        () => Err(format!("a tensor of the network cannot become {}", tensor::type_name(code))),
    }
}

fn cast(importer: &mut Importer, node: &Node, to: DType) -> Result<Vec<Value>, String> {
    let operand = node.need(0)?;
    match importer.dtype(operand) == to {
        true => Ok(vec![operand.value.clone()]),
        false => Ok(vec![Value::Tensor(importer.typed(operand, to)?)]),
    }
}

fn cast_like(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let to = importer.dtype(node.need(1)?);
    match &node.need(0)?.value {
        Value::Constant(constant) => {
            let x = converted(constant, to == DType::F32, to == DType::Bool, constant.len())?;
            Ok(vec![Value::known(x)])
        }
        _ => cast(importer, node, to),
    }
}

fn converted(x: &Constant, float: bool, truth: bool, room: usize) -> Result<Constant, String> {
    fold::elements(&x.shape, room)?;
    let elements = match (&x.elements, float) {
        (Elements::Ints(_), true) => Elements::Floats(x.as_floats()?),
        // A cast to whole numbers truncates, and saturates here where ONNX leaves the result open.
        (Elements::Floats(floats), false) => Elements::Ints(
            floats.iter().map(|&f| Int::fixed(if truth { i64::from(f != 0.0) } else { f as i64 })).collect(),
        ),
        (Elements::Ints(ints), false) if truth => {
            let fixed = |i: &Int| i.as_fixed().is_none_or(|i| i != 0);
            Elements::Ints(ints.iter().map(|i| Int::fixed(i64::from(fixed(i)))).collect())
        }
        (same, _) => same.clone(),
    };
    Ok(Constant { shape: x.shape.clone(), elements })
}

/// A number in a shape that depends on the batch size.
fn number_of_shape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let sizes = importer.constant(node.need(0)?)?;
    let dims =
        sizes.as_ints()?.iter().map(|size| size.as_dim().ok_or_else(|| format!("a dimension of its shape is {size}")));
    let shape = Shape(dims.collect::<Result<_, _>>()?);
    let number = match node.tensor("value")? {
        Some(tensor) => tensor::decode(tensor, None)?.constant.elements,
        None => Elements::Floats(vec![0.0]),
    };
    let name = importer.fresh_name(&format!("{}.value", node.name));
    let dtype = if let Elements::Ints(_) = number { DType::I32 } else { DType::F32 };
    let x = importer.typed_source(&name, &Constant { shape: Vec::new(), elements: number }, dtype)?;
    Ok(vec![Value::Tensor(importer.broadcast(node.name, x, shape)?)])
}

fn constant_of_shape(node: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let sizes = fold::need(inputs, 0)?.as_fixed()?;
    let shape: Option<Vec<usize>> = sizes.iter().map(|&s| usize::try_from(s).ok()).collect();
    let shape = shape.ok_or_else(|| format!("the shape {sizes:?} has negative dimensions"))?;
    let count = fold::elements(&shape, room)?;
    let value = match node.tensor("value")? {
        Some(tensor) => tensor::decode(tensor, None)?.constant.elements,
        None => Elements::Floats(vec![0.0]),
    };
    let elements = match value {
        Elements::Ints(one) if one.len() == 1 => Elements::Ints(vec![one[0]; count]),
        Elements::Floats(one) if one.len() == 1 => Elements::Floats(vec![one[0]; count]),
        _ => return Err("attribute `value` must hold one element".into()),
    };
    Ok(vec![Constant { shape, elements }])
}

fn range(_: &Node, inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    if matches!(fold::need(inputs, 0)?.elements, Elements::Floats(_)) {
        return float_range(inputs, room);
    }
    let number = |position| match fold::need(inputs, position)?.as_fixed()?.as_slice() {
        [one] => Ok(*one),
        _ => Err("one number per input is needed".to_string()),
    };
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    if delta == 0 {
        return Err("the step is zero".into());
    }
    let span = i128::from(limit) - i128::from(start);
    let delta = i128::from(delta);
    let count = if span.signum() == delta.signum() { (span.abs() + delta.abs() - 1) / delta.abs() } else { 0 };
    let count = usize::try_from(count).ok().filter(|&n| n <= room).ok_or("the range is too long")?;
    let at = |i: usize| i64::try_from(i128::from(start) + i as i128 * delta).map(Int::fixed);
    let ints = (0..count).map(at).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(vec![Constant::ints(ints)])
}

fn float_range(inputs: Known, room: usize) -> Result<Vec<Constant>, String> {
    let number = |position| fold::need(inputs, position)?.as_scalar();
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    let count = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil().max(0.0);
    if count.is_nan() || delta == 0.0 || count > room as f64 {
        return Err(format!("the range from {start} to {limit} in steps of {delta} is too long"));
    }
    let floats: Vec<f32> = (0..count as usize).map(|i| start + i as f32 * delta).collect();
    Ok(vec![Constant { shape: vec![floats.len()], elements: Elements::Floats(floats) }])
}

/// The least or largest of all inputs: known numbers are one bound, tensors are compared in pairs.
fn extremum(importer: &mut Importer, node: &Node, least: bool) -> Result<Vec<Value>, String> {
    let mut best: Option<NodeId> = None;
    let mut bound: Option<(f64, usize)> = None;
    for operand in node.inputs.iter().flatten() {
        if let Value::Constant(constant) = &operand.value
            && constant.len() == 1
        {
            let number = decimal(constant.as_scalar()?);
            if number.is_nan() {
                return Err("a bound is not a number".into());
            }
            let (old, rank) = bound.unwrap_or((number, 0));
            let tightest = if least { old.min(number) } else { old.max(number) };
            bound = Some((tightest, rank.max(constant.shape.len())));
            continue;
        }
        let x = importer.operand(operand)?;
        best = match best {
            None => Some(x),
            Some(other) => Some(importer.emit(node.name, ops::Extremum { least }, &[other, x])?),
        };
    }
    let mut best = best.ok_or("it has no input")?;
    let Some((number, rank)) = bound else { return Ok(vec![Value::Tensor(best)]) };
    let shape = importer.shape(best).clone();
    if rank > shape.rank() {
        // A bound such as `[1, 1]` gives a vector another dimension.
        let ones = vec![Dim::fixed(1); rank - shape.rank()];
        best = importer.inner(node, "bounded", ops::Reshape { shape: Shape([ones, shape.0].concat()) }, &[best])?;
    }
    let (min, max) = if least { (f64::NEG_INFINITY, number) } else { (number, f64::INFINITY) };
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Clip { min: Real(min), max: Real(max) }, &[best])?)])
}

fn extreme(inputs: Known, room: usize, wanted: Ordering) -> Result<Vec<Constant>, String> {
    let mut best = fold::need(inputs, 0)?.clone();
    fold::elements(&best.shape, room)?;
    for other in inputs.iter().skip(1) {
        let pair = [Some(Rc::new(best)), other.clone()];
        let ints = |a: Int, b: Int| a.compare(b).map(|order| if order == wanted { a } else { b });
        let float = |a: f32, b: f32| if a.partial_cmp(&b) == Some(wanted) { a } else { b };
        best = fold::binary(&pair, room, ints, float)?;
    }
    Ok(vec![best])
}
