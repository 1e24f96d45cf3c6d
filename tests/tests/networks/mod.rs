//! Small networks for tests of whole steps.

use bitbudget_ir::ops::*;
use bitbudget_ir::{Dim, Graph, Model, NodeId, Op, Real, Role, Shape, TensorType};

pub(crate) const BATCH: usize = 4;
pub(crate) const CLASSES: usize = 3;

/// Reproducible numbers without pattern (xorshift64*; Vigna, 2016).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// A number from -1 to 1.
    pub(crate) fn number(&mut self) -> f32 {
        self.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0
    }
}

pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// A graph with a value for each source: parameters without pattern, statistics of a standard normal distribution.
pub(crate) fn initialised(graph: Graph) -> Model {
    let mut random = Random(0x9e37_79b9);
    let mut values = std::collections::BTreeMap::new();
    for id in graph.ids() {
        let count = graph.ty(id).shape.elements(1);
        let numbers: Vec<f32> = match graph.op(id) {
            Op::Parameter(_) => (0..count).map(|_| 0.8 * random.number()).collect(),
            Op::State(op) => vec![f32::from(u8::from(op.name.starts_with("var"))); count],
            _ => continue,
        };
        values.insert(graph.op(id).source_name().unwrap().to_string(), numbers);
    }
    Model { graph, values }
}

/// A network of these lines of the text form, with a linear layer over its last result.
pub(crate) fn model(lines: &str) -> Model {
    let is_update = |line: &&str| line.starts_with("update");
    let (updates, nodes): (Vec<&str>, Vec<&str>) = lines.lines().map(str::trim).partition(|line| is_update(line));
    let text = format!("graph \"case\" {{\n{}\n{}\n}}", nodes.join("\n"), updates.join("\n"));
    let mut graph: Graph = text.parse().unwrap();
    let last = graph.ids().rfind(|&id| graph.ty(id).shape.0[0] == Dim::BATCH).unwrap();
    classify(&mut graph, last);
    initialised(graph)
}

/// Ends a network with a linear layer.
fn classify(graph: &mut Graph, x: NodeId) {
    let features = graph.ty(x).shape.elements(1);
    let flat = output(graph, Reshape { shape: Shape(vec![Dim::BATCH, Dim::fixed(features)]) }, &[x]);
    let ty = TensorType::f32(vec![Dim::fixed(CLASSES), Dim::fixed(features)]);
    let weight = graph.source(Parameter { name: "classes".into() }, ty);
    let scores = output(graph, Matmul { trans_a: false, trans_b: true }, &[flat, weight]);
    graph.set_output("scores", scores);
}

fn output(graph: &mut Graph, op: impl Into<Op>, operands: &[NodeId]) -> NodeId {
    graph.add(op, operands).unwrap()
}

fn internal(graph: &mut Graph, op: impl Into<Op>, operands: &[NodeId]) -> NodeId {
    let id = output(graph, op, operands);
    graph.set_role(id, Role::Internal);
    id
}

const CHANNELS: usize = 4;
const SIDE: usize = 4;

fn shape(dims: &[usize]) -> Shape {
    Shape(std::iter::once(Dim::BATCH).chain(dims.iter().map(|&d| Dim::fixed(d))).collect())
}

/// A network of a few operators on `[N, 4, 4, 4]`: convolutions, normalisations, activations, residuals, and channels that
/// are split, joined, shuffled and shown by other shapes. Every operator reads earlier results at random, mostly late ones.
pub(crate) fn random(seed: u64) -> Model {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut graph = Graph::new("random");
    let whole = shape(&[CHANNELS, SIDE, SIDE]);
    let mut nodes = vec![graph.source(Input { name: "x".into(), target: false }, TensorType::f32(whole.clone()))];
    for at in 0..3 + random.below(8) {
        let x = nodes[nodes.len() - 1 - random.below(nodes.len().min(2))];
        let other = nodes[nodes.len() - 1 - random.below(nodes.len().min(4))];
        let y = match random.below(14) {
            0 | 1 => convolution(&mut graph, x, at),
            2 => normalization(&mut graph, x, at),
            3 => output(&mut graph, Relu {}, &[x]),
            4 => output(&mut graph, Clip { min: Real(f64::NEG_INFINITY), max: Real(0.3) }, &[x]),
            5 => output(&mut graph, LeakyRelu { alpha: Real(0.1) }, &[x]),
            6 => output(&mut graph, Add {}, &[x, other]),
            7 => output(&mut graph, [Op::from(Mul {}), Op::from(Sub {})][random.below(2)].clone(), &[x, other]),
            8 | 9 => shuffle(&mut graph, x),
            10 | 11 => split(&mut graph, x, &mut random),
            12 => flat_activation(&mut graph, x),
            _ => pooling(&mut graph, x, &mut random),
        };
        nodes.push(y);
    }
    let last = nodes[nodes.len() - 1];
    classify(&mut graph, last);
    initialised(graph.without_dead_nodes().0)
}

