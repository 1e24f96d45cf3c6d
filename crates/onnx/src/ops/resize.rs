//! Resize and Upsample.

mod weights;

use super::part::part;
use super::row::Row;
use super::{fold, linear_map};
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, axis};
use bitbudget_ir::{Dim, NodeId, Shape, ops};
use weights::{Coordinates, Filter, Resizing, Rounding};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "Resize",
        versions: &[10, 11, 13, 18, 19],
        attributes: &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        forms: "nearest by whole factors, `broadcast` or `slice`; else a product with constant weights along each axis, `matmul` or \
                `conv`; all modes, with sizes or scales known at import; the batch as it is",
        build: Some(resize),
        fold: None,
    },
    Row {
        name: "Upsample",
        versions: &[7, 9],
        attributes: &["mode", "scales"],
        forms: "like Resize",
        build: Some(resize),
        fold: None,
    },
];

/// The new size of an axis, and its ratio to the old one.
#[derive(Clone, Copy)]
struct Target {
    axis: usize,
    input: usize,
    output: usize,
    scale: f32,
    /// The part of the input that is resized, as fractions of its length.
    part: Option<(f32, f32)>,
}

fn resize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let targets = targets(importer, node, &importer.shape(x))?;
    let resizings = targets.iter().map(|&target| Ok((target.axis, resizing(node, target)?)));
    let resizings: Vec<(usize, Resizing)> = resizings.collect::<Result<_, String>>()?;
    let changed: Vec<&(usize, Resizing)> = resizings.iter().filter(|(_, resizing)| !is_identity(resizing)).collect();
    let by_factors: Option<Vec<(usize, usize)>> = changed.iter().map(|(axis, r)| Some((*axis, factor(r)?))).collect();
    if let Some(factors) = by_factors.filter(|factors| !factors.is_empty()) {
        return Ok(vec![Value::Tensor(repeated(importer, node.name, x, &factors)?)]);
    }
    let mut y = x;
    for (at, (axis, resizing)) in changed.iter().enumerate() {
        let is_inner = at + 1 < changed.len();
        let name = if is_inner { format!("{}.axis{axis}", node.name) } else { node.name.to_string() };
        y = match slice(resizing) {
            Some((first, step)) => {
                let taken = part(importer, &name, y, *axis, (first, resizing.output, step))?;
                if is_inner {
                    importer.make_internal(taken);
                }
                taken
            }
            None => linear_map::product(importer, &name, y, *axis, resizing.matrix(), is_inner)?,
        };
    }
    let beyond = node.float("extrapolation_value")?.unwrap_or(0.0) as f32;
    if beyond != 0.0 && resizings.iter().any(|(_, resizing)| (0..resizing.output).any(|o| resizing.is_beyond(o))) {
        y = filled(importer, node, y, &resizings, beyond)?;
    }
    Ok(vec![Value::Tensor(y)])
}

/// A number in the place of the zeros beyond the input.
fn filled(
    importer: &mut Importer,
    node: &Node,
    y: NodeId,
    resizings: &[(usize, Resizing)],
    number: f32,
) -> Result<NodeId, String> {
    let mut shape = vec![1; importer.shape(y).rank()];
    resizings.iter().for_each(|(axis, resizing)| shape[*axis] = resizing.output);
    let mut numbers = Vec::with_capacity(fold::made(&shape)?);
    fold::each_index(&shape, |index| {
        let is_beyond = resizings.iter().any(|(axis, resizing)| resizing.is_beyond(index[*axis]));
        numbers.push(if is_beyond { number } else { 0.0 });
    });
    let name = importer.fresh_name(&format!("{}.beyond", node.name));
    let numbers = importer.constant_source(&name, &Constant { shape, elements: Elements::Floats(numbers) })?;
    importer.make_internal(y);
    importer.emit(node.name, ops::Add {}, &[y, numbers])
}

/// Whether resizing changes nothing.
fn is_identity(resizing: &Resizing) -> bool {
    let size = resizing.input;
    let is_one = |matrix: Vec<f32>| matrix.iter().enumerate().all(|(i, &w)| w == f32::from(i % size == i / size));
    resizing.output == size
        && match resizing.nearest() {
            Some(nearest) => nearest.into_iter().eq(0..size),
            None => is_one(resizing.matrix()),
        }
}

