//! Operators of ONNX Runtime, which its optimizers make of others.

use super::convolution::conv;
use super::linear::{gemm, matmul};
use super::microsoft_attention;
use super::microsoft_embed::EMBED;
use super::normalization::layer_normalization;
use super::quantization::{DEQUANTIZE, QUANTIZE};
use super::row::{Build, Row};
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Operand, Value, decimal};
use bitbudget_ir::{NodeId, Op, Real, UnaryFunction, ops};
use onnx_protobuf::NodeProto;

const fn row(name: &'static str, attributes: &'static [&'static str], forms: &'static str, build: Build) -> Row {
    Row { name, versions: &[1], attributes, forms, build: Some(build), fold: None }
}

/// In the domain `com.microsoft`.
pub(super) const ROWS: &[Row] = &[
    row("BiasGelu", &[], "`add` and `gelu`", |i, n| gelu(i, n, false)),
    row("FastGelu", &[], "`gelu` by tanh, after `add` where it has a bias", |i, n| gelu(i, n, true)),
    row("Gelu", &[], "`gelu`", |i, n| gelu(i, n, false)),
    row("QuickGelu", &["alpha"], "`unary`", quick_gelu),
    row(
        "FusedConv",
        &["activation", "activation_params", "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        "like Conv, then `add` of a fourth input, then Relu, LeakyRelu, Clip, Tanh or Sigmoid",
        fused_conv,
    ),
    row(
        "FusedGemm",
        &["activation", "activation_alpha", "activation_beta", "alpha", "beta", "transA", "transB"],
        "like Gemm, then an activation as for FusedConv",
        fused_gemm,
    ),
    row(
        "FusedMatMul",
        &["alpha", "transA", "transB", "transBatchA", "transBatchB"],
        "like MatMul, with `transpose` before and `scale` after; `transBatchA` and `transBatchB` 0",
        fused_matmul,
    ),
    row("LayerNormalization", &["axis", "epsilon", "stash_type"], "as in the standard", layer_normalization),
    SIMPLIFIED,
    EMBED,
    microsoft_attention::ATTENTION,
    microsoft_attention::MULTI_HEAD,
    microsoft_attention::GROUPED,
    microsoft_attention::ROTARY,
    Row { versions: &[1], ..QUANTIZE },
    Row { versions: &[1], ..DEQUANTIZE },
    row("SkipLayerNormalization", &["epsilon"], "`add` and `layer_normalization`; outputs 0 and 3", |i, n| {
        skip(i, n, 4, |importer, node, sum| {
            let rank = importer.shape(sum).rank();
            let axis = rank.checked_sub(1).ok_or("it needs a dimension to normalise")?;
            let mut operands = vec![sum, importer.tensor(node, 2)?];
            if node.input(3).is_some() {
                operands.push(importer.tensor(node, 3)?);
            }
            let epsilon = Real(node.float("epsilon")?.unwrap_or(1e-12));
            importer.emit(node.name, ops::LayerNormalization { axis, epsilon }, &operands)
        })
    }),
    row(
        "SkipSimplifiedLayerNormalization",
        &["epsilon"],
        "`add`, then like SimplifiedLayerNormalization; outputs 0 and 3",
        |i, n| {
            skip(i, n, 3, |importer, node, sum| {
                let epsilon = node.float("epsilon")?.unwrap_or(1e-12);
                root_mean_square(importer, node, sum, 2, vec![importer.shape(sum).rank().saturating_sub(1)], epsilon)
            })
        },
    ),
];

/// In the domain of the standard.
pub(super) const IN_STANDARD: &[Row] = &[SIMPLIFIED];

const SIMPLIFIED: Row = row(
    "SimplifiedLayerNormalization",
    &["axis", "epsilon", "stash_type"],
    "the mean of squares by `mul` and `reduce_mean`, then `add`, `sqrt`, `div` and `mul`",
    simplified,
);

/// The sum of an input and others, as far as they are there.
fn sum(importer: &mut Importer, node: &Node, positions: &[usize]) -> Result<NodeId, String> {
    let mut total = importer.tensor(node, 0)?;
    for &position in positions.iter().filter(|&&position| node.input(position).is_some()) {
        let next = importer.tensor(node, position)?;
        total = importer.emit(node.name, ops::Add {}, &[total, next])?;
    }
    Ok(total)
}

fn gelu(importer: &mut Importer, node: &Node, tanh: bool) -> Result<Vec<Value>, String> {
    let x = sum(importer, node, &[1])?;
    Ok(vec![Value::Tensor(importer.emit(node.name, ops::Gelu { tanh }, &[x])?)])
}

fn quick_gelu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let alpha = Real(node.float("alpha")?.unwrap_or(1.702));
    let x = importer.tensor(node, 0)?;
    let op = ops::Unary { function: UnaryFunction::Swish, alpha, gamma: Real(1.0) };
    Ok(vec![Value::Tensor(importer.emit(node.name, op, &[x])?)])
}

/// Applies the activation that a node names, with its parameters.
fn activated(importer: &mut Importer, node: &Node, x: NodeId, parameters: &[f64]) -> Result<NodeId, String> {
    let parameter = |at: usize, default: f64| Real(parameters.get(at).copied().unwrap_or(default));
    let op: Op = match node.text("activation")?.as_deref().unwrap_or("") {
        "" => return Ok(x),
        "Relu" => ops::Relu {}.into(),
        "LeakyRelu" => ops::LeakyRelu { alpha: parameter(0, 0.01) }.into(),
        "Clip" => {
            let (min, max) = (parameter(0, f64::NEG_INFINITY), parameter(1, f64::INFINITY));
            if min.0.is_nan() || max.0.is_nan() || min.0 > max.0 {
                return Err(format!("the bounds {} and {} leave nothing", min.0, max.0));
            }
            ops::Clip { min, max }.into()
        }
        "Tanh" => ops::Tanh {}.into(),
        "Sigmoid" => ops::Sigmoid {}.into(),
        other => {
            return Err(format!(
                "its activation `{other}` is not supported; Relu, LeakyRelu, Clip, Tanh and Sigmoid are. Use the file \
                 from before the optimizer"
            ));
        }
    };
    importer.emit(node.name, op, &[x])
}

fn tensor_of(results: Vec<Value>) -> Result<NodeId, String> {
    match results.first() {
        Some(Value::Tensor(id)) => Ok(*id),
        _ => Err("its result is not a tensor of the network".into()),
    }
}

fn fused_conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let mut y = tensor_of(conv(importer, node)?)?;
    if node.input(3).is_some() {
        let z = importer.tensor(node, 3)?;
        y = importer.emit(node.name, ops::Add {}, &[y, z])?;
    }
    let parameters: Vec<f64> =
        node.floats("activation_params")?.unwrap_or_default().iter().map(|&x| decimal(x)).collect();
    Ok(vec![Value::Tensor(activated(importer, node, y, &parameters)?)])
}

