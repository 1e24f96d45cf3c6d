//! The layers that the networks are made of: each adds its nodes, its parameters and their initial values.

use bitbudget_ir::{Dim, Graph, GraphError, Model, NodeId, Real, Role, Shape, TensorType, ops};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use std::collections::BTreeMap;

/// How the weights of convolutions are drawn; PyTorch's names and conventions.
#[derive(Clone, Copy)]
pub(crate) enum Weights {
    /// PyTorch's default: uniform within one over the root of the fan-in.
    Standard,
    /// Normal with variance two over the fan-in.
    HeFanIn,
    /// Normal with variance two over the fan-out, which is the first dimension times the kernel whatever the groups.
    HeFanOut,
    /// Normal with this deviation, and biases of zeros.
    Normal(f64),
}

/// Kernel size, stride, groups and padding of a convolution.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    size: usize,
    stride: usize,
    depthwise: bool,
    /// Whether it is padded to keep the plane at stride 1.
    is_padded: bool,
}

impl Kernel {
    /// 1x1.
    pub(crate) const POINT: Kernel = Kernel::padded(1);
    /// 3x3.
    pub(crate) const THREE: Kernel = Kernel::padded(3);
    /// 3x3, each channel on its own.
    pub(crate) const DEPTHWISE: Kernel = Kernel::padded(3).each();

    /// Square, at stride 1, padded to keep the plane.
    pub(crate) const fn padded(size: usize) -> Kernel {
        Kernel { size, stride: 1, depthwise: false, is_padded: true }
    }

    /// Windows side by side, without padding.
    pub(crate) const fn patches(size: usize) -> Kernel {
        Kernel { size, stride: size, depthwise: false, is_padded: false }
    }

    /// The same with each channel on its own.
    pub(crate) const fn each(self) -> Kernel {
        Kernel { depthwise: true, ..self }
    }

    /// The same at another stride.
    pub(crate) fn stride(self, stride: usize) -> Kernel {
        Kernel { stride, ..self }
    }
}

/// A network under construction.
pub(crate) struct Layers {
    graph: Graph,
    values: BTreeMap<String, Vec<f32>>,
    random: ChaCha8Rng,
    weights: Weights,
}

type Built = Result<NodeId, GraphError>;

impl Layers {
    pub(crate) fn new(name: &str, weights: Weights, seed: u64) -> Layers {
        Layers { graph: Graph::new(name), values: BTreeMap::new(), random: ChaCha8Rng::seed_from_u64(seed), weights }
    }

    pub(crate) fn finish(mut self, logits: NodeId) -> Model {
        self.graph.set_output("logits", logits);
        Model { graph: self.graph, values: self.values }
    }

    pub(crate) fn input(&mut self, [channels, height, width]: [usize; 3]) -> NodeId {
        let ty = TensorType::f32([Dim::BATCH, channels.into(), height.into(), width.into()]);
        self.graph.source(ops::Input { name: "input".into(), target: false }, ty)
    }

    /// Dimension `axis` of a tensor, which is not its batch.
    pub(crate) fn size(&self, x: NodeId, axis: usize) -> usize {
        self.graph.ty(x).shape.get(axis).map_or(0, Dim::factor)
    }

    pub(crate) fn channels(&self, x: NodeId) -> usize {
        self.size(x, 1)
    }

    pub(crate) fn parameter(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> NodeId {
        self.values.insert(name.clone(), values);
        self.graph.source(ops::Parameter { name }, TensorType::f32(Shape::fixed(shape)))
    }

    pub(crate) fn normal(&mut self, elements: usize, deviation: f64) -> Vec<f32> {
        let draw = |random: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(random) };
        (0..elements).map(|_| (deviation * draw(&mut self.random)) as f32).collect()
    }

    /// Uniform within one over the root of `fan_in`.
    pub(crate) fn uniform(&mut self, elements: usize, fan_in: usize) -> Vec<f32> {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let draw = |random: &mut ChaCha8Rng| -> f64 { StandardUniform.sample(random) };
        (0..elements).map(|_| (bound * (2.0 * draw(&mut self.random) - 1.0)) as f32).collect()
    }