/// The factor by which each element is repeated, if each is as often.
fn factor(resizing: &Resizing) -> Option<usize> {
    let nearest = resizing.nearest()?;
    let factor = resizing.output / resizing.input;
    let is_repeated = factor * resizing.input == resizing.output && factor > 0;
    (is_repeated && nearest.iter().enumerate().all(|(o, &at)| at == o / factor)).then_some(factor)
}

/// First element and step, if elements are taken in equal steps.
fn slice(resizing: &Resizing) -> Option<(usize, i64)> {
    let nearest = resizing.nearest()?;
    let step = match nearest.as_slice() {
        [first, second, ..] => *second as i64 - *first as i64,
        _ => 1,
    };
    let is_even = nearest.windows(2).all(|pair| pair[1] as i64 - pair[0] as i64 == step);
    (step > 0 && is_even).then(|| (nearest[0], step))
}

/// Each element of the given axes repeated as often as is said.
fn repeated(importer: &mut Importer, name: &str, x: NodeId, factors: &[(usize, usize)]) -> Result<NodeId, String> {
    let shape = importer.shape(x);
    let (mut apart, mut wide, mut target) = (Vec::new(), Vec::new(), shape.clone());
    for (axis, &dim) in shape.0.iter().enumerate() {
        apart.push(dim);
        wide.push(dim);
        if let Some(&(_, factor)) = factors.iter().find(|(other, _)| *other == axis) {
            apart.push(Dim::fixed(1));
            wide.push(Dim::fixed(factor));
            target.0[axis] = Dim::fixed(dim.factor().saturating_mul(factor));
        }
    }
    let x = importer.reshape(name, x, Shape(apart))?;
    let y = importer.emit(name, ops::Broadcast { shape: Shape(wide) }, &[x])?;
    importer.reshape(name, y, target)
}

/// The largest size along an axis.
const LARGEST: usize = 1 << 20;

/// The axes with their new sizes; the batch is not among them.
fn targets(importer: &mut Importer, node: &Node, shape: &Shape) -> Result<Vec<Target>, String> {
    let axes = match node.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.rank()).collect(),
    };
    let of_resize = node.proto.op_type == "Resize" && node.version > 10;
    let given = |position: usize| {
        let operand = node.input(position).map(|operand| importer.constant(operand)).transpose();
        operand.map(|constant| constant.filter(|constant| constant.len() > 0))
    };
    let scales = match (given(if of_resize { 2 } else { 1 })?, node.floats("scales")?) {
        (Some(constant), _) => Some(constant.as_floats()?),
        (None, attribute) => attribute.map(<[f32]>::to_vec),
    };
    let sizes = if of_resize { given(3)? } else { None };
    let parts = match node.text("coordinate_transformation_mode")?.as_deref() {
        Some("tf_crop_and_resize") => {
            let parts = given(1)?.ok_or("tf_crop_and_resize needs the input roi")?.as_floats()?;
            if parts.len() != 2 * axes.len() {
                return Err(format!("roi has {} numbers for {} axes", parts.len(), axes.len()));
            }
            Some(parts)
        }
        _ => None,
    };
    let part_of = |at: usize| parts.as_ref().map(|parts| (parts[at], parts[axes.len() + at]));
    let fits = |count: usize| match count == axes.len() {
        true => Ok(()),
        false => Err(format!("{count} scales or sizes for {} axes", axes.len())),
    };
    let whole = |axis: usize| format!("the batch (dimension {axis} of {shape}) cannot be resized");
    let mut targets = Vec::new();
    match (scales, sizes) {
        (_, Some(sizes)) => {
            let sizes = sizes.as_ints()?;
            fits(sizes.len())?;
            for (at, (&axis, size)) in axes.iter().zip(sizes).enumerate() {
                let Some(input) = shape.0[axis].as_fixed() else {
                    let same = size.as_dim() == Some(shape.0[axis]);
                    let exported = importer.batch.and_then(|batch| i64::try_from(shape.0[axis].at(batch)).ok());
                    if !same && (exported.is_none() || size.as_fixed() != exported) {
                        return Err(whole(axis));
                    }
                    if !same {
                        importer.replaced_batch(node.name);
                    }
                    continue;
                };
                let output = size.as_dim().and_then(|dim| dim.as_fixed());
                let output =
                    output.ok_or_else(|| format!("its size {size} along dimension {axis} must be positive"))?;
                targets.push(Target { axis, input, output, scale: output as f32 / input as f32, part: part_of(at) });
            }
            keep_aspect(node, &mut targets)?;
        }
        (Some(scales), None) => {
            fits(scales.len())?;
            for (at, (&axis, &scale)) in axes.iter().zip(&scales).enumerate() {
                let Some(input) = shape.0[axis].as_fixed() else {
                    if scale != 1.0 {
                        return Err(whole(axis));
                    }
                    continue;
                };
                let length = part_of(at).map_or(1.0, |(start, end)| end - start);
                let output = (input as f32 * length * scale).floor();
                if !(1.0..1e9).contains(&output) {
                    return Err(format!("its scale {scale} along dimension {axis} of {shape} is not possible"));
                }
                targets.push(Target { axis, input, output: output as usize, scale, part: part_of(at) });
            }
        }
        (None, None) => return Err("its scales or sizes are missing".into()),
    }
    match targets.iter().find(|target| target.output > LARGEST) {
        Some(Target { axis, output, .. }) => {
            Err(format!("its size {output} along dimension {axis} is too large: at most {LARGEST} is possible"))
        }
        None => Ok(targets),
    }
}