fn fused_gemm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    let y = tensor_of(gemm(importer, node)?)?;
    let given = [node.float("activation_alpha")?, node.float("activation_beta")?];
    let parameters: Vec<f64> = given.into_iter().map_while(|parameter| parameter).collect();
    Ok(vec![Value::Tensor(activated(importer, node, y, &parameters)?)])
}

fn fused_matmul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if node.flag("transBatchA")? || node.flag("transBatchB")? {
        return Err("transBatchA and transBatchB are not supported; use the file from before the optimizer".into());
    }
    let mut inputs = Vec::with_capacity(2);
    for (position, flag) in ["transA", "transB"].into_iter().enumerate() {
        let operand = node.need(position)?;
        if !node.flag(flag)? {
            inputs.push(Some(operand.clone()));
            continue;
        }
        let x = importer.operand(operand)?;
        let mut perm: Vec<usize> = (0..importer.shape(x).rank()).collect();
        let last = perm.len().checked_sub(2).ok_or_else(|| format!("{flag} needs at least two dimensions"))?;
        perm.swap(last, last + 1);
        let value = Value::Tensor(importer.emit(node.name, ops::Transpose { perm }, &[x])?);
        inputs.push(Some(Operand { name: operand.name.clone(), value }));
    }
    // Without the name of its result, so that an Add that reads it is not taken for its bias.
    let proto = NodeProto { op_type: "MatMul".into(), ..NodeProto::default() };
    let product = matmul(importer, &Node { proto: &proto, name: node.name, version: 13, inputs, read: vec![true] })?;
    let product = tensor_of(product)?;
    let by = Real(node.float("alpha")?.unwrap_or(1.0));
    let y = if by.0 == 1.0 { product } else { importer.emit(node.name, ops::Scale { by }, &[product])? };
    Ok(vec![Value::Tensor(y)])
}

/// The normalisation of the sum of two inputs and a bias at a position: output 0, and the sum as output 3.
fn skip(
    importer: &mut Importer,
    node: &Node,
    bias: usize,
    normalise: impl Fn(&mut Importer, &Node, NodeId) -> Result<NodeId, String>,
) -> Result<Vec<Value>, String> {
    if node.read.iter().skip(1).take(2).any(|&read| read) {
        return Err("its output mean or inv_std_var is used, which is not supported".into());
    }
    let total = sum(importer, node, &[1, bias])?;
    let y = normalise(importer, node, total)?;
    Ok(vec![Value::Tensor(y), Value::Failed, Value::Failed, Value::Tensor(total)])
}

fn simplified(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    node.refuse_outputs(1, "inv_std_var")?;
    let x = importer.tensor(node, 0)?;
    let rank = importer.shape(x).rank();
    let first = crate::importer::axis(node.int("axis")?.unwrap_or(-1), rank)?;
    let epsilon = node.float("epsilon")?.unwrap_or(1e-5);
    Ok(vec![Value::Tensor(root_mean_square(importer, node, x, 1, (first..rank).collect(), epsilon)?)])
}

/// `x / sqrt(mean(x^2) + epsilon)`, times the scale at a position.
fn root_mean_square(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    scale: usize,
    axes: Vec<usize>,
    epsilon: f64,
) -> Result<NodeId, String> {
    if axes.iter().any(|&axis| importer.shape(x).get(axis).is_none_or(|dim| dim.is_batch())) {
        return Err(crate::batch::mixing("it normalises over the batch"));
    }
    let part = |what: &str| format!("{}.{what}", node.name);
    let square = importer.emit_internal(&part("square"), ops::Mul {}, &[x, x])?;
    let mean = importer.emit_internal(&part("mean"), ops::ReduceMean { axes, keep: true }, &[square])?;
    let name = importer.fresh_name(&part("epsilon"));
    let epsilon = Constant { shape: Vec::new(), elements: Elements::Floats(vec![epsilon as f32]) };
    let epsilon = importer.constant_source(&name, &epsilon)?;
    let sum = importer.emit_internal(&part("sum"), ops::Add {}, &[mean, epsilon])?;
    let deviation = importer.emit_internal(&part("deviation"), ops::Sqrt {}, &[sum])?;
    let normal = importer.emit_internal(&part("normal"), ops::Div {}, &[x, deviation])?;
    let scale = importer.tensor(node, scale)?;
    importer.emit(node.name, ops::Mul {}, &[normal, scale])
}
