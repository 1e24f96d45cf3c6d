//! ConvTranspose: the gradient of a convolution with respect to its input, as an operator of its own.

use super::row::Row;
use super::volume_transpose;
use super::window::{Line, lines, list, pair, planes};
use crate::importer::{Importer, Node, Value};
use crate::warning::WarningKind;
use bitbudget_ir::{Dim, NodeId, Shape, ops};

pub(super) const ROWS: &[Row] = &[Row {
    name: "ConvTranspose",
    versions: &[1, 11, 22],
    attributes: &[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "strides",
    ],
    forms: "`conv_grad_input`, and `add` for a bias; one or two spatial dimensions, three by the layers of the kernel, all `auto_pad`, uneven pads, `output_padding`, \
            `output_shape`, dilations, groups",
    build: Some(conv_transpose),
    fold: None,
}];

fn conv_transpose(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if matches!(node.need(1)?.value, Value::Constant(_)) {
        importer.warn(WarningKind::ConstantWeight, node.name);
    }
    let (x, w) = (importer.tensor(node, 0)?, importer.tensor(node, 1)?);
    let (x_shape, w_shape) = (importer.shape(x), importer.shape(w));
    let spatial = x_shape.rank().saturating_sub(2);
    if x_shape.rank() != w_shape.rank() || !(1..=3).contains(&spatial) {
        return Err(format!(
            "one to three spatial dimensions are supported: an input [N, C, H, W] with a weight [C, M/group, KH, KW]; these are \
             {x_shape} and {w_shape}"
        ));
    }
    let groups = node.int("group")?.unwrap_or(1);
    let groups =
        usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| format!("group {groups} is not possible"))?;
    let channels = w_shape.0[1].factor().saturating_mul(groups);
    let along = lines_of(node, &x_shape, &w_shape, spatial)?;
    let of = |f: fn(&Line) -> usize| along.iter().map(f).collect::<Vec<usize>>();
    let sized = |outputs: Vec<usize>| {
        let dims = [x_shape.0[0], Dim::fixed(channels)].into_iter().chain(outputs.into_iter().map(Dim::fixed));
        Shape(dims.collect())
    };
    let has_zeros = along.iter().any(|line| line.zeros > 0);
    let has_bias = node.input(2).is_some();
    let named = |what: &str, is_last: bool| match is_last {
        true => node.name.to_string(),
        false => format!("{}.{what}", node.name),
    };
    let inner = |importer: &mut Importer, y: NodeId, is_last: bool| {
        if !is_last {
            importer.make_internal(y);
        }
    };
    let is_last = !has_zeros && !has_bias;
    let mut y = match spatial {
        3 => volume_transpose::conv_transpose(importer, node, [x, w], &along, groups, is_last.then_some(node.name))?,
        _ => {
            let mut planar = sized(of(|line| line.output));
            if spatial == 1 {
                planar.0.insert(2, Dim::fixed(1));
            }
            let op = ops::ConvGradInput {
                strides: pair(&of(|line| line.stride), 1),
                pads_begin: pair(&of(|line| line.begin), 0),
                pads_end: pair(&of(|line| line.end), 0),
                dilations: pair(&of(|line| line.dilation), 1),
                groups,
                input: planar,
            };
            let operands = [planes(importer, node, x)?, planes(importer, node, w)?];
            let y = importer.emit(&named("product", is_last), op, &operands)?;
            inner(importer, y, is_last);
            if spatial == 1 { lines(importer, node, y)? } else { y }
        }
    };
    if has_zeros {
        let shape = sized(along.iter().map(|line| line.output + line.zeros).collect());
        let op = ops::SliceScatter { begin: vec![0; shape.rank()], step: vec![1; shape.rank()], shape };
        y = importer.emit(&named("padded", !has_bias), op, &[y])?;
        inner(importer, y, !has_bias);
    }
    if has_bias {
        let bias = importer.tensor(node, 2)?;
        if importer.shape(bias).0 != [Dim::fixed(channels)] {
            return Err(format!("the bias must have shape [{channels}], but is {}", importer.shape(bias)));
        }
        let mut dims = vec![Dim::fixed(1); spatial + 1];
        dims[0] = Dim::fixed(channels);
        let bias = importer.reshape(node.name, bias, Shape(dims))?;
        y = importer.emit(node.name, ops::Add {}, &[y, bias])?;
    }
    Ok(vec![Value::Tensor(y)])
}

