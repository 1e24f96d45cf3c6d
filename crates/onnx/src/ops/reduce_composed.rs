//! Reductions beside sum and mean: extrema by an operator of their own, norms, products and logarithms of sums composed.

use super::part::part;
use super::reduce::{keep, of_nothing, product, reduced};
use super::row::{Build, Row};
use crate::importer::{Importer, Node, Value, decimal};
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, UnaryFunction, ops};

const fn row(name: &'static str, versions: &'static [i64], forms: &'static str, build: Build) -> Row {
    let attributes = &["axes", "keepdims", "noop_with_empty_axes"];
    Row { name, versions, attributes, forms, build: Some(build), fold: None }
}

pub(super) const ROWS: &[Row] = &[
    row("ReduceMax", &[1, 11, 12, 13, 18, 20], "`reduce_extremum`; ties share the gradient", |i, n| {
        composed(i, n, |i, n, x, over| over.extremum(i, n, x, false))
    }),
    row("ReduceMin", &[1, 11, 12, 13, 18, 20], "`reduce_extremum`; ties share the gradient", |i, n| {
        composed(i, n, |i, n, x, over| over.extremum(i, n, x, true))
    }),
    row("ReduceL1", &[1, 11, 13, 18], "`unary` and `reduce_sum`", |i, n| {
        composed(i, n, |i, n, x, over| {
            let magnitudes = over.terms(i, n, "magnitudes", unary(UnaryFunction::Abs), &[x])?;
            over.sum(i, n, magnitudes)
        })
    }),
    row("ReduceL2", &[1, 11, 13, 18], "`mul`, `reduce_sum` and `sqrt`; the gradient at 0 is 0", |i, n| {
        composed(i, n, |i, n, x, over| {
            let squares = i.inner(n, "squares", ops::Mul {}, &[x, x])?;
            let sum = over.inner_sum(i, n, squares)?;
            root(i, n.name, sum)
        })
    }),
    row("ReduceSumSquare", &[1, 11, 13, 18], "`mul` and `reduce_sum`", |i, n| {
        composed(i, n, |i, n, x, over| {
            let squares = over.terms(i, n, "squares", ops::Mul {}, &[x, x])?;
            over.sum(i, n, squares)
        })
    }),
    row("ReduceLogSum", &[1, 11, 13, 18], "`reduce_sum` and `log`", |i, n| {
        composed(i, n, |i, n, x, over| {
            let sum = over.inner_sum(i, n, x)?;
            i.emit(n.name, ops::Log {}, &[sum])
        })
    }),
    row(
        "ReduceLogSumExp",
        &[1, 11, 13, 18],
        "`exp` of the differences from the maximum, `reduce_sum`, `log`",
        |i, n| composed(i, n, log_sum_exp),
    ),
    Row {
        fold: Some(product),
        ..row(
            "ReduceProd",
            &[1, 11, 13, 18],
            "`mul` of halves; on whole numbers, over all elements of a list",
            |i, n| composed(i, n, products),
        )
    },
];

/// What a node reduces over.
struct Over {
    axes: Vec<usize>,
    keep: bool,
}

fn unary(function: UnaryFunction) -> ops::Unary {
    ops::Unary { function, alpha: Real(1.0), gamma: Real(1.0) }
}

impl Over {
    /// What is summed up: the result itself, where nothing is reduced.
    fn terms(
        &self,
        importer: &mut Importer,
        node: &Node,
        what: &str,
        op: impl Into<Op>,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        match self.axes.is_empty() {
            true => importer.emit(node.name, op, operands),
            false => importer.inner(node, what, op, operands),
        }
    }

    fn sum(&self, importer: &mut Importer, node: &Node, terms: NodeId) -> Result<NodeId, String> {
        if self.axes.is_empty() {
            return Ok(terms);
        }
        importer.emit(node.name, ops::ReduceSum { axes: self.axes.clone(), keep: self.keep }, &[terms])
    }

    fn inner_sum(&self, importer: &mut Importer, node: &Node, terms: NodeId) -> Result<NodeId, String> {
        if self.axes.is_empty() {
            return Ok(terms);
        }
        importer.inner(node, "sum", ops::ReduceSum { axes: self.axes.clone(), keep: self.keep }, &[terms])
    }

    fn extremum(&self, importer: &mut Importer, node: &Node, x: NodeId, least: bool) -> Result<NodeId, String> {
        if self.axes.is_empty() {
            return Ok(x);
        }
        importer.emit(node.name, ops::ReduceExtremum { axes: self.axes.clone(), keep: self.keep, least }, &[x])
    }
}

