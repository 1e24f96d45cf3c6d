//! Conv.

use super::row::Row;
use super::volume::{self, Convolution};
use super::window::{lines, pair, planes, window_attributes};
use crate::importer::{Importer, Node, Value};
use crate::warning::WarningKind;
use bitbudget_ir::{Shape, ops};

pub(super) const ROWS: &[Row] = &[Row {
    name: "Conv",
    versions: &[1, 11, 22],
    attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
    forms: "`conv`; one or two spatial dimensions (one by way of `reshape`), three by planes as channels, all `auto_pad`, uneven pads, dilations, \
            groups; a Pad with zeros before it joins its own",
    build: Some(conv),
    fold: None,
}];

pub(super) fn conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let weight_operand = node.need(1)?;
    if matches!(weight_operand.value, Value::Constant(_)) {
        importer.warn(WarningKind::ConstantWeight, node.name);
    }
    let (x, padding) = match &node.need(0)?.value {
        Value::Padded(padded) if padded.is_spatial(0.0) => (padded.x, Some(padded.clone())),
        _ => (importer.tensor(node, 0)?, None),
    };
    let (x_shape, w_shape) = (importer.shape(x), importer.shape_of(node.need(1)?)?);
    let spatial = x_shape.rank().saturating_sub(2);
    if x_shape.rank() != w_shape.rank() || !(1..=3).contains(&spatial) {
        return Err(format!(
            "one to three spatial dimensions are supported: an input [N, C, H, W] with a weight [M, C/group, KH, KW]; \
             these are {x_shape} and {w_shape}"
        ));
    }
    let sizes = |shape: &Shape| -> Result<Vec<usize>, String> {
        let fixed = shape.0[2..].iter().map(|d| d.as_fixed());
        fixed.collect::<Option<_>>().ok_or_else(|| format!("the batch must stand first in {shape}"))
    };
    let kernel = sizes(&w_shape)?;
    let mut input = sizes(&x_shape)?;
    if let Some(given) = node.ints("kernel_shape")?
        && !given.iter().map(|&k| usize::try_from(k).ok()).eq(kernel.iter().map(|&k| Some(k)))
    {
        return Err(format!("kernel_shape {given:?} is not that of the weight, {kernel:?}"));
    }
    let (mut extra_begin, mut extra_end) = (vec![0; spatial], vec![0; spatial]);
    if let Some(padded) = &padding {
        extra_begin.copy_from_slice(&padded.begin[2..]);
        extra_end.copy_from_slice(&padded.end[2..]);
        for d in 0..spatial {
            input[d] = input[d].saturating_add(extra_begin[d]).saturating_add(extra_end[d]);
        }
    }
    let mut window = window_attributes(node, &kernel, &input)?;
    for d in 0..spatial {
        window.pads_begin[d] += extra_begin[d];
        window.pads_end[d] += extra_end[d];
    }
    let channels = x_shape.0[1].factor();
    let groups = node.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups)
        .ok()
        .filter(|&g| g > 0 && g <= channels)
        .ok_or_else(|| format!("group {groups} does not fit {channels} input channels"))?;
    if spatial == 3 {
        return volume::conv(importer, node, x, &Convolution { window, groups });
    }
    let op = ops::Conv {
        strides: pair(&window.strides, 1),
        pads_begin: pair(&window.pads_begin, 0),
        pads_end: pair(&window.pads_end, 0),
        dilations: pair(&window.dilations, 1),
        groups,
    };
    let x = planes(importer, node, x)?;
    let weight = importer.tensor(node, 1)?;
    let mut operands = vec![x, planes(importer, node, weight)?];
    if node.input(2).is_some() {
        operands.push(importer.tensor(node, 2)?);
    }
    let y = importer.emit(node.name, op, &operands)?;
    Ok(vec![Value::Tensor(if spatial == 1 { lines(importer, node, y)? } else { y })])
}
