//! Pooling.

use super::large_windows;
use super::row::Row;
use super::volume::{self, Pooling};
use super::window::{WindowAttributes, lines, list, pair, planes, spatial, window_attributes};
use crate::importer::{Importer, Node, Padded, Value};
use bitbudget_ir::{NodeId, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "MaxPool",
        versions: &[1, 8, 10, 11, 12, 22],
        attributes: &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        forms: "`max_pool`; one to three spatial dimensions (three by two of them), all `auto_pad`, uneven pads, `ceil_mode`, dilations; a \
                Pad with the least number before it joins its own; not the output Indices; windows of more than 256 \
                elements as several `max_pool`",
        build: Some(max_pool),
        fold: None,
    },
    Row {
        name: "AveragePool",
        versions: &[7, 10, 11, 19, 22],
        attributes: &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        forms: "`average_pool`; one to three spatial dimensions (three by two of them), all `auto_pad`, uneven pads, `ceil_mode`, dilations, \
                `count_include_pad`; a Pad with zeros before it joins its own where that counts padding",
        build: Some(average_pool),
        fold: None,
    },
    Row {
        name: "GlobalAveragePool",
        versions: &[1, 22],
        attributes: &[],
        forms: "`reduce_mean` over all dimensions but the first two",
        build: Some(global_average_pool),
        fold: None,
    },
    Row {
        name: "GlobalMaxPool",
        versions: &[1, 22],
        attributes: &[],
        forms: "`max_pool` with a window of the whole plane, several if that has more than 256 elements; one to three spatial \
                dimensions",
        build: Some(global_max_pool),
        fold: None,
    },
];

fn kernel(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    list(node, "kernel_shape", rank, 1)?.ok_or_else(|| "attribute `kernel_shape` is missing".into())
}

/// Size and attributes of the window over `x`, whose border joins its padding.
pub(super) fn window(
    importer: &Importer,
    node: &Node,
    x: NodeId,
    padded: Option<&Padded>,
) -> Result<(Vec<usize>, WindowAttributes), String> {
    let mut input = spatial(importer, x)?;
    let border = |d: usize| padded.map_or((0, 0), |padded| (padded.begin[d + 2], padded.end[d + 2]));
    for (d, size) in input.iter_mut().enumerate() {
        *size = size.saturating_add(border(d).0).saturating_add(border(d).1);
    }
    let kernel = kernel(node, input.len())?;
    let mut window = window_attributes(node, &kernel, &input)?;
    for d in 0..input.len() {
        window.pads_begin[d] += border(d).0;
        window.pads_end[d] += border(d).1;
    }
    Ok((kernel, window))
}

fn pooled(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    op: impl Into<bitbudget_ir::Op>,
) -> Result<Vec<Value>, String> {
    let line = importer.shape(x).rank() == 3;
    let x = planes(importer, node, x)?;
    let y = importer.emit(node.name, op, &[x])?;
    Ok(vec![Value::Tensor(if line { lines(importer, node, y)? } else { y })])
}

/// The input, if it has three spatial dimensions.
fn volume_input(importer: &mut Importer, node: &Node) -> Result<Option<NodeId>, String> {
    let rank = match &node.need(0)?.value {
        Value::Padded(padded) => padded.begin.len(),
        _ => importer.shape_of(node.need(0)?)?.rank(),
    };
    if rank == 5 { importer.tensor(node, 0).map(Some) } else { Ok(None) }
}

fn max_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    node.refuse_outputs(1, "Indices")?;
    if let Some(x) = volume_input(importer, node)? {
        return volume::pool(importer, node, x, Pooling::Maximum);
    }
    let ceil = node.flag("ceil_mode")?;
    let (x, padding) = match &node.need(0)?.value {
        Value::Padded(padded) if !ceil && padded.is_spatial(f32::NEG_INFINITY) => (padded.x, Some(padded.clone())),
        _ => (importer.tensor(node, 0)?, None),
    };
    let (kernel, window) = window(importer, node, x, padding.as_deref())?;
    let op = ops::MaxPool {
        kernel: pair(&kernel, 1),
        strides: pair(&window.strides, 1),
        pads_begin: pair(&window.pads_begin, 0),
        pads_end: pair(&window.pads_end, 0),
        dilations: pair(&window.dilations, 1),
        ceil: ceil && !window.same,
    };
    maxima(importer, node, x, op)
}

/// Max pooling as operators of windows that indices of one byte can tell apart; the names of all but the last say which they are.
fn maxima(importer: &mut Importer, node: &Node, x: NodeId, op: ops::MaxPool) -> Result<Vec<Value>, String> {
    let line = importer.shape(x).rank() == 3;
    let mut y = planes(importer, node, x)?;
    let sizes = spatial(importer, y)?;
    let parts = large_windows::parts(&op, [sizes[0], sizes[1]])?;
    for (at, part) in parts.iter().enumerate() {
        let name = match at + 1 == parts.len() || node.name.is_empty() {
            true => node.name.to_string(),
            false => format!("{}.part{}", node.name, at + 1),
        };
        y = importer.emit(&name, part.clone(), &[y])?;
    }
    Ok(vec![Value::Tensor(if line { lines(importer, node, y)? } else { y })])
}

fn average_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let ceil = node.flag("ceil_mode")?;
    let mut count_include_pad = node.flag("count_include_pad")?;
    if let Some(x) = volume_input(importer, node)? {
        return volume::pool(importer, node, x, Pooling::Mean { count_include_pad });
    }
    let no_pads = !node.has("auto_pad") && node.ints("pads")?.is_none_or(|pads| pads.iter().all(|&p| p == 0));
    // Zeros that a Pad puts around the input count as elements, so they may join only padding that counts as well.
    let (x, padding) = match &node.need(0)?.value {
        Value::Padded(padded) if !ceil && (count_include_pad || no_pads) && padded.is_spatial(0.0) => {
            (padded.x, Some(padded.clone()))
        }
        _ => (importer.tensor(node, 0)?, None),
    };
    let (kernel, window) = window(importer, node, x, padding.as_deref())?;
    count_include_pad |= padding.is_some();
    let op = ops::AveragePool {
        kernel: pair(&kernel, 1),
        strides: pair(&window.strides, 1),
        pads_begin: pair(&window.pads_begin, 0),
        pads_end: pair(&window.pads_end, 0),
        dilations: pair(&window.dilations, 1),
        ceil: ceil && !window.same,
        count_include_pad,
    };
    pooled(importer, node, x, op)
}

fn global_average_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let axes: Vec<usize> = (2..importer.shape(x).rank()).collect();
    if axes.is_empty() {
        return Err("an input [N, C, …] with at least one more dimension is needed".into());
    }
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::ReduceMean { axes, keep: true }, &[x])?)])
}

fn global_max_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    if volume::is_volume(importer, x) {
        return volume::whole(importer, node, x);
    }
    let input = spatial(importer, x)?;
    let op = ops::MaxPool {
        kernel: pair(&input, 1),
        strides: [1; 2],
        pads_begin: [0; 2],
        pads_end: [0; 2],
        dilations: [1; 2],
        ceil: false,
    };
    maxima(importer, node, x, op)
}
