//! Normalisations that are composed of others: statistics are internal, so that no format rounds them.

use super::normalization::row_shaped;
use super::reduce_composed::root;
use super::row::Row;
use crate::batch;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, axes, axis, decimal};
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, UnaryFunction, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "InstanceNormalization",
        versions: &[1, 6, 22],
        attributes: &["consumed_inputs", "epsilon"],
        forms: "`layer_normalization` of each channel, `mul` and `add`",
        build: Some(instance_normalization),
        fold: None,
    },
    Row {
        name: "GroupNormalization",
        versions: &[18, 21],
        attributes: &["epsilon", "num_groups", "stash_type"],
        forms: "`layer_normalization` of each group of channels, `mul` and `add`; scale and bias per group before operator set 21",
        build: Some(group_normalization),
        fold: None,
    },
    Row {
        name: "RMSNormalization",
        versions: &[23],
        attributes: &["axis", "epsilon", "stash_type"],
        forms: "`mul`, `reduce_mean` and a power; the batch not among the normalised dimensions, `stash_type` 1",
        build: Some(rms_normalization),
        fold: None,
    },
    Row {
        name: "LpNormalization",
        versions: &[1, 22],
        attributes: &["axis", "p"],
        forms: "`div` by a norm; a norm of 0 gives 0",
        build: Some(lp_normalization),
        fold: None,
    },
    Row {
        name: "MeanVarianceNormalization",
        versions: &[9, 13],
        attributes: &["axes"],
        forms: "`reduce_mean`, `sub`, `div`; the batch not among the axes",
        build: Some(mean_variance_normalization),
        fold: None,
    },
    Row {
        name: "LRN",
        versions: &[1, 13],
        attributes: &["alpha", "beta", "bias", "size"],
        forms: "`average_pool` of squares over the channels, and a power",
        build: Some(local_response_normalization),
        fold: None,
    },
];

/// Adds the normalised tensor, which the gradient of a scale reads: it has a format, so that it can be kept in a few bits.
fn kept(importer: &mut Importer, node: &Node, op: impl Into<Op>, operands: &[NodeId]) -> Result<NodeId, String> {
    importer.emit(&format!("{}.normalised", node.name), op, operands)
}

/// A source of one number.
fn number(importer: &mut Importer, node: &Node, what: &str, value: f64) -> Result<NodeId, String> {
    let name = importer.fresh_name(&format!("{}.{what}", node.name));
    importer.constant_source(&name, &Constant { shape: Vec::new(), elements: Elements::Floats(vec![value as f32]) })
}

fn refuse_other_stash_type(node: &Node) -> Result<(), String> {
    match node.int("stash_type")? {
        None | Some(1) => Ok(()),
        Some(other) => {
            Err(format!("stash_type is {other}; statistics are computed in FP32 only, which is stash_type 1"))
        }
    }
}

/// Whether an input is known to hold one number only, as exporters write the scale and bias of layers without them.
fn is_filled_with(node: &Node, position: usize, number: f32) -> bool {
    let value = node.input(position).map(|operand| &operand.value);
    let Some(Value::Constant(constant)) = value else { return false };
    matches!(&constant.elements, Elements::Floats(all) if all.iter().all(|&x| x == number))
}