fn convolution(graph: &mut Graph, x: NodeId, at: usize) -> NodeId {
    let ty = TensorType::f32(vec![Dim::fixed(CHANNELS), Dim::fixed(CHANNELS), Dim::fixed(1), Dim::fixed(1)]);
    let weight = graph.source(Parameter { name: format!("w{at}") }, ty);
    let conv = Conv { strides: [1; 2], pads_begin: [0; 2], pads_end: [0; 2], dilations: [1; 2], groups: 1 };
    output(graph, conv, &[x, weight])
}

fn normalization(graph: &mut Graph, x: NodeId, at: usize) -> NodeId {
    let vector = TensorType::f32(vec![Dim::fixed(CHANNELS)]);
    let mean = internal(graph, BatchMean {}, &[x]);
    let variance = internal(graph, BatchVariance {}, &[x, mean]);
    let scale = graph.source(Parameter { name: format!("scale{at}") }, vector.clone());
    let bias = graph.source(Parameter { name: format!("bias{at}") }, vector.clone());
    let running = graph.source(State { name: format!("mean{at}") }, vector.clone());
    let spread = graph.source(State { name: format!("var{at}") }, vector);
    let y = output(graph, BatchNormalize { epsilon: Real(1e-5) }, &[x, mean, variance, scale, bias]);
    let next = internal(graph, RunningAverage { momentum: Real(0.1) }, &[running, mean]);
    graph.add_update(running, next);
    let next = internal(graph, RunningVariance { momentum: Real(0.1) }, &[spread, variance, x]);
    graph.add_update(spread, next);
    y
}

fn shuffle(graph: &mut Graph, x: NodeId) -> NodeId {
    let groups = output(graph, Reshape { shape: shape(&[2, CHANNELS / 2, SIDE, SIDE]) }, &[x]);
    let swapped = output(graph, Transpose { perm: vec![0, 2, 1, 3, 4] }, &[groups]);
    output(graph, Reshape { shape: shape(&[CHANNELS, SIDE, SIDE]) }, &[swapped])
}

/// Both halves of the channels, with an activation of one, in either order.
fn split(graph: &mut Graph, x: NodeId, random: &mut Random) -> NodeId {
    let half = |graph: &mut Graph, first: usize| {
        let shape = shape(&[CHANNELS / 2, SIDE, SIDE]);
        output(graph, Slice { begin: vec![0, first, 0, 0], step: vec![1; 4], shape }, &[x])
    };
    let (mut first, mut second) = (half(graph, 0), half(graph, CHANNELS / 2));
    if random.below(2) == 0 {
        first = output(graph, Relu {}, &[first]);
    }
    if random.below(3) == 0 {
        second = output(graph, Mul {}, &[first, second]);
    }
    let order = if random.below(2) == 0 { [first, second] } else { [second, first] };
    output(graph, Concat { axis: 1 }, &order)
}

fn flat_activation(graph: &mut Graph, x: NodeId) -> NodeId {
    let flat = output(graph, Reshape { shape: shape(&[CHANNELS * SIDE * SIDE]) }, &[x]);
    let y = output(graph, Relu {}, &[flat]);
    output(graph, Reshape { shape: shape(&[CHANNELS, SIDE, SIDE]) }, &[y])
}

fn pooling(graph: &mut Graph, x: NodeId, random: &mut Random) -> NodeId {
    let (kernel, strides, pads, dilations) = ([3; 2], [1; 2], [1; 2], [1; 2]);
    match random.below(2) {
        0 => {
            let pool = MaxPool { kernel, strides, pads_begin: pads, pads_end: pads, dilations, ceil: false };
            output(graph, pool, &[x])
        }
        _ => {
            let (pads_begin, pads_end, ceil, count_include_pad) = (pads, pads, false, true);
            let pool = AveragePool { kernel, strides, pads_begin, pads_end, dilations, ceil, count_include_pad };
            output(graph, pool, &[x])
        }
    }
}
