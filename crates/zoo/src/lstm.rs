//! Layers of long short-term memory (the medium network of Zaremba et al., arXiv 1409.2329, without dropout) as a classifier of sequences, with
//! the names of PyTorch's `nn.Embedding`, `nn.LSTM` and `nn.Linear`.

use crate::layers::Layers;
use bitbudget_ir::{Activations, Cell, Dim, Direction, GraphError, NodeId, Real, ops};

/// Elements of an embedding and of a hidden state.
const HIDDEN: usize = 650;
/// PyTorch's gates are input, forget, cell, output, those of ONNX input, output, forget, cell: where each of these begins, and how many follow.
const GATES: [(usize, usize); 3] = [(0, 1), (3, 1), (1, 2)];

pub(crate) fn logits(
    net: &mut Layers,
    width: f64,
    depth: usize,
    sequence: usize,
    [vocabulary, classes]: [usize; 2],
) -> Result<NodeId, GraphError> {
    let hidden = ((width * HIDDEN as f64).round() as usize).max(1);
    let ids = net.tokens("input_ids", sequence);
    let table = net.normal_parameter("embedding.weight", &[vocabulary, hidden], 1.0);
    let x = net.embedding("embedding", table, ids)?;
    let mut x = net.transpose("lstm.steps_first", x, &[1, 0, 2])?;
    for i in 0..depth {
        x = layer(net, i, x, [sequence, hidden])?;
    }
    let last = ops::Slice {
        begin: vec![sequence - 1, 0, 0],
        step: vec![1; 3],
        shape: [Dim::fixed(1), Dim::BATCH, hidden.into()].into(),
    };
    let last = net.emit("last", last, &[x])?;
    let last = net.reshape("last.row", last, [Dim::BATCH, hidden.into()])?;
    net.linear("classifier", last, classes)
}

/// A layer of `[T, N, I]`; its result is `[T, N, H]`.
fn layer(net: &mut Layers, i: usize, x: NodeId, [sequence, hidden]: [usize; 2]) -> Result<NodeId, GraphError> {
    let inputs = net.size(x, 2);
    let mut weight = |part: &str, columns: usize| {
        let name = format!("lstm.{part}_l{i}");
        let shape = [4 * hidden, columns];
        let shape = if columns == 0 { &shape[..1] } else { &shape[..] };
        let values = net.uniform(shape.iter().product(), hidden);
        let weight = net.parameter(name.clone(), shape, values);
        in_order(net, &name, weight, hidden)
    };
    let (w, r) = (weight("weight_ih", inputs)?, weight("weight_hh", hidden)?);
    let (b, c) = (weight("bias_ih", 0)?, weight("bias_hh", 0)?);
    let named = |part: &str| format!("lstm.{part}{i}");
    let w = net.reshape(&named("w"), w, [1, 4 * hidden, inputs].map(Dim::fixed))?;
    let r = net.reshape(&named("r"), r, [1, 4 * hidden, hidden].map(Dim::fixed))?;
    let bias = net.emit(&named("biases"), ops::Concat { axis: 0 }, &[b, c])?;
    let bias = net.reshape(&named("b"), bias, [1, 8 * hidden].map(Dim::fixed))?;
    let op = ops::Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Forward,
        activations: Activations::standard(Cell::Lstm, Direction::Forward),
        clip: Real(0.0),
        linear_before_reset: false,
        input_forget: false,
        bias: true,
        lengths: false,
        initial: false,
        peepholes: false,
    };
    let states = net.emit(&named("layer"), op, &[x, w, r, bias])?;
    let mut shape = net.shape(states);
    shape.0[0] = Dim::fixed(1);
    let hidden_states = ops::Slice { begin: vec![0; 5], step: vec![1; 5], shape };
    let states = net.emit(&named("hidden"), hidden_states, &[states])?;
    let states =
        net.reshape(&named("directions"), states, [Dim::fixed(sequence), 1.into(), Dim::BATCH, hidden.into()])?;
    net.reshape(&named("out"), states, [Dim::fixed(sequence), Dim::BATCH, hidden.into()])
}

/// The rows of a parameter by gates, in ONNX's order.
fn in_order(net: &mut Layers, name: &str, weight: NodeId, hidden: usize) -> Result<NodeId, GraphError> {
    let mut parts = Vec::new();
    for (first, count) in GATES {
        let mut shape = net.shape(weight);
        shape.0[0] = Dim::fixed(count * hidden);
        let mut begin = vec![0; shape.rank()];
        begin[0] = first * hidden;
        let part = ops::Slice { step: vec![1; begin.len()], begin, shape };
        parts.push(net.emit(&format!("{name}.gate{first}"), part, &[weight])?);
    }
    net.emit(&format!("{name}.gates"), ops::Concat { axis: 0 }, &parts)
}
