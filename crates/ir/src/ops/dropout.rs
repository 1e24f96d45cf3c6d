//! Dropout.

use super::elementwise::elementwise;
use super::{Operator, Precision, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use crate::expression::{number, uniform, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::random::key;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// On x and the numbers [`Seed`](crate::ScalarKind::Seed) and [`Update`](crate::ScalarKind::Update): zero for a random share of the
    /// elements, `x / (1 - ratio)` for the others.
    ///
    /// Which ones is a function of the name, the two numbers and the element's place ([`crate::random`]), so that no mask is kept: the
    /// gradient drops the same elements of `dy`.
    pub struct Dropout {
        /// The name that tells its random numbers from those of others.
        name: String,
        /// The share of elements that are dropped, below 1.
        ratio: Real,
    }
}

impl Operator for Dropout {
    const NAME: &'static str = "dropout";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, seed, update] = check::floats(operands)?;
        check::scalar("the seed", seed)?;
        check::scalar("the update", update)?;
        match (0.0..1.0).contains(&self.ratio.0) {
            true => Ok(x.clone()),
            false => Err(Reason::new(format!("the ratio is {}, not from 0 to below 1", self.ratio.0))),
        }
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let mut operands = graph.operands(node).to_vec();
        operands[0] = dy;
        Ok(vec![Some(graph.add(self.clone(), &operands)?), None, None])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let kept = x(0) * number(1.0 / (1.0 - self.ratio.0));
        let expression = uniform(key(&self.name), x(1), x(2)).less(number(self.ratio.0), number(0.0), kept);
        Facts::map(expression, &[Read::Each, Read::Scalar, Read::Scalar]).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let dropout = |name: &str, ratio| Dropout { name: name.into(), ratio: Real(ratio) };
        let samples = [
            Sample::of(dropout("a", 0.5), &[&[3, 7], &[], &[]]),
            Sample::of(dropout("b", 0.25), &[&[2, 2, 70], &[], &[]]),
            Sample::of(dropout("c", 0.0), &[&[5], &[], &[]]),
        ];
        samples.into_iter().flatten().collect()
    }
}
