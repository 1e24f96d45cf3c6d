//! Matrix product.

use super::{Operator, Precision, ReduceSum, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// The product of two matrices, either transposed, plus an optional bias per column (ONNX Gemm with alpha = beta = 1); of
    /// tensors with equal leading dimensions, the product of each pair of matrices (ONNX MatMul without broadcasting).
    pub struct Matmul {
        /// Whether a first matrix is `[K, M]` and not `[M, K]`.
        trans_a: bool = false,
        /// Whether a second matrix is `[N, K]` and not `[K, N]`.
        trans_b: bool = false,
    }
}

/// The leading dimensions, and the rows and columns of the matrices.
fn matrices(ty: &TensorType, transposed: bool) -> Result<(&[Dim], Dim, Dim), Reason> {
    match (ty.shape.0.as_slice(), transposed) {
        (&[ref leading @ .., rows, columns], false) => Ok((leading, rows, columns)),
        (&[ref leading @ .., columns, rows], true) => Ok((leading, rows, columns)),
        _ => Err(Reason::new(format!("needs matrices, has {}", ty.shape))),
    }
}

impl Operator for Matmul {
    const NAME: &'static str = "matmul";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        check::all_floats(operands)?;
        let ([a, b] | [a, b, _]) = operands else {
            return Err(Reason::new(format!("needs 2 or 3 operands, has {}", operands.len())));
        };
        let ((leading, m, k), (leading_b, k_b, n)) = (matrices(a, self.trans_a)?, matrices(b, self.trans_b)?);
        if leading != leading_b {
            return Err(Reason::new(format!("the leading dimensions of {} and {} differ", a.shape, b.shape)));
        }
        if k != k_b {
            return Err(Reason::new(format!("{} and {} do not multiply: {k} against {k_b}", a.shape, b.shape)));
        }
        if let Some(bias) = operands.get(2)
            && bias.shape.0 != [n]
        {
            return Err(Reason::new(format!("the bias must have shape [{n}], but is {}", bias.shape)));
        }
        Ok(TensorType::f32([leading, &[m, n]].concat()))
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let operands = graph.operands(node).to_vec();
        let (a, b) = (operands[0], operands[1]);
        let mut product =
            |trans_a, trans_b, left, right| graph.add(Matmul { trans_a, trans_b }, &[left, right]).map(Some);
        let da = match self.trans_a {
            false => product(false, !self.trans_b, dy, b)?,
            true => product(self.trans_b, true, b, dy)?,
        };
        let db = match self.trans_b {
            false => product(!self.trans_a, false, a, dy)?,
            true => product(true, self.trans_a, dy, a)?,
        };
        let mut gradients = vec![da, db];
        if operands.len() == 3 {
            let axes = (0..graph.ty(dy).shape.rank() - 1).collect();
            gradients.push(Some(graph.add(ReduceSum { axes, keep: false }, &[dy])?));
        }
        Ok(gradients)
    }

    fn precision(&self) -> Precision {
        Precision::Gemm
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        Facts::new(Form::Product, Reads::All(Read::Whole))
    }

    fn work(&self, operands: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        let k = operands.first().and_then(|a| matrices(a, self.trans_a).ok()).map_or(0, |(_, _, k)| k.at(batch));
        Work { flops: 2 * result.shape.elements(batch) as u64 * k as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (a, b) = (operands[0], operands[1]);
        let [row, column] = [shape.len() - 2, shape.len() - 1];
        let depth = a.shape[if self.trans_a { row } else { column }];
        let (mut left, mut right) = (vec![0; shape.len()], vec![0; shape.len()]);
        Array::from_fn(shape, |i| {
            left.copy_from_slice(i);
            right.copy_from_slice(i);
            let mut term = |k| {
                [left[row], left[column]] = if self.trans_a { [k, i[row]] } else { [i[row], k] };
                [right[row], right[column]] = if self.trans_b { [i[column], k] } else { [k, i[column]] };
                a.at(&left) * b.at(&right)
            };
            let bias = operands.get(2).map_or(F::zero(), |bias| bias.data[i[column]]);
            (0..depth).map(&mut term).sum::<F>() + bias
        })
    }

    fn samples() -> Vec<Sample> {
        let op = |trans_a, trans_b| Matmul { trans_a, trans_b };
        [
            Sample::of(op(false, false), &[&[2, 3], &[3, 4]]),
            Sample::of(op(false, true), &[&[2, 3], &[4, 3], &[4]]),
            Sample::of(op(true, false), &[&[3, 2], &[3, 4]]),
            Sample::of(op(true, true), &[&[3, 2], &[4, 3], &[4]]),
            Sample::of(op(false, false), &[&[2, 2, 3], &[2, 3, 4], &[4]]),
            Sample::of(op(false, true), &[&[2, 3, 2, 5], &[2, 3, 4, 5]]),
            Sample::of(op(true, false), &[&[2, 5, 1], &[2, 5, 3]]),
            Sample::of(op(true, true), &[&[3, 1, 4, 2], &[3, 1, 5, 4], &[5]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
