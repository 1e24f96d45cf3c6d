//! Each operator of a forward graph as an ONNX node.

use super::exporter::{Exporter, running_statistics};
use super::messages::{element_type, flag, float, floats, int, ints, list, tensor, tensor_info, text, typed};
use super::pool::{self, Pool};
use super::recurrent;
use bitbudget_ir::ops::{self, LogicalFunction, Window};
use bitbudget_ir::{Dim, Graph, NodeId, Op, Real, Shape, UnaryFunction};
use onnx_protobuf::AttributeProto;
use protobuf::Enum;

/// Writes the messages for a node; its operands are written already.
pub(super) fn write(exporter: &mut Exporter, id: NodeId) -> Result<(), String> {
    let graph = &exporter.model.graph;
    if recurrent::is_written_with_layer(graph, id) {
        return Ok(());
    }
    let operands = graph.operands(id);
    let inputs: Vec<String> = operands.iter().map(|&operand| exporter.name(operand)).collect();
    if let Some((operator, attributes)) = one_to_one(graph.op(id)) {
        exporter.node(id, operator, inputs).attribute = attributes;
        return Ok(());
    }
    match graph.op(id) {
        Op::Input(op) => exporter.proto.input.push(tensor_info(&op.name, graph.ty(id))),
        Op::Parameter(_) | Op::State(_) | Op::Constant(_) => return source(exporter, id),
        Op::Conv(op) => {
            let kernel = spatial(graph, operands[1]);
            let mut attributes = window(&op.window([kernel[0], kernel[1]]));
            attributes.push(int("group", op.groups as i64));
            exporter.node(id, "Conv", inputs).attribute = attributes;
        }
        Op::ConvGradInput(op) => {
            let (input, kernel, output) =
                (spatial(graph, operands[0]), spatial(graph, operands[1]), spatial(graph, id));
            let window = op.forward().window([kernel[0], kernel[1]]);
            let beyond = |d: usize| {
                let reach = (input[d] - 1) * window.strides[d] + (window.kernel[d] - 1) * window.dilations[d] + 1;
                (output[d] + window.pads_begin[d] + window.pads_end[d]).saturating_sub(reach)
            };
            let mut attributes = self::window(&window);
            attributes.extend([list("output_padding", [beyond(0), beyond(1)]), int("group", op.groups as i64)]);
            exporter.node(id, "ConvTranspose", inputs).attribute = attributes;
        }
        Op::Matmul(op) if graph.ty(id).shape.rank() == 2 => {
            let attributes = vec![flag("transA", op.trans_a), flag("transB", op.trans_b)];
            exporter.node(id, "Gemm", inputs).attribute = attributes;
        }
        Op::Matmul(op) => matmul(exporter, id, inputs, op),
        Op::Recurrent(_) => return recurrent::write(exporter, id),
        Op::BatchNormalize(_) => return batch_normalize(exporter, id, &inputs),
        Op::MaxPool(op) => return pool::write(exporter, id, &op.window(), Pool::Max),
        Op::AveragePool(op) => {
            let count_include_pad = op.count_include_pad;
            return pool::write(exporter, id, &op.window(), Pool::Average { count_include_pad });
        }
        Op::Clip(op) => return clip(exporter, id, &inputs[0], op),
        Op::Unary(op) => return unary(exporter, id, inputs, op),
        Op::Scale(op) => return with_argument(exporter, id, "Mul", inputs, "by", floats(&[], &[op.by.0 as f32])),
        Op::Reshape(op) => {
            let shape = reshape_target(&graph.ty(operands[0]).shape, &op.shape);
            return with_argument(exporter, id, "Reshape", inputs, "shape", ints(&shape));
        }
        Op::Slice(op) => return slice(exporter, id, inputs, op),
        Op::SliceScatter(op) if op.step.iter().all(|&s| s == 1) => return pad(exporter, id, inputs, op),
        Op::Broadcast(op) => return broadcast(exporter, id, inputs, &op.shape),
        Op::ReduceSum(op) => return reduce(exporter, id, "ReduceSum", inputs, &op.axes, op.keep),
        Op::ReduceExtremum(op) => {
            let operator = if op.least { "ReduceMin" } else { "ReduceMax" };
            return reduce(exporter, id, operator, inputs, &op.axes, op.keep);
        }
        Op::ReduceMean(op) => return reduce(exporter, id, "ReduceMean", inputs, &op.axes, op.keep),
        _ => {
            return Err("it has no form in ONNX; export the forward graph, before loss and gradients are added".into());
        }
    }
    Ok(())
}

/// The sizes of a tensor's spatial dimensions.
fn spatial(graph: &Graph, id: NodeId) -> Vec<usize> {
    graph.ty(id).shape.0[2..].iter().map(|d| d.factor()).collect()
}

