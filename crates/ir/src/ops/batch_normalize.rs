//! Batch normalisation, given the statistics.

use super::{
    BatchMean, BatchNormGradInput, BatchNormGradScale, BatchVariance, Op, Operator, Parameter, Precision, ReduceSum,
    Sample, Work, check,
};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Shape, TensorType};

operator! {
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias` per channel, on x, mean, variance, scale, bias.
    ///
    /// In training the statistics are those of `x` itself, and the gradient with respect to `x` includes their part; in
    /// evaluation they are running statistics, which have no gradient (ONNX BatchNormalization).
    pub struct BatchNormalize {
        /// Added to the variance.
        epsilon: Real,
    }
}

impl Operator for BatchNormalize {
    const NAME: &'static str = "batch_normalize";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, mean, variance, scale, bias] = check::floats(operands)?;
        for (what, vector) in [("mean", mean), ("variance", variance), ("scale", scale), ("bias", bias)] {
            check::per_channel(&format!("the {what}"), vector, x)?;
        }
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let &[x, mean, variance, scale, _] = graph.operands(node) else {
            return Err(Reason::new("needs 5 operands"));
        };
        if !matches!(graph.op(mean), Op::BatchMean(_)) {
            return Err(Reason::new("has a derivative with the statistics of its own input only"));
        }
        let axes = (0..graph.ty(x).shape.rank()).filter(|&axis| axis != 1).collect();
        let epsilon = self.epsilon;
        let dbias = graph.add(ReduceSum { axes, keep: false }, &[dy])?;
        let dscale = graph.add(BatchNormGradScale { epsilon }, &[dy, x, mean, variance])?;
        let dx = graph.add(BatchNormGradInput { epsilon }, &[dy, x, mean, variance, scale, dscale, dbias])?;
        Ok(vec![Some(dx), None, None, Some(dscale), Some(dbias)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let factor = x(3) / (x(2) + number(self.epsilon.0)).sqrt();
        let expression = (x(0) - x(1)).mul_add(factor, x(4));
        Facts::map(expression, &[Read::Each, Read::Channel, Read::Channel, Read::Channel, Read::Channel]).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        Work { flops: 2 * result.shape.elements(batch) as u64 }
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let sample = |shape: &[usize]| {
            let mut graph = Graph::new("sample");
            let mut parameter = |name: &str, shape: &[usize]| {
                graph.source(Parameter { name: name.into() }, TensorType::f32(Shape::fixed(shape)))
            };
            let (x, scale) = (parameter("x", shape), parameter("scale", &[shape[1]]));
            let bias = parameter("bias", &[shape[1]]);
            let mean = graph.add(BatchMean {}, &[x]).ok()?;
            let variance = graph.add(BatchVariance {}, &[x, mean]).ok()?;
            let op = BatchNormalize { epsilon: Real(1e-5) };
            let y = graph.add(op, &[x, mean, variance, scale, bias]).ok()?;
            graph.set_output("y", y);
            Some(Sample { graph, range: (-1.0, 2.0) })
        };
        [sample(&[3, 2, 2, 3]), sample(&[5, 3])].into_iter().flatten().collect()
    }
}
