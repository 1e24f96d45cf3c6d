//! Sums and means over dimensions.

use super::fold;
use super::row::Row;
use crate::batch;
use crate::file::constant::{Constant, Elements, Int};
use crate::importer::{Importer, Node, Value, axes};
use bitbudget_ir::{Op, ops};
use std::rc::Rc;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "ReduceMean",
        versions: &[1, 11, 13, 18],
        attributes: &["axes", "keepdims", "noop_with_empty_axes"],
        forms: "`reduce_mean`; axes as attribute or known input, the batch among them only in a loss of the network's own",
        build: Some(|i, n| reduce(i, n, |axes, keep| ops::ReduceMean { axes, keep }.into())),
        fold: None,
    },
    Row {
        name: "ReduceSum",
        versions: &[1, 11, 13],
        attributes: &["axes", "keepdims", "noop_with_empty_axes"],
        forms: "`reduce_sum`; axes as attribute or known input",
        build: Some(|i, n| reduce(i, n, |axes, keep| ops::ReduceSum { axes, keep }.into())),
        fold: None,
    },
];

/// The dimensions to reduce; nothing where the input is handed on.
pub(super) fn reduced(node: &Node, given: Option<Vec<i64>>, rank: usize) -> Result<Option<Vec<usize>>, String> {
    let given = match given {
        Some(given) => Some(given),
        None => node.ints("axes")?.map(<[i64]>::to_vec),
    };
    match given {
        Some(given) if !given.is_empty() => axes(&given, rank).map(Some),
        _ if node.flag("noop_with_empty_axes")? => Ok(None),
        _ => Ok(Some((0..rank).collect())),
    }
}

pub(super) fn keep(node: &Node) -> Result<bool, String> {
    Ok(node.int("keepdims")?.unwrap_or(1) != 0)
}

/// The reduction of an input without elements: that of nothing, for each element of the result.
pub(super) fn of_nothing(importer: &Importer, node: &Node) -> Result<Option<Vec<Value>>, String> {
    let Some(x) = importer.constant(node.need(0)?).ok().filter(|x| x.len() == 0) else { return Ok(None) };
    let nothing = match node.proto.op_type.as_str() {
        "ReduceMean" => f32::NAN,
        "ReduceProd" => 1.0,
        "ReduceMin" => f32::INFINITY,
        "ReduceMax" | "ReduceLogSum" | "ReduceLogSumExp" => f32::NEG_INFINITY,
        _ => 0.0,
    };
    let over = reduced(node, importer.ints(node, 1)?, x.shape.len())?.unwrap_or_default();
    let (mut shape, keep) = (Vec::new(), keep(node)?);
    for (axis, &size) in x.shape.iter().enumerate() {
        match over.contains(&axis) {
            true if keep => shape.push(1),
            true => {}
            false => shape.push(size),
        }
    }
    let count = fold::elements(&shape, MOST)?;
    Ok(Some(vec![Value::known(Constant { shape, elements: Elements::Floats(vec![nothing; count]) })]))
}

/// The most elements that reductions of nothing have.
const MOST: usize = 1 << 20;

fn reduce(importer: &mut Importer, node: &Node, op: impl Fn(Vec<usize>, bool) -> Op) -> Result<Vec<Value>, String> {
    if let Some(known) = of_nothing(importer, node)? {
        return Ok(known);
    }
    let x = importer.tensor(node, 0)?;
    let given = importer.ints(node, 1)?;
    match reduced(node, given, importer.shape(x).rank())? {
        Some(axes) => {
            let op = op(axes, keep(node)?);
            let has_batch = |axes: &[usize]| axes.iter().any(|&a| importer.shape(x).0[a].is_batch());
            if matches!(&op, Op::ReduceMean(op) if has_batch(&op.axes)) && !importer.has_own_loss {
                return Err(batch::mixing("it takes the mean over the batch"));
            }
            Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
        }
        None => Ok(vec![Value::Tensor(x)]),
    }
}

/// The product of all elements of a list of whole numbers.
pub(super) fn product(node: &Node, inputs: &[Option<Rc<Constant>>], room: usize) -> Result<Vec<Constant>, String> {
    let x = fold::need(inputs, 0)?;
    fold::elements(&x.shape, room)?;
    let given = inputs.get(1).and_then(Option::as_ref).map(|c| c.as_fixed()).transpose()?;
    let rank = x.shape.len();
    if reduced(node, given, rank)?.is_none_or(|axes| axes.len() != rank) {
        return Err("only the product of all elements is supported".into());
    }
    let all = x.as_ints()?.iter().try_fold(Int::fixed(1), |product, &i| product.mul(i));
    let all = all.ok_or("the product is too large, or holds the batch size twice")?;
    let shape = if keep(node)? { vec![1; rank] } else { Vec::new() };
    Ok(vec![Constant { shape, elements: Elements::Ints(vec![all]) }])
}