/// The operator of ONNX, with its attributes, that takes the same operands and does the same, if there is one.
fn one_to_one(op: &Op) -> Option<(&'static str, Vec<AttributeProto>)> {
    Some(match op {
        Op::LayerNormalization(op) => {
            ("LayerNormalization", vec![int("axis", op.axis as i64), float("epsilon", op.epsilon.0)])
        }
        Op::Relu(_) => ("Relu", vec![]),
        Op::LeakyRelu(op) => ("LeakyRelu", vec![float("alpha", op.alpha.0)]),
        Op::Gelu(op) => ("Gelu", vec![text("approximate", if op.tanh { "tanh" } else { "none" })]),
        Op::Prelu(_) => ("PRelu", vec![]),
        Op::Extremum(op) => (if op.least { "Min" } else { "Max" }, vec![]),
        Op::Pow(_) => ("Pow", vec![]),
        Op::Sigmoid(_) => ("Sigmoid", vec![]),
        Op::Tanh(_) => ("Tanh", vec![]),
        Op::Exp(_) => ("Exp", vec![]),
        Op::Log(_) => ("Log", vec![]),
        Op::Sqrt(_) => ("Sqrt", vec![]),
        Op::Add(_) => ("Add", vec![]),
        Op::Sub(_) => ("Sub", vec![]),
        Op::Mul(_) => ("Mul", vec![]),
        Op::Div(_) => ("Div", vec![]),
        Op::Sum(_) => ("Sum", vec![]),
        Op::Transpose(op) => ("Transpose", vec![list("perm", op.perm.iter().copied())]),
        Op::Concat(op) => ("Concat", vec![int("axis", op.axis as i64)]),
        Op::Softmax(_) => ("Softmax", vec![int("axis", -1)]),
        Op::LogSoftmax(_) => ("LogSoftmax", vec![int("axis", -1)]),
        Op::Cast(_) => ("Identity", vec![]),
        Op::Convert(op) => ("Cast", vec![int("to", i64::from(element_type(op.to).value()))]),
        Op::Compare(op) if op.less => (if op.equal { "LessOrEqual" } else { "Less" }, vec![]),
        Op::Compare(_) => ("Equal", vec![]),
        Op::Logical(op) => match op.function {
            LogicalFunction::And => ("And", vec![]),
            LogicalFunction::Or => ("Or", vec![]),
            LogicalFunction::Xor => ("Xor", vec![]),
            LogicalFunction::Not => ("Not", vec![]),
        },
        Op::Where(_) => ("Where", vec![]),
        Op::Gather(op) => ("Gather", vec![int("axis", op.axis as i64)]),
        Op::ArgMax(op) => ("ArgMax", vec![int("axis", -1), flag("select_last_index", op.last)]),
        _ => return None,
    })
}

fn source(exporter: &mut Exporter, id: NodeId) -> Result<(), String> {
    let graph = &exporter.model.graph;
    let shape: Vec<usize> = graph.ty(id).shape.0.iter().map(|d| d.factor()).collect();
    let name = exporter.name(id);
    let elements: usize = shape.iter().product();
    let zeros = vec![0.0; if matches!(graph.op(id), Op::State(_)) { elements } else { 0 }];
    let values = exporter.model.values.get(&name).unwrap_or(&zeros);
    if values.len() != elements {
        return Err(format!("its value has {} elements, its shape needs {elements}", values.len()));
    }
    let mut value = typed(graph.ty(id).dtype, &shape, values);
    if matches!(graph.op(id), Op::Constant(_)) {
        // An initializer would come back as a parameter.
        exporter.node(id, "Constant", vec![]).attribute = vec![tensor("value", value)];
    } else {
        value.name = name;
        exporter.proto.initializer.push(value);
    }
    Ok(())
}

fn unary(exporter: &mut Exporter, id: NodeId, inputs: Vec<String>, op: &ops::Unary) -> Result<(), String> {
    let alpha = || vec![float("alpha", op.alpha.0)];
    let (operator, attributes) = match op.function {
        UnaryFunction::Abs => ("Abs", vec![]),
        UnaryFunction::Sign => ("Sign", vec![]),
        UnaryFunction::Sin => ("Sin", vec![]),
        UnaryFunction::Cos => ("Cos", vec![]),
        UnaryFunction::Erf => ("Erf", vec![]),
        UnaryFunction::Softplus => ("Softplus", vec![]),
        UnaryFunction::Softsign => ("Softsign", vec![]),
        UnaryFunction::Elu if op.gamma == Real(1.0) => ("Elu", alpha()),
        UnaryFunction::Elu => ("Selu", vec![float("alpha", op.alpha.0), float("gamma", op.gamma.0)]),
        UnaryFunction::Celu => ("Celu", alpha()),
        UnaryFunction::Mish => ("Mish", vec![]),
        UnaryFunction::Swish => return swish(exporter, id, &inputs[0], op.alpha.0),
        UnaryFunction::ThresholdedRelu => ("ThresholdedRelu", alpha()),
        UnaryFunction::Floor => ("Floor", vec![]),
        UnaryFunction::Ceil => ("Ceil", vec![]),
        UnaryFunction::Round => ("Round", vec![]),
        UnaryFunction::Power => {
            return with_argument(exporter, id, "Pow", inputs, "exponent", floats(&[], &[op.alpha.0 as f32]));
        }
    };
    exporter.node(id, operator, inputs).attribute = attributes;
    Ok(())
}

