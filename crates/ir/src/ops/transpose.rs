//! A permutation of the dimensions.

use super::{Operator, Precision, Sample, Work, check};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Planes, Run, elements_after};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// Dimension `i` of the result is dimension `perm[i]` of the operand (ONNX Transpose).
    pub struct Transpose {
        /// The permutation.
        perm: Vec<usize>,
    }
}

/// Channels that a shuffle has at most, since each is a run of its own.
const MOST_PLANES: usize = 1 << 16;

impl Operator for Transpose {
    const NAME: &'static str = "transpose";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let x = check::moved(operands)?;
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.rank()) {
            return Err(Reason::new(format!("{:?} is not a permutation of the dimensions of {}", self.perm, x.shape)));
        }
        Ok(x.with_shape(Shape(self.perm.iter().map(|&p| x.shape.0[p]).collect())))
    }

    fn gradient(&self, graph: &mut Graph, _: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let mut perm = vec![0; self.perm.len()];
        for (to, &from) in self.perm.iter().enumerate() {
            perm[from] = to;
        }
        Ok(vec![Some(graph.add(Transpose { perm }, &[dy])?)])
    }

    fn precision(&self) -> Precision {
        Precision::Relabel
    }

    fn facts(&self, operands: &[&Shape], _: &Shape) -> Facts {
        // Channels in two factors, which change places: a shuffle.
        let shuffle = || match operands {
            [x] if self.perm == [0, 2, 1, 3, 4] => {
                let (a, b) = (x.get(1)?.as_fixed()?, x.get(2)?.as_fixed()?);
                let of = a.checked_mul(b).filter(|&of| of <= MOST_PLANES)?;
                let run = |first| Run { operand: 0, of, first, count: 1 };
                let runs = (0..b).flat_map(|j| (0..a).map(move |i| i * b + j)).map(run).collect();
                Some(Form::Planes(Planes { elements: elements_after(x, 3)?, runs }))
            }
            _ => None,
        };
        Facts::moving(shuffle().unwrap_or(Form::Move))
    }

    fn work(&self, _: &[&TensorType], _: &TensorType, _: usize) -> Work {
        Work::default()
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let mut from = vec![0; shape.len()];
        Array::from_fn(shape, |i| {
            for (to, &axis) in self.perm.iter().enumerate() {
                from[axis] = i[to];
            }
            operands[0].at(&from)
        })
    }

    fn samples() -> Vec<Sample> {
        [
            Sample::of(Transpose { perm: vec![0, 2, 1, 3, 4] }, &[&[2, 2, 3, 2, 2]]),
            Sample::of(Transpose { perm: vec![2, 0, 1] }, &[&[2, 3, 4]]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
