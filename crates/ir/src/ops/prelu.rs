//! Parametric rectifier.

use super::{Clip, Mul, Operator, Precision, PreluGrad, Sample, Work, check, elementwise_work};
use crate::array::{Array, Float};
use crate::attribute::{Real, operator};
use crate::error::Reason;
use super::elementwise::elementwise;
use crate::expression::{number, x};
use crate::facts::{Facts, Read};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{Dim, Shape, TensorType};

operator! {
    /// `x` where positive, `slope * x` elsewhere (ONNX PRelu); the slope has the shape of x, `[C, 1, ..]` with
    /// one element per channel, or one element.
    pub struct Prelu {}
}

/// Checks the slope of a parametric rectifier.
pub(super) fn check_slope(x: &TensorType, slope: &TensorType) -> Result<(), Reason> {
    if is_per_channel(&slope.shape, &x.shape) {
        return check::channels(x).map(|_| ());
    }
    check::same_or_scalar("x and the slope", x, slope)
}

/// Whether a slope broadcasts along all axes of x but the second.
fn is_per_channel(slope: &Shape, x: &Shape) -> bool {
    let behind = slope.0.iter().skip(1).all(|&dim| dim == Dim::fixed(1));
    slope.rank() > 0 && slope.rank() + 1 == x.rank() && slope.get(0) == x.get(1) && behind
}

/// How a slope of this shape is read.
pub(super) fn slope_read(slope: Option<&&Shape>, x: &Shape) -> Read {
    match slope {
        Some(slope) if *slope == x => Read::Each,
        Some(slope) if is_per_channel(slope, x) => Read::Channel,
        _ => Read::Scalar,
    }
}

impl Operator for Prelu {
    const NAME: &'static str = "prelu";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [x, slope] = check::floats(operands)?;
        check_slope(x, slope)?;
        Ok(x.clone())
    }

    fn gradient(&self, graph: &mut Graph, node: NodeId, dy: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        let (x, slope) = (graph.operand(node, 0)?, graph.operand(node, 1)?);
        let of_x = graph.add(PreluGrad {}, &[dy, x, slope])?;
        let below = graph.add(Clip { min: Real(f64::NEG_INFINITY), max: Real(0.0) }, &[x])?;
        let of_slope = graph.add(Mul {}, &[dy, below])?;
        Ok(vec![Some(of_x), Some(of_slope)])
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, operands: &[&Shape], result: &Shape) -> Facts {
        let reads: &[Read] = match slope_read(operands.get(1), result) {
            Read::Channel => &[Read::Each, Read::Channel],
            Read::Scalar => &[Read::Each, Read::Scalar],
            _ => &[Read::Each; 2],
        };
        Facts::map(x(0).less(number(0.0), x(1) * x(0), x(0)), reads).cheap()
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        elementwise(self, operands, shape)
    }

    fn samples() -> Vec<Sample> {
        let shapes: [[&[usize]; 2]; 3] = [[&[2, 3, 5], &[3, 1]], [&[2, 7], &[]], [&[2, 7], &[2, 7]]];
        shapes.iter().filter_map(|s| Sample::of(Prelu {}, s)).collect()
    }
}