/// Makes the ratios of all axes one, where the node asks for it.
fn keep_aspect(node: &Node, targets: &mut [Target]) -> Result<(), String> {
    let policy = node.text("keep_aspect_ratio_policy")?.unwrap_or_else(|| "stretch".into());
    let scales = targets.iter().map(|target| target.scale);
    let scale = match policy.as_str() {
        "stretch" => return Ok(()),
        "not_larger" => scales.fold(f32::INFINITY, f32::min),
        "not_smaller" => scales.fold(0.0, f32::max),
        other => return Err(format!("keep_aspect_ratio_policy `{other}` is not known")),
    };
    for target in targets {
        target.scale = scale;
        target.output = ((scale * target.input as f32 + 0.5).floor() as usize).max(1);
    }
    Ok(())
}

fn resizing(node: &Node, target: Target) -> Result<Resizing, String> {
    let of_resize = node.proto.op_type == "Resize";
    let text = |name: &str, default: &str| Ok::<String, String>(node.text(name)?.unwrap_or_else(|| default.into()));
    let is_new = of_resize && node.version > 10;
    let coordinates =
        match text("coordinate_transformation_mode", if is_new { "half_pixel" } else { "asymmetric" })?.as_str() {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixel,
            "tf_crop_and_resize" => {
                let (start, end) = target.part.ok_or("tf_crop_and_resize needs the input roi")?;
                Coordinates::Crop(start, end)
            }
            other => return Err(format!("coordinate_transformation_mode `{other}` is not supported")),
        };
    // Before operator set 11 the nearest element was the one before, and the one behind where the result is smaller.
    let before = if target.scale < 1.0 { "ceil" } else { "floor" };
    let rounding = match text("nearest_mode", if is_new { "round_prefer_floor" } else { before })?.as_str() {
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(format!("nearest_mode `{other}` is not known")),
    };
    let filter = match text("mode", "nearest")?.as_str() {
        "nearest" => Filter::Nearest(rounding),
        "linear" | "bilinear" | "trilinear" => Filter::Linear,
        "cubic" => Filter::Cubic(node.float("cubic_coeff_a")?.unwrap_or(-0.75)),
        other => return Err(format!("mode `{other}` is not known")),
    };
    let Target { input, output, scale, .. } = target;
    let (antialias, exclude_outside) = (node.flag("antialias")?, node.flag("exclude_outside")?);
    Ok(Resizing { input, output, scale, coordinates, filter, antialias, exclude_outside })
}
