//! Recurrent layers, whose outputs in ONNX are parts of the states that they have here.

use super::exporter::Exporter;
use super::messages::{flag, float, int, numbers, text, texts};
use bitbudget_ir::{Activations, Cell, Dim, Graph, NodeId, Op, ops};

/// What of a layer's states a node gives.
struct Part {
    layer: NodeId,
    output: Output,
}

#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// The hidden states of all steps.
    All,
    /// The last states of a kind of one direction.
    Last { kind: usize, direction: usize },
}

/// The slice of a layer's states that a node is.
fn slice_of(graph: &Graph, id: NodeId) -> Option<(NodeId, &ops::Slice)> {
    let layer = *graph.operands(id).first()?;
    match (graph.op(id), graph.op(layer)) {
        (Op::Slice(slice), Op::Recurrent(_)) => Some((layer, slice)),
        _ => None,
    }
}

/// The part that a view of a layer's states, or of a slice of them, is.
fn part_of(graph: &Graph, id: NodeId) -> Option<Part> {
    let Op::Reshape(reshape) = graph.op(id) else { return None };
    let operand = *graph.operands(id).first()?;
    let (layer, begin) = match (graph.op(operand), slice_of(graph, operand)) {
        (Op::Recurrent(_), _) => (operand, [0; 3]),
        (_, Some((layer, slice))) => (layer, [slice.begin[0], slice.begin[1], slice.begin[2]]),
        _ => return None,
    };
    let output = match reshape.shape.rank() {
        4 => Output::All,
        _ if graph.ty(operand).shape.0[1] == Dim::fixed(1) => Output::Last { kind: begin[0], direction: begin[2] },
        _ => return None,
    };
    Some(Part { layer, output })
}

/// The layer whose last states of both directions a node joins.
fn joined(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let (Op::Concat(ops::Concat { axis: 0 }), &[first, second]) = (graph.op(id), graph.operands(id)) else {
        return None;
    };
    let (first, second) = (part_of(graph, first)?, part_of(graph, second)?);
    match (first.output, second.output) {
        (Output::Last { kind, direction: 0 }, Output::Last { kind: other, direction: 1 }) if kind == other => {
            (first.layer == second.layer).then_some(first.layer)
        }
        _ => None,
    }
}

/// Whether a node is written with the layer whose states it shows.
pub(super) fn is_written_with_layer(graph: &Graph, id: NodeId) -> bool {
    slice_of(graph, id).is_some() || part_of(graph, id).is_some() || joined(graph, id).is_some()
}

/// The nodes that stand for Y, Y_h and Y_c of a layer.
fn outputs(graph: &Graph, layer: NodeId) -> Result<[Option<NodeId>; 3], String> {
    let Op::Recurrent(op) = graph.op(layer) else { return Err("it is not a recurrent layer".into()) };
    let mut found = [None; 3];
    let mut views = Vec::new();
    for reader in graph.readers(layer) {
        match slice_of(graph, reader) {
            Some(_) => views.extend(graph.readers(reader)),
            None => views.push(reader),
        }
    }
    for view in views {
        let part = part_of(graph, view).ok_or("its states are read in a form that ONNX does not have")?;
        match part.output {
            Output::All => found[0] = Some(view),
            Output::Last { kind, .. } if op.directions() == 1 => found[1 + kind] = Some(view),
            Output::Last { kind, .. } => {
                let [join] = graph.readers(view)[..] else {
                    return Err("its last states are read by direction, which ONNX does not have".into());
                };
                joined(graph, join).ok_or("its last states are not joined as in ONNX")?;
                found[1 + kind] = Some(join);
            }
        }
    }
    Ok(found)
}

/// Writes a layer with its outputs.
pub(super) fn write(exporter: &mut Exporter, id: NodeId) -> Result<(), String> {
    let graph = &exporter.model.graph;
    let Op::Recurrent(op) = graph.op(id) else { return Err("it is not a recurrent layer".into()) };
    let (at, operands) = (op.operands(), graph.operands(id));
    let mut inputs: Vec<String> = operands[..3].iter().map(|&operand| exporter.name(operand)).collect();
    for position in [at.bias, at.lengths, at.hidden, at.cell, at.peepholes] {
        let name = position.map(|i| exporter.name(operands[i])).unwrap_or_default();
        inputs.push(match position == at.lengths && position.is_some() {
            true => whole_32(exporter, id, name),
            false => name,
        });
    }
    while inputs.last().is_some_and(String::is_empty) {
        inputs.pop();
    }
    let operator = match op.cell {
        Cell::Lstm => "LSTM",
        Cell::Gru => "GRU",
        Cell::Rnn => "RNN",
    };
    let found = outputs(graph, id)?;
    let mut outputs: Vec<String> =
        found.iter().map(|output| output.map(|output| exporter.name(output)).unwrap_or_default()).collect();
    while outputs.last().is_some_and(String::is_empty) {
        outputs.pop();
    }
    let hidden = graph.ty(operands[2]).shape.0[2].factor();
    let mut attributes = vec![int("hidden_size", hidden as i64), text("direction", op.direction.name())];
    if op.activations != Activations::standard(op.cell, op.direction) {
        let all = &op.activations.0;
        attributes.push(texts("activations", all.iter().map(|activation| activation.function.name())));
        let having = |count: usize| all.iter().filter(move |activation| activation.function.parameters() >= count);
        attributes.push(numbers("activation_alpha", having(1).map(|activation| activation.alpha.0)));
        attributes.push(numbers("activation_beta", having(2).map(|activation| activation.beta.0)));
    }
    if op.clip.0 > 0.0 {
        attributes.push(float("clip", op.clip.0));
    }
    if op.cell == Cell::Gru {
        attributes.push(flag("linear_before_reset", op.linear_before_reset));
    }
    if op.input_forget {
        attributes.push(flag("input_forget", true));
    }
    let node = exporter.node(id, operator, inputs);
    node.attribute = attributes;
    node.output = outputs;
    Ok(())
}

/// Lengths as the numbers of 32 bits that ONNX asks for.
fn whole_32(exporter: &mut Exporter, id: NodeId, lengths: String) -> String {
    const INT32: i64 = 6;
    let base = exporter.name(id);
    let name = exporter.fresh(&format!("{base}.lengths"));
    exporter.message(name.clone(), "Cast", vec![lengths], name.clone()).attribute = vec![int("to", INT32)];
    name
}
