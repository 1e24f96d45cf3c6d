//! Cross-entropies in the file: of a network's own loss, means over the batch too.

use super::fold;
use super::logic::number;
use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value};
use bitbudget_ir::{DType, Dim, NodeId, Real, Shape, ops};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "SoftmaxCrossEntropyLoss",
        versions: &[12, 13],
        attributes: &["ignore_index", "reduction"],
        forms: "`log_softmax`, then as NegativeLogLikelihoodLoss",
        build: Some(|importer, node| cross_entropy(importer, node, true)),
        fold: None,
    },
    Row {
        name: "NegativeLogLikelihoodLoss",
        versions: &[12, 13, 22],
        attributes: &["ignore_index", "reduction"],
        forms: "the mean over the batch is `nll_loss`, with a negative `ignore_index` or none; others by `compare`, `where` and sums",
        build: Some(|importer, node| cross_entropy(importer, node, false)),
        fold: None,
    },
];

fn cross_entropy(importer: &mut Importer, node: &Node, is_of_scores: bool) -> Result<Vec<Value>, String> {
    let x = importer.tensor(node, 0)?;
    let shape = importer.shape(x);
    let rank = shape.rank();
    if rank < 2 {
        return Err(format!("needs scores [N, classes, ...], has {shape}"));
    }
    let reduction = node.text("reduction")?.unwrap_or_else(|| "mean".into());
    let ignored = node.int("ignore_index")?;
    let weights = weights(importer, node)?;
    // The classes come last.
    let last: Vec<usize> = (0..rank).filter(|&axis| axis != 1).chain([1]).collect();
    let first: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let mut log_probabilities = x;
    if rank > 2 {
        log_probabilities = importer.inner(node, "classes_last", ops::Transpose { perm: last }, &[x])?;
    }
    if is_of_scores {
        log_probabilities = importer.inner(node, "log_softmax", ops::LogSoftmax {}, &[log_probabilities])?;
    }
    let has_batch = shape.0.iter().any(|dim| dim.is_batch());
    let loss = if has_batch && reduction == "mean" {
        if ignored.is_some_and(|ignored| ignored >= 0) {
            return Err(
                "an `ignore_index` of 0 or more is supported only without the mean over a batch; use a negative one"
                    .into(),
            );
        }
        mean(importer, node, log_probabilities, weights)?
    } else {
        composed(importer, node, log_probabilities, weights, ignored, &reduction)?
    };
    let mut results = vec![Value::Tensor(loss)];
    if is_of_scores {
        let perm = ops::Transpose { perm: first };
        let probabilities =
            if rank > 2 { importer.inner(node, "log_prob", perm, &[log_probabilities])? } else { log_probabilities };
        results.push(Value::Tensor(probabilities));
    }
    Ok(results)
}

/// The weights of the classes, which are not trained.
fn weights(importer: &mut Importer, node: &Node) -> Result<Option<NodeId>, String> {
    let Some(operand) = node.input(2) else { return Ok(None) };
    if let Value::Tensor(_) = operand.value {
        return importer.tensor(node, 2).map(Some);
    }
    let constant = importer.constant(operand)?;
    importer.constant_source(&operand.name, &constant).map(Some)
}

/// The mean over all rows that count.
fn mean(importer: &mut Importer, node: &Node, x: NodeId, weights: Option<NodeId>) -> Result<NodeId, String> {
    let labels = importer.whole(node, 1)?;
    let (factor, _) = importer.shape(labels).symbolic_elements();
    let (rows, classes) = (Dim::batches(factor), importer.shape(x).0[importer.shape(x).rank() - 1]);
    let x = importer.reshape(node.name, x, Shape(vec![rows, classes]))?;
    let labels = importer.reshape(node.name, labels, Shape(vec![rows]))?;
    let operands: Vec<NodeId> = [x, labels].into_iter().chain(weights).collect();
    importer.emit(node.name, ops::NllLoss { smoothing: Real(0.0) }, &operands)
}

/// The loss by the place of each label among the classes.
fn composed(
    importer: &mut Importer,
    node: &Node,
    x: NodeId,
    weights: Option<NodeId>,
    ignored: Option<i64>,
    reduction: &str,
) -> Result<NodeId, String> {
    let shape = importer.shape(x);
    let (axis, axes) = (shape.rank() - 1, (0..shape.rank()).collect::<Vec<_>>());
    let classes = shape.0[axis].as_fixed().ok_or("the number of classes varies")?;
    let mut labels = importer.tensor(node, 1)?;
    if let Some(ignored) = ignored {
        let (ignored, none) =
            (number(importer, node, "ignored", ignored as f32)?, number(importer, node, "none", -1.0)?);
        let is_ignored =
            importer.inner(node, "is_ignored", ops::Compare { less: false, equal: true }, &[labels, ignored])?;
        labels = importer.inner(node, "counted", ops::Where {}, &[is_ignored, none, labels])?;
    }
    let mut column = shape.clone();
    column.0[axis] = Dim::fixed(1);
    labels = importer.reshape(node.name, labels, column)?;
    let mut positions = vec![1; shape.rank()];
    positions[axis] = classes;
    let elements = Elements::Floats((0..fold::made(&positions)?).map(|i| i as f32).collect());
    let all = Constant { shape: positions, elements };
    let name = importer.own_name("positions");
    let positions = importer.constant_source(&name, &all)?;
    let labels = importer.broadcast(node.name, labels, shape.clone())?;
    let positions = importer.broadcast(node.name, positions, shape.clone())?;
    [labels, positions].into_iter().for_each(|id| importer.make_internal(id));
    let is_it = importer.inner(node, "is_label", ops::Compare { less: false, equal: true }, &[labels, positions])?;
    let is_it = importer.converted(is_it, DType::F32)?;
    let part = match weights {
        Some(weights) => importer.inner(node, "weighted", ops::Mul {}, &[is_it, weights])?,
        None => is_it,
    };
    let products = importer.inner(node, "products", ops::Mul {}, &[part, x])?;
    let negative = importer.inner(node, "negative", ops::Scale { by: Real(-1.0) }, &[products])?;
    let sum = |axes: &[usize]| ops::ReduceSum { axes: axes.to_vec(), keep: false };
    match reduction {
        "none" => importer.emit(node.name, sum(&[axis]), &[negative]),
        "sum" => importer.emit(node.name, sum(&axes), &[negative]),
        "mean" => {
            let total = importer.inner(node, "total", sum(&axes), &[negative])?;
            let weight = importer.inner(node, "weight", sum(&axes), &[part])?;
            importer.emit(node.name, ops::Div {}, &[total, weight])
        }
        other => Err(format!("its reduction `{other}` is not one of none, sum, mean")),
    }
}
