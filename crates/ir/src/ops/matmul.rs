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
    /// The product of two matrices, either transposed, plus an optional bias per column (ONNX Gemm with alpha = beta = 1).
    pub struct Matmul {
        /// Whether the first matrix is `[K, M]` and not `[M, K]`.
        trans_a: bool = false,
        /// Whether the second matrix is `[N, K]` and not `[K, N]`.
        trans_b: bool = false,
    }
}

fn matrix(ty: &TensorType, transposed: bool) -> Result<(Dim, Dim), Reason> {
    match (ty.shape.0.as_slice(), transposed) {
        (&[rows, columns], false) => Ok((rows, columns)),
        (&[columns, rows], true) => Ok((rows, columns)),
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
        let ((m, k), (k_b, n)) = (matrix(a, self.trans_a)?, matrix(b, self.trans_b)?);
        if k != k_b {
            return Err(Reason::new(format!("{} and {} do not multiply: {k} against {k_b}", a.shape, b.shape)));
        }
        if let Some(bias) = operands.get(2)
            && bias.shape.0 != [n]
        {
            return Err(Reason::new(format!("the bias must have shape [{n}], but is {}", bias.shape)));
        }
        Ok(TensorType::f32([m, n]))
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
            gradients.push(Some(graph.add(ReduceSum { axes: vec![0], keep: false }, &[dy])?));
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
        let k = operands.first().and_then(|a| matrix(a, self.trans_a).ok()).map_or(0, |(_, k)| k.at(batch));
        Work { flops: 2 * result.shape.elements(batch) as u64 * k as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (a, b) = (operands[0], operands[1]);
        let depth = if self.trans_a { a.shape[0] } else { a.shape[1] };
        Array::from_fn(shape, |i| {
            let term = |k| {
                let left = if self.trans_a { a.at(&[k, i[0]]) } else { a.at(&[i[0], k]) };
                let right = if self.trans_b { b.at(&[i[1], k]) } else { b.at(&[k, i[1]]) };
                left * right
            };
            let bias = operands.get(2).map_or(F::zero(), |bias| bias.data[i[1]]);
            (0..depth).map(term).sum::<F>() + bias
        })
    }

    fn samples() -> Vec<Sample> {
        let op = |trans_a, trans_b| Matmul { trans_a, trans_b };
        [
            Sample::of(op(false, false), &[&[2, 3], &[3, 4]]),
            Sample::of(op(false, true), &[&[2, 3], &[4, 3], &[4]]),
            Sample::of(op(true, false), &[&[3, 2], &[3, 4]]),
            Sample::of(op(true, true), &[&[3, 2], &[4, 3], &[4]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
