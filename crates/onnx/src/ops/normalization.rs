//! BatchNormalization and LayerNormalization.

use super::fold;
use super::row::Row;
use crate::batch;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Operand, Value, axis, is_uniform};
use crate::warning::WarningKind;
use bitbudget_ir::{Dim, NodeId, Op, Real, Shape, TensorType, UnaryFunction, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "BatchNormalization",
        versions: &[7, 9, 14, 15],
        attributes: &["epsilon", "momentum", "spatial", "training_mode"],
        forms: "`batch_mean`, `batch_variance` and `batch_normalize`, with the running statistics as states that \
            `running_average` and `running_variance` update, also where `training_mode` is 0; a scale or a bias that is a constant stays one; \
            `layer_normalization` where it has the statistics of each example, as in Keras; not `spatial` = 0",
        build: Some(batch_normalization),
        fold: None,
    },
    Row {
        name: "LayerNormalization",
        versions: &[1, 17],
        attributes: &["axis", "epsilon", "stash_type"],
        forms: "`layer_normalization`; before version 17 as ONNX Runtime writes it; the batch not among the normalised dimensions, `stash_type` 1",
        build: Some(layer_normalization),
        fold: None,
    },
];

fn batch_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if node.int("spatial")?.is_some_and(|spatial| spatial == 0) {
        return Err("spatial = 0 (statistics per position) is not supported".into());
    }
    node.flag("training_mode")?;
    node.refuse_outputs(1, "of statistics")?;
    let epsilon = Real(node.float("epsilon")?.unwrap_or(1e-5));
    if let Some(y) = of_examples(importer, node, epsilon)? {
        return Ok(vec![Value::Tensor(y)]);
    }
    let kept = node.float("momentum")?.unwrap_or(0.9);
    // PyTorch's 0.1 is stored as 1 - 0.1 in FP32; the ninth digit is beyond its precision.
    let momentum = Real(((1.0 - kept) * 1e9).round() / 1e9);
    // A scale of one and a bias of zero are those of a layer without parameters.
    let differs = |operand: &Operand| matches!(&operand.value, Value::Constant(constant) if !is_uniform(constant));
    if [1, 2].into_iter().filter_map(|position| node.input(position)).any(differs) {
        importer.warn(WarningKind::ConstantScale, node.name);
    }
    let x = importer.tensor(node, 0)?;
    let scale = importer.tensor(node, 1)?;
    let bias = importer.tensor(node, 2)?;
    let part = |what: &str| format!("{}.{what}", node.name);
    let mean = importer.emit_internal(&part("mean"), ops::BatchMean {}, &[x])?;
    let variance = importer.emit_internal(&part("variance"), ops::BatchVariance {}, &[x, mean])?;
    let y = importer.emit(node.name, ops::BatchNormalize { epsilon }, &[x, mean, variance, scale, bias])?;
    let running_mean = state(importer, node, 3, "running_mean")?;
    let running_variance = state(importer, node, 4, "running_var")?;
    let op = ops::RunningAverage { momentum };
    let next_mean = importer.emit_internal(&part("next_mean"), op, &[running_mean, mean])?;
    let op = ops::RunningVariance { momentum };
    let next_variance = importer.emit_internal(&part("next_variance"), op, &[running_variance, variance, x])?;
    importer.graph.add_update(running_mean, next_mean);
    importer.graph.add_update(running_variance, next_variance);
    Ok(vec![Value::Tensor(y)])
}

/// The result where the channels of one element are rows of examples, normalised by their own statistics: layer normalisation in Keras.
fn of_examples(importer: &mut Importer, node: &Node, epsilon: Real) -> Result<Option<NodeId>, String> {
    let is_computed = |position: usize| match node.input(position) {
        Some(operand) => matches!(operand.value, Value::Tensor(_)),
        None => node.proto.input.len() > position,
    };
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let is_one = shape.get(0) == Some(Dim::fixed(1)) && shape.rank() > 2;
    if !is_one || ![3, 4].into_iter().all(is_computed) || shape.0[2..].iter().any(|dim| dim.is_batch()) {
        return Ok(None);
    }
    let row: Vec<usize> = shape.0[2..].iter().map(|dim| dim.factor()).collect();
    let ones = Constant { elements: Elements::Floats(vec![1.0; fold::made(&row)?]), shape: row };
    let name = importer.fresh_name(&format!("{}.ones", node.name));
    let ones = importer.constant_source(&name, &ones)?;
    let mut y = importer.emit(node.name, ops::LayerNormalization { axis: 2, epsilon }, &[x, ones])?;
    let mut column = vec![Dim::fixed(1); shape.rank()];
    column[1] = shape.0[1];
    for (position, neutral) in [(1, 1.0), (2, 0.0)] {
        let factor = importer.tensor(node, position)?;
        if number(importer, factor) == Some(neutral) {
            continue;
        }
        let factor = importer.reshape(node.name, factor, Shape(column.clone()))?;
        y = match position {
            1 => importer.emit(node.name, ops::Mul {}, &[y, factor])?,
            _ => importer.emit(node.name, ops::Add {}, &[y, factor])?,
        };
    }
    Ok(Some(y))
}

