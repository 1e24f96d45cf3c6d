//! The gradient of max pooling.

use super::{MaxPoolIndices, Operator, Parameter, Precision, Sample, Window, Work, check, elementwise_work, no_derivative};
use crate::array::{Array, Float};
use crate::attribute::operator;
use crate::error::Reason;
use crate::facts::{Facts, Form, Numbers, Read, Reads};
use crate::graph::Graph;
use crate::role::NodeId;
use crate::types::{DType, Shape, TensorType};

operator! {
    /// The gradient of max pooling: each element of `dy` goes to where its maximum was; on dy, indices.
    pub struct MaxPoolGrad {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps between windows.
        strides: [usize; 2] = [1, 1],
        /// Padding above and left.
        pads_begin: [usize; 2] = [0, 0],
        /// Padding below and right.
        pads_end: [usize; 2] = [0, 0],
        /// Distances between taps.
        dilations: [usize; 2] = [1, 1],
        /// Whether a last, incomplete window counts.
        ceil: bool = false,
        /// The shape of the pooled tensor.
        input: Shape,
    }
}

impl MaxPoolGrad {
    /// The sliding window.
    pub fn window(&self) -> Window {
        let MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, .. } = *self;
        Window { kernel, strides, pads_begin, pads_end, dilations, ceil }
    }
}

impl Operator for MaxPoolGrad {
    const NAME: &'static str = "max_pool_grad";

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Reason> {
        let [dy, indices] = check::count(operands)?;
        check::all_floats(&[dy])?;
        if indices.dtype != DType::Index8 {
            return Err(Reason::new(format!("needs indices, has {indices}")));
        }
        let x = TensorType::f32(self.input.clone());
        let y = TensorType::f32(self.window().infer(&x, check::channels(&x)?)?);
        check::same("`dy` and the pooled tensor", dy, &y)?;
        check::same("`dy` and the indices", dy, indices)?;
        Ok(x)
    }

    fn gradient(&self, _: &mut Graph, _: NodeId, _: NodeId) -> Result<Vec<Option<NodeId>>, Reason> {
        Err(no_derivative(Self::NAME))
    }

    fn precision(&self) -> Precision {
        Precision::Follow
    }

    fn facts(&self, _: &[&Shape], _: &Shape) -> Facts {
        let is_apart = |d: usize| self.kernel[d].saturating_sub(1).saturating_mul(self.dilations[d]) < self.strides[d];
        let facts = Facts::new(Form::Window, Reads::All(Read::Whole));
        // Where windows do not overlap, no two gradients are added.
        match is_apart(0) && is_apart(1) {
            true => facts.with_numbers(Numbers::Of(0)),
            false => facts,
        }
    }

    fn work(&self, _: &[&TensorType], result: &TensorType, batch: usize) -> Work {
        elementwise_work(result, batch)
    }

    fn evaluate<F: Float>(&self, operands: &[&Array<F>], shape: &[usize]) -> Array<F> {
        let (dy, indices) = (operands[0], operands[1]);
        let window = self.window();
        let mut dx = Array::zeros(shape);
        Array::from_fn(&dy.shape, |i| {
            window.taps([i[2], i[3]], [shape[2], shape[3]], |row, column, tap| {
                if indices.at(i) == F::of(tap as f64) {
                    let at = dx.offset(&[i[0], i[1], row, column]);
                    dx.data[at] = dx.data[at] + dy.at(i);
                }
            });
            F::zero()
        });
        dx
    }

    fn samples() -> Vec<Sample> {
        let sample = |kernel: usize, pad: usize, input: &[usize]| {
            let mut graph = Graph::new("sample");
            let x = TensorType::f32(Shape::fixed(input));
            let x = graph.source(Parameter { name: "x".into() }, x);
            let (kernel, strides, pads_begin, pads_end) = ([kernel; 2], [2; 2], [pad; 2], [pad; 2]);
            let (dilations, ceil) = ([1; 2], false);
            let indices = MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, ceil };
            let indices = graph.add(indices, &[x]).ok()?;
            let dy = TensorType::f32(graph.ty(indices).shape.clone());
            let dy = graph.source(Parameter { name: "dy".into() }, dy);
            let input = Shape::fixed(input);
            let op = MaxPoolGrad { kernel, strides, pads_begin, pads_end, dilations, ceil, input };
            let dx = graph.add(op, &[dy, indices]).ok()?;
            graph.set_output("y", dx);
            Some(Sample { graph, range: (-1.0, 1.0) })
        };
        [sample(2, 0, &[2, 3, 4, 4]), sample(3, 1, &[1, 2, 5, 5])].into_iter().flatten().collect()
    }
}