    fn convolve(&mut self, name: &str, x: NodeId, out: usize, kernel: Kernel, bias: bool) -> Built {
        let Kernel { size, stride, depthwise, is_padded } = kernel;
        let channels = self.channels(x);
        let groups = if depthwise { channels } else { 1 };
        let shape = [out, channels / groups, size, size];
        let elements = shape.iter().product();
        let (fan_in, fan_out) = (shape[1] * size * size, out * size * size);
        let values = match self.weights {
            Weights::Standard => self.uniform(elements, fan_in),
            Weights::HeFanIn => self.normal(elements, (2.0 / fan_in as f64).sqrt()),
            Weights::HeFanOut => self.normal(elements, (2.0 / fan_out as f64).sqrt()),
            Weights::Normal(deviation) => self.normal(elements, deviation),
        };
        let mut operands = vec![x, self.parameter(format!("{name}.weight"), &shape, values)];
        if bias {
            let values = match self.weights {
                Weights::Normal(_) => vec![0.0; out],
                Weights::Standard | Weights::HeFanIn | Weights::HeFanOut => self.uniform(out, fan_in),
            };
            operands.push(self.parameter(format!("{name}.bias"), &[out], values));
        }
        let (strides, pads) = ([stride; 2], [if is_padded { size / 2 } else { 0 }; 2]);
        let conv = ops::Conv { strides, pads_begin: pads, pads_end: pads, dilations: [1; 2], groups };
        self.graph.add_named(conv, &operands, name)
    }

    /// Convolution without bias to `out` channels.
    pub(crate) fn conv(&mut self, name: &str, x: NodeId, out: usize, kernel: Kernel) -> Built {
        self.convolve(name, x, out, kernel, false)
    }

    /// Convolution with bias to `out` channels.
    pub(crate) fn conv_bias(&mut self, name: &str, x: NodeId, out: usize, kernel: Kernel) -> Built {
        self.convolve(name, x, out, kernel, true)
    }

    pub(crate) fn batch_norm(&mut self, name: &str, x: NodeId) -> Built {
        let channels = self.channels(x);
        let scale = self.parameter(format!("{name}.weight"), &[channels], vec![1.0; channels]);
        let bias = self.parameter(format!("{name}.bias"), &[channels], vec![0.0; channels]);
        let mean = self.statistic(ops::BatchMean {}, &[x], &format!("{name}.mean"))?;
        let variance = self.statistic(ops::BatchVariance {}, &[x, mean], &format!("{name}.variance"))?;
        let momentum = Real(0.1);
        let running = self.running(format!("{name}.running_mean"), channels, 0.0);
        let next = self.statistic(ops::RunningAverage { momentum }, &[running, mean], &format!("{name}.next_mean"))?;
        self.graph.add_update(running, next);
        let running = self.running(format!("{name}.running_var"), channels, 1.0);
        let op = ops::RunningVariance { momentum };
        let next = self.statistic(op, &[running, variance, x], &format!("{name}.next_var"))?;
        self.graph.add_update(running, next);
        let op = ops::BatchNormalize { epsilon: Real(1e-5) };
        let normalized = self.graph.add_named(op, &[x, mean, variance, scale, bias], name)?;
        self.graph.set_onnx_type(normalized, "BatchNormalization");
        Ok(normalized)
    }

    fn statistic(&mut self, op: impl Into<ops::Op>, operands: &[NodeId], name: &str) -> Built {
        let id = self.graph.add_named(op, operands, name)?;
        self.graph.set_role(id, Role::Internal);
        Ok(id)
    }

    fn running(&mut self, name: String, channels: usize, value: f32) -> NodeId {
        self.values.insert(name.clone(), vec![value; channels]);
        self.graph.source(ops::State { name }, TensorType::f32([Dim::fixed(channels)]))
    }

    pub(crate) fn relu(&mut self, name: &str, x: NodeId) -> Built {
        self.graph.add_named(ops::Relu {}, &[x], name)
    }

    pub(crate) fn emit(&mut self, name: &str, op: impl Into<ops::Op>, operands: &[NodeId]) -> Built {
        self.graph.add_named(op, operands, name)
    }

    pub(crate) fn source(&mut self, op: impl Into<ops::Op>, ty: TensorType) -> NodeId {
        self.graph.source(op, ty)
    }

    /// A number that is not trained.
    pub(crate) fn constant(&mut self, name: &str, number: f32) -> NodeId {
        self.constants(name, TensorType::scalar(), vec![number])
    }

    /// Numbers that are not trained.
    pub(crate) fn constants(&mut self, name: &str, ty: TensorType, numbers: Vec<f32>) -> NodeId {
        self.values.insert(name.to_string(), numbers);
        self.graph.source(ops::Constant { name: name.into() }, ty)
    }

    pub(crate) fn shape(&self, x: NodeId) -> Shape {
        self.graph.ty(x).shape.clone()
    }

    pub(crate) fn reshape(&mut self, name: &str, x: NodeId, shape: impl Into<Shape>) -> Built {
        self.graph.add_named(ops::Reshape { shape: shape.into() }, &[x], name)
    }