/// The number that all elements of a constant are.
fn number(importer: &Importer, mut id: NodeId) -> Option<f32> {
    while let Op::Broadcast(_) | Op::Reshape(_) = importer.graph.op(id) {
        id = *importer.graph.operands(id).first()?;
    }
    let Op::Constant(constant) = importer.graph.op(id) else { return None };
    let values = importer.values.get(&constant.name)?;
    values.first().copied().filter(|first| values.iter().all(|x| x == first))
}

/// A running statistic under its initializer's name; one that another node has already taken, under a name of its own.
fn state(importer: &mut Importer, node: &Node, position: usize, what: &str) -> Result<NodeId, String> {
    let operand = match node.input(position) {
        Some(operand) if !matches!(operand.value, Value::Tensor(_)) => operand,
        None if node.proto.input.len() <= position => node.need(position)?,
        _ => {
            return Err(format!(
                "its {what} is computed from the batch (nn.BatchNorm2d with track_running_stats=False, or batch_norm \
                 without running statistics), so that an example's result would depend on the rest of its batch; \
                 export with track_running_stats=True"
            ));
        }
    };
    let constant = importer.constant(operand)?;
    let values = constant.as_floats()?;
    let own_name = match &operand.value {
        Value::Initializer(i) => importer.initializers[*i].name.clone(),
        _ => operand.name.clone(),
    };
    let odd = |x: f32| !x.is_finite() || (what == "running_var" && x < 0.0);
    if let Some(at) = values.iter().position(|&x| odd(x)) {
        return Err(format!(
            "its {what} `{own_name}` is {} at element {at}, which no batch has; export the network from before its \
             training diverged, or reset the statistics",
            values[at]
        ));
    }
    let name = match importer.values.contains_key(&own_name) {
        true => {
            let name = importer.own_name(what);
            importer.warn(WarningKind::CopiedStatistics, &name);
            name
        }
        false => own_name,
    };
    importer.values.insert(name.clone(), values);
    Ok(importer.graph.source(ops::State { name }, TensorType::f32(Shape::fixed(&constant.shape))))
}

pub(super) fn layer_normalization(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, String> {
    if let Some(other) = node.int("stash_type")?.filter(|&stash_type| stash_type != 1) {
        return Err(format!("stash_type is {other}; statistics are computed in FP32 only, which is stash_type 1"));
    }
    let epsilon = Real(node.float("epsilon")?.unwrap_or(1e-5));
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let axis = axis(node.int("axis")?.unwrap_or(-1), shape.rank())?;
    let row = Shape(shape.0[axis..].to_vec());
    if row.0.iter().any(|dim| dim.is_batch()) {
        return Err(batch::mixing("it normalises over the batch"));
    }
    let mut operands = vec![x, row_shaped(importer, node, 1, &row)?];
    if node.input(2).is_some() {
        operands.push(row_shaped(importer, node, 2, &row)?);
    }
    let mut results = Vec::new();
    if node.read.iter().skip(1).any(|&read| read) {
        results.extend(row_statistics(importer, node, axis, epsilon)?.map(Value::Tensor));
    }
    let y = importer.emit(node.name, ops::LayerNormalization { axis, epsilon }, &operands)?;
    results.insert(0, Value::Tensor(y));
    Ok(results)
}

/// The mean of each row, and one over its deviation.
fn row_statistics(importer: &mut Importer, node: &Node, axis: usize, epsilon: Real) -> Result<[NodeId; 2], String> {
    let x = importer.tensor(node, 0)?;
    let axes: Vec<usize> = (axis..importer.shape(x).rank()).collect();
    let average = || ops::ReduceMean { axes: axes.clone(), keep: true };
    let mean = importer.emit(&format!("{}.mean", node.name), average(), &[x])?;
    let centred = importer.emit_internal(node.name, ops::Sub {}, &[x, mean])?;
    let squares = importer.emit_internal(node.name, ops::Mul {}, &[centred, centred])?;
    let variance = importer.emit_internal(node.name, average(), &[squares])?;
    let name = importer.own_name("epsilon");
    let number = Constant { shape: Vec::new(), elements: Elements::Floats(vec![epsilon.0 as f32]) };
    let epsilon = importer.constant_source(&name, &number)?;
    let shifted = importer.emit_internal(node.name, ops::Add {}, &[variance, epsilon])?;
    let power = ops::Unary { function: UnaryFunction::Power, alpha: Real(-0.5), gamma: Real(1.0) };
    let inverse = importer.emit(&format!("{}.inverse_deviation", node.name), power, &[shifted])?;
    Ok([mean, inverse])
}

/// A scale or a bias in the shape of a row.
pub(super) fn row_shaped(importer: &mut Importer, node: &Node, position: usize, row: &Shape) -> Result<NodeId, String> {
    let x = importer.tensor(node, position)?;
    let shape = importer.shape(x);
    match shape.symbolic_elements() == row.symbolic_elements() {
        true => importer.reshape(node.name, x, row.clone()),
        false => importer.emit(node.name, ops::Broadcast { shape: row.clone() }, &[x]).map_err(|_| {
            let what = if position == 1 { "Scale" } else { "B" };
            format!("{what} has the shape {shape}, but the normalised dimensions are {row}")
        }),
    }
}