/// `x * sigmoid(alpha x)`: few readers know Swish, which came with operator set 24.
fn swish(exporter: &mut Exporter, id: NodeId, x: &str, alpha: f64) -> Result<(), String> {
    let output = exporter.name(id);
    let mut scaled = x.to_string();
    if alpha != 1.0 {
        let by = exporter.argument(id, "alpha", floats(&[], &[alpha as f32]));
        scaled = exporter.fresh(&format!("{output}.scaled"));
        exporter.message(scaled.clone(), "Mul", vec![x.to_string(), by], scaled.clone());
    }
    let gate = exporter.fresh(&format!("{output}.gate"));
    exporter.message(gate.clone(), "Sigmoid", vec![scaled], gate.clone());
    exporter.node(id, "Mul", vec![x.to_string(), gate]);
    Ok(())
}

/// Products of several matrices; the bias is added.
fn matmul(exporter: &mut Exporter, id: NodeId, mut inputs: Vec<String>, op: &ops::Matmul) {
    let (output, rank) = (exporter.name(id), exporter.model.graph.ty(id).shape.rank());
    let sides = [(op.trans_a, "left"), (op.trans_b, "right")];
    for (position, (_, side)) in sides.into_iter().enumerate().filter(|(_, (transposed, _))| *transposed) {
        let name = exporter.fresh(&format!("{output}.{side}"));
        let perm = (0..rank - 2).chain([rank - 1, rank - 2]);
        let node = exporter.message(name.clone(), "Transpose", vec![inputs[position].clone()], name.clone());
        node.attribute = vec![list("perm", perm)];
        inputs[position] = name;
    }
    let bias = (inputs.len() > 2).then(|| inputs.remove(2));
    let Some(bias) = bias else {
        exporter.node(id, "MatMul", inputs);
        return;
    };
    let product = exporter.fresh(&format!("{output}.product"));
    exporter.message(product.clone(), "MatMul", inputs, product.clone());
    exporter.node(id, "Add", vec![product, bias]);
}

fn clip(exporter: &mut Exporter, id: NodeId, input: &str, op: &ops::Clip) -> Result<(), String> {
    let mut bound = |what: &str, x: f64| match x.is_finite() {
        true => exporter.argument(id, what, floats(&[], &[x as f32])),
        false => String::new(),
    };
    let (min, max) = (bound("min", op.min.0), bound("max", op.max.0));
    exporter.node(id, "Clip", vec![input.to_string(), min, max]);
    Ok(())
}

fn slice(exporter: &mut Exporter, id: NodeId, mut inputs: Vec<String>, op: &ops::Slice) -> Result<(), String> {
    let end = |axis: usize| match op.shape.0[axis].as_fixed() {
        Some(taken) => {
            let end = op.begin[axis] as i64 + taken as i64 * op.step[axis];
            if end < 0 { i64::MIN } else { end }
        }
        None => i64::MAX,
    };
    let ends: Vec<i64> = (0..op.begin.len()).map(end).collect();
    let begin: Vec<i64> = op.begin.iter().map(|&b| b as i64).collect();
    let axes: Vec<i64> = (0..op.begin.len() as i64).collect();
    for (what, values) in [("starts", begin), ("ends", ends), ("axes", axes), ("steps", op.step.clone())] {
        inputs.push(exporter.argument(id, what, ints(&values)));
    }
    exporter.node(id, "Slice", inputs);
    Ok(())
}

/// A slice's gradient of step 1, as zeros around it.
fn pad(exporter: &mut Exporter, id: NodeId, inputs: Vec<String>, op: &ops::SliceScatter) -> Result<(), String> {
    let graph = &exporter.model.graph;
    let from = &graph.ty(graph.operand(id, 0).map_err(|e| e.to_string())?).shape;
    let after = |axis: usize| match op.shape.0[axis].as_fixed() {
        Some(size) => size - op.begin[axis] - from.0[axis].factor(),
        None => 0,
    };
    let pads = op.begin.iter().copied().chain((0..op.begin.len()).map(after));
    let pads: Vec<i64> = pads.map(|p| p as i64).collect();
    with_argument(exporter, id, "Pad", inputs, "pads", ints(&pads))
}

