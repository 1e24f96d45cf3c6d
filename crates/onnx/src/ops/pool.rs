//! Pooling, and the sliding windows that it shares with convolution.

use super::Row;
use super::convolution::{lines, planes};
use crate::importer::Importer;
use crate::node::{Node, Padded, Value};
use bitbudget_ir::{NodeId, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "MaxPool",
        versions: &[1, 8, 10, 11, 12, 22],
        attributes: &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        forms: "`max_pool`; one or two spatial dimensions, all `auto_pad`, uneven pads, `ceil_mode`, dilations; a \
                Pad with the least number before it joins its own; not the output Indices",
        build: Some(max_pool),
        fold: None,
    },
    Row {
        name: "AveragePool",
        versions: &[7, 10, 11, 19, 22],
        attributes: &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        forms: "`average_pool`; one or two spatial dimensions, all `auto_pad`, uneven pads, `ceil_mode`, dilations, \
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
        forms: "`max_pool` with a window of the whole plane; one or two spatial dimensions",
        build: Some(global_max_pool),
        fold: None,
    },
];

/// A sliding window over any number of spatial dimensions.
pub(super) struct WindowAttributes {
    pub(super) strides: Vec<usize>,
    pub(super) pads_begin: Vec<usize>,
    pub(super) pads_end: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    /// Whether the padding was chosen by the size of the result.
    pub(super) same: bool,
}

/// More than any window needs, and little enough that sums of a few cannot overflow.
const MOST: i64 = 1 << 30;

fn list(node: &Node, name: &str, count: usize, least: i64) -> Result<Option<Vec<usize>>, String> {
    let Some(given) = node.ints(name)? else { return Ok(None) };
    let fits = |n: &i64| usize::try_from(*n).ok().filter(|_| (least..=MOST).contains(n));
    match given.iter().map(fits).collect::<Option<Vec<_>>>() {
        Some(list) if list.len() == count => Ok(Some(list)),
        _ => Err(format!("attribute `{name}` is {given:?}; {count} numbers of at least {least} are needed")),
    }
}

/// Strides, pads and dilations of a window of the given size over an input of the given size.
pub(super) fn window_attributes(node: &Node, kernel: &[usize], input: &[usize]) -> Result<WindowAttributes, String> {
    let rank = kernel.len();
    if let Some(k) = kernel.iter().find(|&&k| k == 0 || k > MOST as usize) {
        return Err(format!("a window of size {k} is not possible"));
    }
    let strides = list(node, "strides", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let dilations = list(node, "dilations", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let pads = list(node, "pads", 2 * rank, 0)?;
    let auto_pad = node.text("auto_pad")?.unwrap_or_else(|| "NOTSET".into());
    let zeros = vec![0; rank];
    let (pads_begin, pads_end, same) = match auto_pad.as_str() {
        "NOTSET" | "" => match pads {
            Some(pads) => (pads[..rank].to_vec(), pads[rank..].to_vec(), false),
            None => (zeros.clone(), zeros, false),
        },
        "VALID" => (zeros.clone(), zeros, false),
        upper @ ("SAME_UPPER" | "SAME_LOWER") => {
            let total = |d: usize| {
                let extent = (kernel[d] - 1) * dilations[d] + 1;
                ((input[d].div_ceil(strides[d]) - 1) * strides[d] + extent).saturating_sub(input[d])
            };
            let totals: Vec<usize> = (0..rank).map(total).collect();
            let (half, rest): (Vec<_>, Vec<_>) = totals.iter().map(|&t| (t / 2, t - t / 2)).unzip();
            if upper == "SAME_UPPER" { (half, rest, true) } else { (rest, half, true) }
        }
        other => return Err(format!("auto_pad `{other}` is not known (NOTSET, VALID, SAME_UPPER, SAME_LOWER)")),
    };
    Ok(WindowAttributes { strides, pads_begin, pads_end, dilations, same })
}

/// One or two numbers as those of two dimensions, the first filled in.
pub(super) fn pair(list: &[usize], fill: usize) -> [usize; 2] {
    match *list {
        [w] => [fill, w],
        [h, w, ..] => [h, w],
        [] => [fill; 2],
    }
}

/// The sizes of one or two spatial dimensions.
fn spatial(importer: &Importer, x: NodeId) -> Result<Vec<usize>, String> {
    let shape = importer.shape(x);
    let sizes: Option<Vec<usize>> = shape.0.iter().skip(2).map(|d| d.as_fixed()).collect();
    sizes.filter(|s| (1..=2).contains(&s.len())).ok_or_else(|| {
        format!("one and two spatial dimensions are supported, [N, C, L] or [N, C, H, W]; the input is {shape}")
    })
}

fn kernel(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    list(node, "kernel_shape", rank, 1)?.ok_or_else(|| "attribute `kernel_shape` is missing".into())
}

/// Size and attributes of the window over `x`, whose border joins its padding.
fn window(
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

fn max_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    node.refuse_outputs(1, "Indices")?;
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
    pooled(importer, node, x, op)
}

fn average_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let ceil = node.flag("ceil_mode")?;
    let mut count_include_pad = node.flag("count_include_pad")?;
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
    let input = spatial(importer, x)?;
    let op = ops::MaxPool {
        kernel: pair(&input, 1),
        strides: [1; 2],
        pads_begin: [0; 2],
        pads_end: [0; 2],
        dilations: [1; 2],
        ceil: false,
    };
    pooled(importer, node, x, op)
}