/// Normalises each of `groups` equal parts of an example's channels, then scales and shifts.
fn grouped(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    groups: usize,
    vectors: Vectors,
) -> Result<Vec<Value>, String> {
    let shape = importer.shape(x);
    let channels = shape.get(1).and_then(Dim::as_fixed).filter(|&channels| groups > 0 && channels % groups == 0);
    let channels = channels.ok_or_else(|| format!("{groups} groups do not fit the channels of {shape}"))?;
    let sizes: Option<usize> = shape.0.iter().skip(2).try_fold(channels / groups, |n, dim| Some(n * dim.as_fixed()?));
    let row = sizes.ok_or_else(|| batch::mixing("it normalises over the batch"))?;
    let epsilon = Real(node.float("epsilon")?.unwrap_or(1e-5));
    let ones = importer.fresh_name(&format!("{}.ones", node.name));
    let ones =
        importer.constant_source(&ones, &Constant { shape: vec![row], elements: Elements::Floats(vec![1.0; row]) })?;
    let rows = importer.reshape(node.name, x, Shape(vec![shape.0[0], Dim::fixed(groups), Dim::fixed(row)]))?;
    let op = ops::LayerNormalization { axis: 2, epsilon };
    if is_filled_with(node, 1, 1.0) && is_filled_with(node, 2, 0.0) {
        let y = importer.emit(node.name, op, &[rows, ones])?;
        return Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)]);
    }
    let normalised = kept(importer, node, op, &[rows, ones])?;
    let (count, rank) = match vectors {
        Vectors::PerGroup => (groups, 3),
        Vectors::PerChannel => (channels, shape.rank()),
    };
    let mut dims = vec![Dim::fixed(1); rank - 1];
    dims[0] = Dim::fixed(count);
    let vector = |importer: &mut Importer, position: usize| {
        let vector = importer.tensor(node, position)?;
        match importer.shape(vector).0 == [Dim::fixed(count)] {
            true => importer.reshape(node.name, vector, Shape(dims.clone())),
            false => Err(format!("input {position} must have shape [{count}], but is {}", importer.shape(vector))),
        }
    };
    let (scale, bias) = (vector(importer, 1)?, vector(importer, 2)?);
    let whole = match vectors {
        Vectors::PerGroup => normalised,
        Vectors::PerChannel => importer.reshape(node.name, normalised, shape.clone())?,
    };
    let scaled = importer.inner(node, "scaled", ops::Mul {}, &[whole, scale])?;
    let y = importer.emit(node.name, ops::Add {}, &[scaled, bias])?;
    Ok(vec![Value::Tensor(importer.reshape(node.name, y, shape)?)])
}

/// What a scale and a bias have one element for.
#[derive(Clone, Copy)]
enum Vectors {
    PerGroup,
    PerChannel,
}

fn instance_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    if shape.rank() < 3 {
        return Err("an input [N, C, …] with at least one more dimension is needed".into());
    }
    let channels = shape.0[1].as_fixed().ok_or("the batch must stand first")?;
    grouped(importer, node, x, channels, Vectors::PerChannel)
}

fn group_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    refuse_other_stash_type(node)?;
    let x = importer.tensor(node, 0)?;
    let groups = node.int("num_groups")?.ok_or("attribute `num_groups` is missing")?;
    let groups = usize::try_from(groups).map_err(|_| format!("num_groups is {groups}"))?;
    let vectors = if node.version < 21 { Vectors::PerGroup } else { Vectors::PerChannel };
    grouped(importer, node, x, groups, vectors)
}

fn rms_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    refuse_other_stash_type(node)?;
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(-1), shape.rank())?;
    let row = Shape(shape.0[axis..].to_vec());
    if row.0.iter().any(|dim| dim.is_batch()) {
        return Err(batch::mixing("it normalises over the batch"));
    }
    let scale = row_shaped(importer, node, 1, &row)?;
    let squares = importer.inner(node, "squares", ops::Mul {}, &[x, x])?;
    let axes = (axis..shape.rank()).collect();
    let mean = importer.inner(node, "mean", ops::ReduceMean { axes, keep: true }, &[squares])?;
    let epsilon = number(importer, node, "epsilon", node.float("epsilon")?.unwrap_or(1e-5))?;
    let sum = importer.inner(node, "sum", ops::Add {}, &[mean, epsilon])?;
    let power = ops::Unary { function: UnaryFunction::Power, alpha: Real(-0.5), gamma: Real(1.0) };
    let reciprocal = importer.inner(node, "reciprocal", power, &[sum])?;
    let normalised = kept(importer, node, ops::Mul {}, &[x, reciprocal])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[normalised, scale])?)])
}