fn window(window: &Window) -> Vec<AttributeProto> {
    let pads = window.pads_begin.into_iter().chain(window.pads_end);
    vec![
        list("kernel_shape", window.kernel),
        list("strides", window.strides),
        list("pads", pads),
        list("dilations", window.dilations),
    ]
}

fn with_argument(
    exporter: &mut Exporter,
    id: NodeId,
    operator: &str,
    mut inputs: Vec<String>,
    what: &str,
    value: onnx_protobuf::TensorProto,
) -> Result<(), String> {
    inputs.push(exporter.argument(id, what, value));
    exporter.node(id, operator, inputs);
    Ok(())
}

fn reduce(
    exporter: &mut Exporter,
    id: NodeId,
    operator: &str,
    mut inputs: Vec<String>,
    axes: &[usize],
    keep: bool,
) -> Result<(), String> {
    let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
    inputs.push(exporter.argument(id, "axes", ints(&axes)));
    // Without axes nothing is reduced, which ONNX has to be told.
    exporter.node(id, operator, inputs).attribute = vec![flag("keepdims", keep), flag("noop_with_empty_axes", true)];
    Ok(())
}

/// A Reshape's target: 0 where the batch stays in front, -1 for it elsewhere.
fn reshape_target(from: &Shape, to: &Shape) -> Vec<i64> {
    let size = |(axis, dim): (usize, &Dim)| match dim.as_fixed() {
        Some(size) => size as i64,
        None if axis == 0 && from.get(0) == Some(*dim) => 0,
        None => -1,
    };
    to.0.iter().enumerate().map(size).collect()
}

fn batch_normalize(exporter: &mut Exporter, id: NodeId, inputs: &[String]) -> Result<(), String> {
    let graph = &exporter.model.graph;
    let [(mean, momentum), (variance, _)] =
        running_statistics(graph, id).ok_or("no running statistics are updated from its mean and variance")?;
    let Op::BatchNormalize(op) = graph.op(id) else { return Err("it is not a batch normalisation".into()) };
    let names =
        vec![inputs[0].clone(), inputs[3].clone(), inputs[4].clone(), exporter.name(mean), exporter.name(variance)];
    let kept = 1.0 - momentum.unwrap_or(0.1);
    let attributes = vec![float("epsilon", op.epsilon.0), float("momentum", kept), int("training_mode", 0)];
    exporter.node(id, "BatchNormalization", names).attribute = attributes;
    Ok(())
}

fn broadcast(exporter: &mut Exporter, id: NodeId, mut inputs: Vec<String>, shape: &Shape) -> Result<(), String> {
    let graph = &exporter.model.graph;
    let from = &graph.ty(graph.operand(id, 0).map_err(|e| e.to_string())?).shape;
    let own = |axis: usize| (axis + from.rank()).checked_sub(shape.rank()).and_then(|i| from.get(i));
    let new_batch = (0..shape.rank()).find(|&a| shape.0[a].is_batch() && own(a) != Some(shape.0[a]));
    let sizes: Vec<i64> = shape.0.iter().map(|d| d.as_fixed().map_or(1, |size| size as i64)).collect();
    let Some(axis) = new_batch else {
        return with_argument(exporter, id, "Expand", inputs, "shape", ints(&sizes));
    };
    // The batch size is known only from the network's input.
    let has_batch = |i: NodeId| Some((i, graph.ty(i).shape.0.iter().position(|dim| *dim == shape.0[axis])?));
    let mut inputs_of_net = graph.ids().filter(|&i| matches!(graph.op(i), Op::Input(_)));
    let (input, at) = inputs_of_net.find_map(has_batch).ok_or("no input has its batch size")?;
    let (input, output) = (exporter.name(input), exporter.name(id));
    let mut parts = Vec::new();
    for (what, sizes) in [("before", &sizes[..axis]), ("after", &sizes[axis + 1..])] {
        if what == "after" {
            let batch = exporter.fresh(&format!("{output}.batch"));
            let node = exporter.message(batch.clone(), "Shape", vec![input.clone()], batch.clone());
            node.attribute = vec![int("start", at as i64), int("end", at as i64 + 1)];
            parts.push(batch);
        }
        if !sizes.is_empty() {
            parts.push(exporter.argument(id, what, ints(sizes)));
        }
    }
    let joined = exporter.fresh(&format!("{output}.shape"));
    exporter.message(joined.clone(), "Concat", parts, joined.clone()).attribute = vec![int("axis", 0)];
    inputs.push(joined);
    exporter.node(id, "Expand", inputs);
    Ok(())
}
