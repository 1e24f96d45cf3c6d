//! LpPool and GlobalLpPool: norms of windows.

use super::pool::window;
use super::reduce_composed::root;
use super::row::Row;
use super::window::{lines, pair, planes, spatial};
use crate::importer::{Importer, Node, Value, decimal};
use bitbudget_ir::{NodeId, Op, Real, UnaryFunction, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "LpPool",
        versions: &[1, 2, 11, 18, 22],
        attributes: &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "p", "pads", "strides"],
        forms: "`average_pool` of powers, and a root; one or two spatial dimensions; the gradient at 0 is 0",
        build: Some(lp_pool),
        fold: None,
    },
    Row {
        name: "GlobalLpPool",
        versions: &[1, 2, 22],
        attributes: &["p"],
        forms: "`reduce_sum` of powers, and a root; the gradient at 0 is 0",
        build: Some(global_lp_pool),
        fold: None,
    },
];

/// The exponent, which version 1 has as a floating-point number.
fn exponent(node: &Node) -> Result<f64, String> {
    let p = if node.version == 1 { node.float("p")? } else { node.int("p")?.map(|p| p as f64) };
    match p.unwrap_or(2.0) {
        p if p >= 1.0 && p.is_finite() => Ok(p),
        p => Err(format!("p is {p}; it must be at least 1")),
    }
}

fn inner(importer: &mut Importer, node: &Node, what: &str, op: impl Into<Op>, x: &[NodeId]) -> Result<NodeId, String> {
    importer.emit_internal(&format!("{}.{what}", node.name), op, x)
}

fn unary(function: UnaryFunction, alpha: f64) -> ops::Unary {
    ops::Unary { function, alpha: Real(alpha), gamma: Real(1.0) }
}

fn powers(importer: &mut Importer, node: &Node, x: NodeId, p: f64) -> Result<NodeId, String> {
    if p == 2.0 {
        return inner(importer, node, "powers", ops::Mul {}, &[x, x]);
    }
    let magnitudes = inner(importer, node, "magnitudes", unary(UnaryFunction::Abs, 1.0), &[x])?;
    if p == 1.0 {
        return Ok(magnitudes);
    }
    inner(importer, node, "powers", unary(UnaryFunction::Power, p), &[magnitudes])
}

/// The root of sums of powers, under the node's name.
fn rooted(importer: &mut Importer, node: &Node, sum: NodeId, p: f64) -> Result<NodeId, String> {
    if p == 2.0 {
        return root(importer, node.name, sum);
    }
    let clip = ops::Clip { min: Real(decimal(f32::MIN_POSITIVE)), max: Real(f64::INFINITY) };
    let bounded = inner(importer, node, "bounded", clip, &[sum])?;
    importer.emit(node.name, unary(UnaryFunction::Power, decimal((1.0 / p) as f32)), &[bounded])
}

fn lp_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let p = exponent(node)?;
    let x = importer.tensor(node, 0)?;
    let sizes = spatial(importer, x)?;
    let (kernel_shape, window) = window(importer, node, x, None)?;
    let (mut ends, ceil) = (window.pads_end.clone(), node.flag("ceil_mode")? && !window.same);
    for d in (0..sizes.len()).filter(|_| ceil) {
        // A last, incomplete window is one over more padding; one that begins in it is left out.
        let extent = (kernel_shape[d] - 1) * window.dilations[d] + 1;
        let padded = sizes[d] + window.pads_begin[d] + window.pads_end[d];
        let rest = padded.saturating_sub(extent) % window.strides[d];
        let next = padded.saturating_sub(extent) - rest + window.strides[d];
        if rest > 0 && next < sizes[d] + window.pads_begin[d] {
            ends[d] += window.strides[d] - rest;
        }
    }
    let line = sizes.len() == 1;
    let powers = powers(importer, node, x, p)?;
    let powers = planes(importer, node, powers)?;
    let op = ops::AveragePool {
        kernel: pair(&kernel_shape, 1),
        strides: pair(&window.strides, 1),
        pads_begin: pair(&window.pads_begin, 0),
        pads_end: pair(&ends, 0),
        dilations: pair(&window.dilations, 1),
        ceil: false,
        count_include_pad: true,
    };
    let mean = inner(importer, node, "mean", op, &[powers])?;
    let area = kernel_shape.iter().product::<usize>() as f64;
    let by = Real(area);
    if p == 1.0 {
        let y = importer.emit(node.name, ops::Scale { by }, &[mean])?;
        return Ok(vec![Value::Tensor(if line { lines(importer, node, y)? } else { y })]);
    }
    let sum = inner(importer, node, "sum", ops::Scale { by }, &[mean])?;
    let y = rooted(importer, node, sum, p)?;
    Ok(vec![Value::Tensor(if line { lines(importer, node, y)? } else { y })])
}

fn global_lp_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let p = exponent(node)?;
    let x = importer.tensor(node, 0)?;
    let axes: Vec<usize> = (2..importer.shape(x).rank()).collect();
    if axes.is_empty() {
        return Err("an input [N, C, …] with at least one more dimension is needed".into());
    }
    let powers = powers(importer, node, x, p)?;
    let op = ops::ReduceSum { axes, keep: true };
    if p == 1.0 {
        return Ok(vec![Value::Tensor(importer.emit(node.name, op, &[powers])?)]);
    }
    let sum = inner(importer, node, "sum", op, &[powers])?;
    Ok(vec![Value::Tensor(rooted(importer, node, sum, p)?)])
}