/// The reduction of the first input; over no axes too, since the steps that do not reduce are taken all the same.
fn composed(
    importer: &mut Importer,
    node: &Node,
    build: fn(&mut Importer, &Node, NodeId, &Over) -> Result<NodeId, String>,
) -> Result<Vec<Value>, String> {
    if let Some(known) = of_nothing(importer, node)? {
        return Ok(known);
    }
    let x = importer.tensor(node, 0)?;
    let given = importer.ints(node, 1)?;
    let axes = reduced(node, given, importer.shape(x).rank())?.unwrap_or_default();
    let y = build(importer, node, x, &Over { axes, keep: keep(node)? })?;
    Ok(vec![Value::Tensor(y)])
}

/// The square root of a sum of squares. The least normal number stands for a smaller sum, so that the gradient at 0 is 0 and not NaN.
pub(super) fn root(importer: &mut Importer, name: &str, sum: NodeId) -> Result<NodeId, String> {
    let clip = ops::Clip { min: Real(decimal(f32::MIN_POSITIVE)), max: Real(f64::INFINITY) };
    let bounded = importer.emit_internal(&format!("{name}.bounded"), clip, &[sum])?;
    importer.emit(name, ops::Sqrt {}, &[bounded])
}

fn log_sum_exp(importer: &mut Importer, node: &Node, x: NodeId, over: &Over) -> Result<NodeId, String> {
    if over.axes.is_empty() {
        return Ok(x);
    }
    let largest = ops::ReduceExtremum { axes: over.axes.clone(), keep: true, least: false };
    let largest = importer.inner(node, "largest", largest, &[x])?;
    // The difference of two equal infinities is not a number.
    let bound = 3e38;
    let finite = ops::Clip { min: Real(-bound), max: Real(bound) };
    let finite = importer.inner(node, "finite", finite, &[largest])?;
    let differences = importer.inner(node, "differences", ops::Sub {}, &[x, finite])?;
    let exponentials = importer.inner(node, "exponentials", ops::Exp {}, &[differences])?;
    let sum = over.inner_sum(importer, node, exponentials)?;
    let logarithm = importer.inner(node, "logarithm", ops::Log {}, &[sum])?;
    let shape = importer.shape(logarithm);
    let finite = importer.reshape(&format!("{}.offset", node.name), finite, shape)?;
    importer.emit(node.name, ops::Add {}, &[logarithm, finite])
}

/// The products over one axis, which is left out.
pub(super) fn multiplied(importer: &mut Importer, node: &Node, x: NodeId, axis: usize) -> Result<NodeId, String> {
    products(importer, node, x, &Over { axes: vec![axis], keep: false })
}

/// Products of halves: the gradient holds no quotient, so that zeros do no harm.
fn products(importer: &mut Importer, node: &Node, x: NodeId, over: &Over) -> Result<NodeId, String> {
    let shape = importer.shape(x);
    let sizes: Option<Vec<usize>> = over.axes.iter().map(|&axis| shape.0[axis].as_fixed()).collect();
    let sizes = sizes.ok_or_else(|| crate::batch::mixing("it multiplies over the batch"))?;
    let dims = shape.0.iter().enumerate().filter_map(|(axis, &dim)| match over.axes.contains(&axis) {
        false => Some(dim),
        true => over.keep.then_some(Dim::fixed(1)),
    });
    let target = Shape(dims.collect());
    let Some(last) = over.axes.iter().zip(&sizes).rfind(|&(_, &size)| size > 1).map(|(&axis, _)| axis) else {
        return importer.reshape(node.name, x, target);
    };
    let mut y = x;
    for (&axis, &size) in over.axes.iter().zip(&sizes) {
        let mut left = size;
        while left > 1 {
            let half = left / 2;
            let taken = |importer: &mut Importer, from: usize, count: usize| -> Result<NodeId, String> {
                let taken = part(importer, &format!("{}.part", node.name), y, axis, (from, count, 1))?;
                importer.make_internal(taken);
                Ok(taken)
            };
            let (low, high) = (taken(importer, 0, half)?, taken(importer, half, half)?);
            let rest = if left % 2 == 1 { Some(taken(importer, left - 1, 1)?) } else { None };
            if axis == last && left == 2 {
                y = importer.emit(node.name, ops::Mul {}, &[low, high])?;
            } else {
                y = importer.inner(node, "product", ops::Mul {}, &[low, high])?;
            }
            if let Some(rest) = rest {
                y = importer.inner(node, "joined", ops::Concat { axis }, &[y, rest])?;
            }
            left = half + left % 2;
        }
    }
    importer.reshape(node.name, y, target)
}