fn sizes(shape: &Shape) -> Result<Vec<usize>, String> {
    let fixed = shape.0[2..].iter().map(|dim| dim.as_fixed());
    fixed.collect::<Option<_>>().ok_or_else(|| format!("the batch must stand first in {shape}"))
}

/// Sizes and padding of each spatial dimension, by ONNX's formulas.
fn lines_of(node: &Node, x: &Shape, w: &Shape, spatial: usize) -> Result<Vec<Line>, String> {
    let (input, kernel) = (sizes(x)?, sizes(w)?);
    if let Some(given) = list(node, "kernel_shape", spatial, 1)?.filter(|given| *given != kernel) {
        return Err(format!("kernel_shape {given:?} is not that of the weight, {kernel:?}"));
    }
    let numbers = |name, default, least| -> Result<Vec<usize>, String> {
        Ok(list(node, name, spatial, least)?.unwrap_or_else(|| vec![default; spatial]))
    };
    let (strides, dilations) = (numbers("strides", 1, 1)?, numbers("dilations", 1, 1)?);
    let extra = numbers("output_padding", 0, 0)?;
    // A list of all dimensions is accepted as well as one of the spatial ones.
    let wanted = match node.ints("output_shape")? {
        Some(all) if all.len() == spatial + 2 => Some(all[2..].to_vec()),
        Some(given) if given.len() == spatial => Some(given.to_vec()),
        Some(given) => return Err(format!("output_shape {given:?} does not have {spatial} numbers")),
        None => None,
    };
    let pads = list(node, "pads", 2 * spatial, 0)?.unwrap_or_else(|| vec![0; 2 * spatial]);
    let auto_pad = node.text("auto_pad")?.unwrap_or_else(|| "NOTSET".into());
    if !["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&auto_pad.as_str()) {
        return Err(format!("auto_pad `{auto_pad}` is not known (NOTSET, VALID, SAME_UPPER, SAME_LOWER)"));
    }
    let is_same = auto_pad.starts_with("SAME");
    let line = |d: usize| {
        let (stride, dilation) = (strides[d], dilations[d]);
        let reach = (input[d] - 1).saturating_mul(stride).saturating_add((kernel[d] - 1).saturating_mul(dilation) + 1);
        let full = reach.saturating_add(extra[d]);
        let given = wanted.as_ref().map(|wanted| usize::try_from(wanted[d]).unwrap_or(0));
        let goal = given.or_else(|| is_same.then(|| input[d].saturating_mul(stride)));
        let (begin, end, output) = match goal {
            Some(goal) => {
                let total = full.saturating_sub(goal);
                let (less, more) = (total / 2, total - total / 2);
                let (begin, end) = if auto_pad == "SAME_UPPER" { (less, more) } else { (more, less) };
                (begin, end, goal)
            }
            None if auto_pad == "VALID" => (0, 0, full),
            None => {
                let (begin, end) = (pads[d], pads[spatial + d]);
                (begin, end, full.saturating_sub(begin).saturating_sub(end))
            }
        };
        if output == 0 {
            return Err(format!("its result has no elements along spatial dimension {d}"));
        }
        // The convolution has as many windows only where it ends less than a stride behind its last one.
        let excess = (output + begin + end).saturating_sub(reach + stride - 1);
        let (fewer, zeros) = (excess.min(end), excess.saturating_sub(end));
        match zeros < output {
            true => Ok(Line { stride, dilation, begin, end: end - fewer, output: output - zeros, zeros }),
            false => Err(format!("no window reaches its result along spatial dimension {d}")),
        }
    };
    (0..spatial).map(line).collect()
}