    pub(crate) fn transpose(&mut self, name: &str, x: NodeId, perm: &[usize]) -> Built {
        self.graph.add_named(ops::Transpose { perm: perm.to_vec() }, &[x], name)
    }

    pub(crate) fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> Built {
        self.graph.add_named(ops::Add {}, &[a, b], name)
    }

    /// The channels of `a`, then those of `b`.
    pub(crate) fn concat(&mut self, name: &str, a: NodeId, b: NodeId) -> Built {
        self.graph.add_named(ops::Concat { axis: 1 }, &[a, b], name)
    }

    /// Maximum over 2x2 windows, side by side.
    pub(crate) fn max_pool(&mut self, name: &str, x: NodeId) -> Built {
        self.max_pool_of(name, x, 2, 0)
    }

    /// Maximum over square windows at stride 2.
    pub(crate) fn max_pool_of(&mut self, name: &str, x: NodeId, size: usize, pad: usize) -> Built {
        let op = ops::MaxPool {
            kernel: [size; 2],
            strides: [2; 2],
            pads_begin: [pad; 2],
            pads_end: [pad; 2],
            dilations: [1; 2],
            ceil: false,
        };
        self.graph.add_named(op, &[x], name)
    }

    /// Mean over the whole plane, then the channels as a row: `[N, C]`.
    pub(crate) fn pool_and_flatten(&mut self, name: &str, x: NodeId) -> Built {
        let plane = [self.size(x, 2), self.size(x, 3)];
        let op = ops::AveragePool {
            kernel: plane,
            strides: plane,
            pads_begin: [0; 2],
            pads_end: [0; 2],
            dilations: [1; 2],
            ceil: false,
            count_include_pad: true,
        };
        let pooled = self.graph.add_named(op, &[x], name)?;
        self.graph.set_onnx_type(pooled, "GlobalAveragePool");
        let shape = [Dim::BATCH, Dim::fixed(self.channels(x))].into();
        self.graph.add_named(ops::Reshape { shape }, &[pooled], "flatten")
    }

    /// Fully connected layer with bias, PyTorch's default initial values.
    pub(crate) fn linear(&mut self, name: &str, x: NodeId, classes: usize) -> Built {
        let features = self.channels(x);
        let (weight, bias) = (self.uniform(classes * features, features), self.uniform(classes, features));
        self.linear_of(name, x, classes, weight, bias)
    }

    /// Fully connected layer with normal weights of the given deviation and a bias of zeros.
    pub(crate) fn linear_normal(&mut self, name: &str, x: NodeId, classes: usize, deviation: f64) -> Built {
        let weight = self.normal(classes * self.channels(x), deviation);
        self.linear_of(name, x, classes, weight, vec![0.0; classes])
    }

    fn linear_of(&mut self, name: &str, x: NodeId, classes: usize, weight: Vec<f32>, bias: Vec<f32>) -> Built {
        let features = self.channels(x);
        let weight = self.parameter(format!("{name}.weight"), &[classes, features], weight);
        let bias = self.parameter(format!("{name}.bias"), &[classes], bias);
        let product = self.graph.add_named(ops::Matmul { trans_a: false, trans_b: true }, &[x, weight, bias], name)?;
        self.graph.set_onnx_type(product, "Gemm");
        Ok(product)
    }

    /// The first and the second half of the channels.
    pub(crate) fn halves(&mut self, name: &str, x: NodeId) -> Result<[NodeId; 2], GraphError> {
        let mut shape = self.graph.ty(x).shape.clone();
        let half = self.channels(x) / 2;
        shape.0[1] = half.into();
        let mut slice = |begin, part: &str| {
            let op = ops::Slice { begin: vec![0, begin, 0, 0], step: vec![1; 4], shape: shape.clone() };
            self.graph.add_named(op, &[x], &format!("{name}.{part}"))
        };
        Ok([slice(0, "split1")?, slice(half, "split2")?])
    }

    /// Takes the channels in turn from the first and the second half.
    pub(crate) fn shuffle(&mut self, name: &str, x: NodeId) -> Built {
        let shape = self.graph.ty(x).shape.clone();
        let [channels, height, width] = [1, 2, 3].map(|axis| self.size(x, axis));
        let pairs = [Dim::BATCH, 2.into(), (channels / 2).into(), height.into(), width.into()].into();
        let x = self.graph.add_named(ops::Reshape { shape: pairs }, &[x], &format!("{name}.split"))?;
        let x = self.graph.add_named(ops::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[x], &format!("{name}.swap"))?;
        self.graph.add_named(ops::Reshape { shape }, &[x], name)
    }
}