fn lp_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(-1), shape.rank())?;
    if shape.0[axis].is_batch() {
        return Err(batch::mixing("it normalises over the batch"));
    }
    let op = ops::ReduceSum { axes: vec![axis], keep: true };
    let norm = match node.int("p")?.unwrap_or(2) {
        1 => {
            let abs = ops::Unary { function: UnaryFunction::Abs, alpha: Real(1.0), gamma: Real(1.0) };
            let magnitudes = importer.inner(node, "magnitudes", abs, &[x])?;
            let sum = importer.inner(node, "sum", op, &[magnitudes])?;
            let clip = ops::Clip { min: Real(decimal(f32::MIN_POSITIVE)), max: Real(f64::INFINITY) };
            importer.inner(node, "norm", clip, &[sum])?
        }
        2 => {
            let squares = importer.inner(node, "squares", ops::Mul {}, &[x, x])?;
            let sum = importer.inner(node, "sum", op, &[squares])?;
            let norm = root(importer, &format!("{}.norm", node.name), sum)?;
            importer.make_internal(norm);
            norm
        }
        p => return Err(format!("p is {p}; 1 and 2 are possible")),
    };
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Div {}, &[x, norm])?)])
}

fn mean_variance_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let axes = axes(node.ints("axes")?.unwrap_or(&[0, 2, 3]), shape.rank())?;
    if axes.iter().any(|&axis| shape.0[axis].is_batch()) {
        return Err(batch::mixing("it normalises over the batch"));
    }
    let mean = importer.inner(node, "mean", ops::ReduceMean { axes: axes.clone(), keep: true }, &[x])?;
    let centred = importer.inner(node, "centred", ops::Sub {}, &[x, mean])?;
    let squares = importer.inner(node, "squares", ops::Mul {}, &[centred, centred])?;
    let variance = importer.inner(node, "variance", ops::ReduceMean { axes, keep: true }, &[squares])?;
    let deviation = root(importer, &format!("{}.deviation", node.name), variance)?;
    importer.make_internal(deviation);
    let epsilon = number(importer, node, "epsilon", 1e-9)?;
    let divisor = importer.inner(node, "divisor", ops::Add {}, &[deviation, epsilon])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Div {}, &[centred, divisor])?)])
}

fn local_response_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let size = node.int("size")?.ok_or("attribute `size` is missing")?;
    let size = usize::try_from(size).ok().filter(|size| (1..1 << 20).contains(size));
    let size = size.ok_or("attribute `size` must be positive")?;
    let inner_size: Option<usize> = shape.0.iter().skip(2).try_fold(1usize, |n, dim| n.checked_mul(dim.as_fixed()?));
    let (Some(channels), Some(inner_size)) = (shape.get(1).and_then(Dim::as_fixed), inner_size) else {
        return Err(format!("an input [N, C, …] is needed, but it is {shape}"));
    };
    let squares = importer.inner(node, "squares", ops::Mul {}, &[x, x])?;
    let dims = vec![shape.0[0], Dim::fixed(1), Dim::fixed(channels), Dim::fixed(inner_size)];
    let squares = importer.reshape(node.name, squares, Shape(dims))?;
    let mean = ops::AveragePool {
        kernel: [size, 1],
        strides: [1; 2],
        pads_begin: [(size - 1) / 2, 0],
        pads_end: [size / 2, 0],
        dilations: [1; 2],
        ceil: false,
        count_include_pad: true,
    };
    let mean = importer.inner(node, "mean", mean, &[squares])?;
    let alpha = Real(node.float("alpha")?.unwrap_or(1e-4));
    let scaled = importer.inner(node, "scaled", ops::Scale { by: alpha }, &[mean])?;
    let bias = number(importer, node, "bias", node.float("bias")?.unwrap_or(1.0))?;
    let sum = importer.inner(node, "sum", ops::Add {}, &[scaled, bias])?;
    let alpha = Real(-node.float("beta")?.unwrap_or(0.75));
    let power = ops::Unary { function: UnaryFunction::Power, alpha, gamma: Real(1.0) };
    let factor = importer.inner(node, "factor", power, &[sum])?;
    let factor = importer.reshape(node.name, factor, shape)?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Mul {}, &[x, factor])?)])
}
