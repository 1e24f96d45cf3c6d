//! A pass of a convolution, with everything that shapes and formats decide.

use bitbudget_formats::{Counts, Format};

use super::Pass;
use super::dense::{Dense, DensePlan};
use super::depthwise::Depthwise;
use super::depthwise_grad_weight::DepthwiseGradWeight;
use super::geometry::Conv2d;
use super::grad_weight::{GradWeight, GradWeightPlan};
use crate::error::{ShapeError, check, geometry};
use crate::operators::product::Arithmetic;
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
    fn new(g: &Conv2d, pass: Pass, formats: [Format; 2], arithmetic: Arithmetic) -> Way {
        match pass {
            _ if !g.is_computable() => Way::Empty,
            Pass::GradWeight if g.is_depthwise() => Way::DepthwiseGradWeight(DepthwiseGradWeight::new(g)),
            Pass::Forward if g.is_depthwise() => Way::Depthwise(Depthwise::forward(g)),
            Pass::GradInput if g.is_depthwise() => Way::Depthwise(Depthwise::grad_input(g)),
            Pass::Forward => Way::Dense(Dense::forward(g, formats, arithmetic)),
            Pass::GradInput => Way::Dense(Dense::grad_input(g, formats, arithmetic)),
            Pass::GradWeight => Way::GradWeight(GradWeight::new(g, formats, arithmetic)),
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
        self.most(pass, [a, b], Way::workspace)
    }

    /// FP32 elements of scratch memory that every thread takes in a pass at most, beyond the shared memory. The same on every machine.
    pub fn scratch(&self, pass: Pass, a: Format, b: Format) -> usize {
        self.most(pass, [a, b], Way::scratch)
    }

    /// The most of something, over the arithmetics of all processors.
    fn most(&self, pass: Pass, formats: [Format; 2], of: impl Fn(&Way) -> usize) -> usize {
        let ways = Arithmetic::any_of(formats[0], formats[1]).iter().map(|&any| Way::new(self, pass, formats, any));
        ways.map(|way| of(&way)).max().unwrap_or(0)
    }

    /// A pass on this machine, made ready for operands of these formats in the order of its arguments.
    pub fn plan(&self, pass: Pass, a: Format, b: Format) -> ConvPlan {
        let arithmetic = Arithmetic::of(a, b);
        let way = Way::new(self, pass, [a, b], arithmetic);
        let workspace = way.workspace();
        let way = match way {
            Way::Dense(way) => Ready::Dense(way.ready()),
            Way::Depthwise(way) => Ready::Depthwise(way),
            Way::GradWeight(way) => Ready::GradWeight(way.ready()),
            Way::DepthwiseGradWeight(way) => Ready::DepthwiseGradWeight(way),
            Way::Empty => Ready::Empty,
        };
        ConvPlan { geometry: *self, pass, formats: [a, b], arithmetic, workspace, way }
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
    arithmetic: Arithmetic,
    workspace: usize,
    way: Ready,
}

impl ConvPlan {
    /// How this machine computes the pass, in words.
    pub fn way(&self) -> &'static str {
        match (&self.way, self.arithmetic) {
            (Ready::Dense(_) | Ready::GradWeight(_), Arithmetic::F32) => "FP32 tiles",
            (Ready::Dense(_) | Ready::GradWeight(_), Arithmetic::Bf16) => "tiles of BF16 dot products",
            (Ready::Depthwise(_) | Ready::DepthwiseGradWeight(_), _) => "FP32 planes",
            (Ready::Empty, _) => "no products at all",
        }
    }

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
