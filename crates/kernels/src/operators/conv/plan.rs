//! A pass of a convolution, with everything that shapes and formats decide.

use bitbudget_formats::{Counts, Format};

use super::Pass;
use super::dense::{Dense, DensePlan};
use super::depthwise::Depthwise;
use super::depthwise_grad_weight::DepthwiseGradWeight;
use super::geometry::Conv2d;
use super::grad_weight::{GradWeight, GradWeightPlan};
use crate::error::{ShapeError, check, geometry};
use crate::tensors::elements::{Elements, Output};

/// How a pass is computed; one without products leaves nothing to plan.
enum Way {
    Dense(Dense),
    Depthwise(Depthwise),
    GradWeight(GradWeight),
    DepthwiseGradWeight(DepthwiseGradWeight),
    Empty,
}

impl Way {
    fn new(g: &Conv2d, pass: Pass, a: Format, b: Format) -> Way {
        match pass {
            _ if !g.is_computable() => Way::Empty,
            Pass::GradWeight if g.is_depthwise() => Way::DepthwiseGradWeight(DepthwiseGradWeight::new(g)),
            Pass::Forward if g.is_depthwise() => Way::Depthwise(Depthwise::forward(g)),
            Pass::GradInput if g.is_depthwise() => Way::Depthwise(Depthwise::grad_input(g)),
            Pass::Forward => Way::Dense(Dense::forward(g, a, b)),
            Pass::GradInput => Way::Dense(Dense::grad_input(g, a, b)),
            Pass::GradWeight => Way::GradWeight(GradWeight::new(g, a, b)),
        }
    }

    fn workspace(&self) -> usize {
        match self {
            Way::Dense(way) => way.workspace,
            Way::GradWeight(way) => way.workspace(),
            Way::DepthwiseGradWeight(way) => way.workspace(),
            Way::Depthwise(_) | Way::Empty => 0,
        }
    }

    fn scratch(&self) -> usize {
        match self {
            Way::Dense(way) => way.scratch(),
            Way::GradWeight(way) => way.scratch(),
            Way::DepthwiseGradWeight(way) => way.scratch(),
            Way::Depthwise(way) => way.scratch(),
            Way::Empty => 0,
        }
    }
}

impl Conv2d {
    /// FP32 elements of shared memory that a pass needs, for operands of these formats in the order of its arguments.
    /// The same on every machine; 0 for a geometry that has no outputs.
    pub fn workspace(&self, pass: Pass, a: Format, b: Format) -> usize {
        Way::new(self, pass, a, b).workspace()
    }

    /// FP32 elements of scratch memory that every thread takes in a pass at most, beyond the shared memory.
    pub fn scratch(&self, pass: Pass, a: Format, b: Format) -> usize {
        Way::new(self, pass, a, b).scratch()
    }

    /// A pass on this machine, made ready for operands of these formats in the order of its arguments.
    pub fn plan(&self, pass: Pass, a: Format, b: Format) -> ConvPlan {
        let way = Way::new(self, pass, a, b);
        let workspace = way.workspace();
        let way = match way {
            Way::Dense(way) => Ready::Dense(way.ready()),
            Way::Depthwise(way) => Ready::Depthwise(way),
            Way::GradWeight(way) => Ready::GradWeight(way.ready()),
            Way::DepthwiseGradWeight(way) => Ready::DepthwiseGradWeight(way),
            Way::Empty => Ready::Empty,
        };
        ConvPlan { geometry: *self, pass, formats: [a, b], workspace, way }
    }
}

/// A [`Way`] with the steps of its products.
#[derive(Debug)]
enum Ready {
    Dense(DensePlan),
    Depthwise(Depthwise),
    GradWeight(GradWeightPlan),
    DepthwiseGradWeight(DepthwiseGradWeight),
    Empty,
}

/// A pass of a convolution that is ready to run, any number of times.
#[derive(Debug)]
pub struct ConvPlan {
    geometry: Conv2d,
    pass: Pass,
    formats: [Format; 2],
    workspace: usize,
    way: Ready,
}

impl ConvPlan {
    /// Computes the pass of its two operands, which have the formats of the plan; only the forward pass has a bias. What the
    /// result could not hold is counted. `shared` has at least the elements of [`Conv2d::workspace`], with any contents.
    ///
    /// # Errors
    /// If the geometry contradicts itself, a length is not that of its shape, or a format not that of the plan.
    pub fn run(
        &self,
        [a, b]: [Elements; 2],
        bias: Option<Elements>,
        out: &mut Output,
        shared: &mut [f32],
    ) -> Result<Counts, ShapeError> {
        let (g, channels) = (&self.geometry, self.geometry.out_channels);
        let kernel = match self.pass {
            Pass::Forward => {
                g.check("conv2d", a.len(), b.len(), out.len())?;
                "conv2d"
            }
            Pass::GradInput => {
                g.check("conv2d_grad_input", out.len(), b.len(), a.len())?;
                "conv2d_grad_input"
            }
            Pass::GradWeight => {
                g.check("conv2d_grad_weight", a.len(), out.len(), b.len())?;
                "conv2d_grad_weight"
            }
        };
        check(kernel, &[("bias", bias.map_or(channels, Elements::len), channels)])?;
        if [a.format(), b.format()] != self.formats {
            let ([a, b], [x, y]) = ([a.format(), b.format()], self.formats);
            return Err(geometry(kernel, format!("operands are in {a} and {b}, the plan is for {x} and {y}")));
        }
        let (found, expected) = (shared.len(), self.workspace);
        let too_short = ShapeError::Length { kernel, argument: "shared", expected, found };
        let shared = shared.get_mut(..expected).ok_or(too_short)?;
        Ok(match &self.way {
            Ready::Dense(way) => way.run(a, b, bias, out, shared),
            Ready::Depthwise(way) => way.run(a, b, bias, out),
            Ready::GradWeight(way) => way.run(a, b, out, shared),
            Ready::DepthwiseGradWeight(way) => way.run(a, b, out, shared),
            Ready::Empty => self.fill(bias, out),
        })
    }

    /// The result where there are no products: the bias, or zero.
    fn fill(&self, bias: Option<Elements>, out: &mut Output) -> Counts {
        if out.is_empty() {
            return Counts::default();
        }
        let (Some(bias), plane) = (bias, self.geometry.out_plane()) else {
            return out.fill(1, |_, out| out.fill(0.0));
        };
        out.fill(plane, |start, y| {
            for (i, y) in y.chunks_mut(plane).enumerate() {
                let mut value = [0.0];
                bias.unpack((start / plane + i) % self.geometry.out_channels, &mut value);
                y.fill(value[0]);
            }
        })
    }
}
