//! LSTM, GRU and RNN.

use super::row::Row;
use crate::file::constant::{Constant, Elements};
use crate::importer::{Importer, Node, Value, decimal, is_uniform};
use bitbudget_ir::{
    Activation, ActivationFunction, Activations, Cell, DType, Dim, Direction, NodeId, Op, Real, Shape, ops,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "LSTM",
        versions: &[1, 7, 14, 22],
        attributes: &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "input_forget",
            "layout",
            "output_sequence",
        ],
        forms: "`recurrent`, which keeps the hidden and the cell states of all steps and computes the gates again in its gradient; all \
            directions, activations and layouts, lengths, peepholes, all three outputs; a known number of steps; initial states of zeros \
            take no memory",
        build: Some(|importer, node| layer(importer, node, Cell::Lstm)),
        fold: None,
    },
    Row {
        name: "GRU",
        versions: &[1, 3, 7, 14, 22],
        attributes: &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "layout",
            "linear_before_reset",
            "output_sequence",
        ],
        forms: "`recurrent`, as LSTM; it keeps the hidden states, and those times the reset gate where `linear_before_reset` is 0",
        build: Some(|importer, node| layer(importer, node, Cell::Gru)),
        fold: None,
    },
    Row {
        name: "RNN",
        versions: &[1, 7, 14, 22],
        attributes: &[
            "activation_alpha",
            "activation_beta",
            "activations",
            "clip",
            "direction",
            "hidden_size",
            "layout",
            "output_sequence",
        ],
        forms: "`recurrent`, as LSTM; it keeps the hidden states",
        build: Some(|importer, node| layer(importer, node, Cell::Rnn)),
        fold: None,
    },
];

/// The parameters that a function has where none are given. The standard and ONNX Runtime disagree about two functions.
fn standard(function: ActivationFunction) -> Result<[f64; 2], String> {
    Ok(match function {
        ActivationFunction::Affine | ActivationFunction::ScaledTanh => {
            let name = function.name();
            return Err(format!("activation {name} needs a number of activation_alpha and one of activation_beta"));
        }
        ActivationFunction::LeakyRelu => [0.01, 0.0],
        ActivationFunction::ThresholdedRelu | ActivationFunction::Elu => [1.0, 0.0],
        ActivationFunction::HardSigmoid => [0.2, 0.5],
        ActivationFunction::Sigmoid
        | ActivationFunction::Tanh
        | ActivationFunction::Relu
        | ActivationFunction::Softsign
        | ActivationFunction::Softplus => [0.0, 0.0],
    })
}

/// The activations: functions take alphas and betas in the order in which they stand.
fn activations(node: &Node, cell: Cell, direction: Direction) -> Result<Activations, String> {
    let needed = cell.standard_activations().len() * direction.is_reversed().len();
    let functions = match node.texts("activations")? {
        Some(names) => names.iter().map(|name| function(name)).collect::<Result<Vec<_>, String>>()?,
        None => Activations::standard(cell, direction).0.iter().map(|activation| activation.function).collect(),
    };
    if functions.len() != needed {
        return Err(format!("it has {} activations where {needed} are needed", functions.len()));
    }
    let mut given = [node.floats("activation_alpha")?, node.floats("activation_beta")?]
        .map(|numbers| numbers.unwrap_or_default().iter().copied());
    let one = |function: ActivationFunction| {
        let mut next = |which: usize| match (which < function.parameters()).then(|| given[which].next()) {
            None => Ok::<Real, String>(Real(0.0)),
            Some(Some(number)) => Ok(Real(decimal(number))),
            Some(None) => Ok(Real(standard(function)?[which])),
        };
        Ok(Activation { function, alpha: next(0)?, beta: next(1)? })
    };
    functions.into_iter().map(one).collect::<Result<_, String>>().map(Activations)
}

fn function(name: &str) -> Result<ActivationFunction, String> {
    let found = ActivationFunction::ALL.into_iter().find(|function| function.name().eq_ignore_ascii_case(name));
    let known = || ActivationFunction::ALL.map(ActivationFunction::name).join(", ");
    found.ok_or_else(|| format!("activation `{name}` is not known; known are {}", known()))
}

/// The number that all elements of a computed tensor are, if it is known.
fn number(importer: &Importer, id: NodeId) -> Option<f32> {
    let graph = &importer.graph;
    match graph.op(id) {
        Op::Constant(op) => {
            let values = importer.values.get(&op.name)?;
            values.first().copied().filter(|first| values.iter().all(|x| x == first))
        }
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Convert(_) | Op::Gather(_) => {
            number(importer, *graph.operands(id).first()?)
        }
        Op::Concat(_) => {
            let (first, rest) = graph.operands(id).split_first()?;
            let first = number(importer, *first)?;
            rest.iter().all(|&part| number(importer, part) == Some(first)).then_some(first)
        }
        _ => None,
    }
}

/// Whether an input is given, and is not zeros: exporters write initial states of zeros, which are not to be trained.
fn is_given(importer: &Importer, node: &Node, position: usize) -> bool {
    let is_zero = |constant: &Constant| {
        is_uniform(constant) && matches!(&constant.elements, Elements::Floats(x) if x.first() == Some(&0.0))
    };
    match node.input(position).map(|operand| &operand.value) {
        None => false,
        Some(Value::Constant(constant)) => !is_zero(constant),
        Some(Value::Initializer(i)) => !is_zero(&importer.initializers[*i].constant),
        Some(Value::Tensor(id)) => number(importer, *id) != Some(0.0),
        Some(_) => true,
    }
}

/// The examples' lengths, unless all of them are the number of steps.
fn lengths(importer: &mut Importer, node: &Node, steps: usize) -> Result<Option<NodeId>, String> {
    let Some(operand) = node.input(4) else { return Ok(None) };
    let is_whole = match &operand.value {
        Value::Tensor(id) => number(importer, *id) == Some(steps as f32),
        _ => importer.constant(operand)?.as_fixed()?.iter().all(|&length| length == steps as i64),
    };
    if is_whole { Ok(None) } else { importer.whole(node, 4).map(Some) }
}

fn layer(importer: &mut Importer, node: &Node, cell: Cell) -> Result<Vec<Value>, String> {
    let direction = node.text("direction")?.unwrap_or_else(|| "forward".into());
    let direction = Direction::ALL
        .into_iter()
        .find(|known| known.name() == direction)
        .ok_or_else(|| format!("direction is `{direction}`; known are forward, reverse and bidirectional"))?;
    let batch_first = match node.int("layout")?.unwrap_or(0) {
        0 => false,
        1 => true,
        other => return Err(format!("layout is {other}; known are 0 and 1")),
    };
    let clip = node.float("clip")?.unwrap_or(0.0);
    if clip < 0.0 {
        return Err(format!("clip is {clip}; it must not be negative"));
    }
    let mut x = importer.tensor(node, 0)?;
    if importer.shape(x).rank() != 3 {
        return Err(format!("its input must have three dimensions, but is {}", importer.shape(x)));
    }
    if batch_first {
        x = importer.inner(node, "steps", ops::Transpose { perm: vec![1, 0, 2] }, &[x])?;
    }
    let (w, r) = (importer.tensor(node, 1)?, importer.tensor(node, 2)?);
    let (x_shape, r_shape) = (importer.shape(x), importer.shape(r));
    let Some(steps) = x_shape.0[0].as_fixed() else {
        return Err(format!(
            "its steps are the batch: its input is {x_shape}, and steps come first{}",
            if batch_first { " behind the examples (layout 1)" } else { "; transpose it, or export with layout 1" }
        ));
    };
    let hidden = r_shape.0.last().and_then(|dim| dim.as_fixed()).ok_or("R must have a fixed shape")?;
    if node.int("hidden_size")?.is_some_and(|given| given != hidden as i64) {
        return Err(format!("hidden_size is {}, but R is {r_shape}", node.int("hidden_size")?.unwrap_or(0)));
    }
    let mut operands = vec![x, w, r];
    let bias = node.input(3).is_some();
    if bias {
        operands.push(importer.tensor(node, 3)?);
    }
    let lengths = lengths(importer, node, steps)?;
    operands.extend(lengths);
    let state = [Dim::fixed(direction.is_reversed().len()), x_shape.0[1], Dim::fixed(hidden)];
    let positions: &[usize] = if cell == Cell::Lstm { &[5, 6] } else { &[5] };
    let initial = positions.iter().any(|&position| is_given(importer, node, position));
    positions.iter().try_for_each(|&position| check_hidden(importer, node, position, hidden))?;
    for &position in positions.iter().filter(|_| initial) {
        operands.push(initial_state(importer, node, position, Shape(state.to_vec()), batch_first)?);
    }
    let peepholes = cell == Cell::Lstm && node.input(7).is_some();
    if peepholes {
        operands.push(importer.tensor(node, 7)?);
    }
    let op = ops::Recurrent {
        cell,
        direction,
        activations: activations(node, cell, direction)?,
        clip: Real(clip),
        linear_before_reset: cell == Cell::Gru && node.flag("linear_before_reset")?,
        input_forget: cell == Cell::Lstm && node.flag("input_forget")?,
        bias,
        lengths: lengths.is_some(),
        initial,
        peepholes,
    };
    let states = importer.emit(node.name, op, &operands)?;
    outputs(importer, node, states, lengths, batch_first)
}

/// Checks the last dimension of an initial state, which zeros have too.
fn check_hidden(importer: &Importer, node: &Node, position: usize, hidden: usize) -> Result<(), String> {
    let shape = match node.input(position).map(|operand| &operand.value) {
        Some(Value::Constant(constant)) => Shape::fixed(&constant.shape),
        Some(Value::Initializer(i)) => Shape::fixed(&importer.initializers[*i].constant.shape),
        Some(Value::Tensor(id)) => importer.shape(*id),
        _ => return Ok(()),
    };
    match shape.0.last() {
        Some(&last) if last == Dim::fixed(hidden) => Ok(()),
        _ => Err(format!("an initial state is {shape}, but R is for states of {hidden} elements")),
    }
}

/// An initial state `[D, N, H]`; zeros where it is not given.
fn initial_state(
    importer: &mut Importer,
    node: &Node,
    position: usize,
    shape: Shape,
    batch_first: bool,
) -> Result<NodeId, String> {
    if !is_given(importer, node, position) {
        let name = importer.own_name("zero");
        let zero = Constant { shape: Vec::new(), elements: Elements::Floats(vec![0.0]) };
        let zero = importer.constant_source(&name, &zero)?;
        return importer.inner(node, "zeros", ops::Broadcast { shape }, &[zero]);
    }
    let state = importer.tensor(node, position)?;
    match batch_first {
        true => importer.inner(node, "initial", ops::Transpose { perm: vec![1, 0, 2] }, &[state]),
        false => Ok(state),
    }
}

/// Y, Y_h and Y_c from the states `[S, T, D, N, H]`, as far as something reads them.
fn outputs(
    importer: &mut Importer,
    node: &Node,
    states: NodeId,
    lengths: Option<NodeId>,
    batch_first: bool,
) -> Result<Vec<Value>, String> {
    let is_read = |position: usize| node.read.get(position).copied().unwrap_or(false);
    let mut values = vec![Value::Failed; node.proto.output.len()];
    for kind in (0..2).filter(|kind| is_read(kind + 1)) {
        values[kind + 1] = Value::Tensor(last_states(importer, node, states, kind)?);
    }
    if is_read(0) || !node.read.contains(&true) {
        let mut y = all_states(importer, node, states)?;
        if let Some(lengths) = lengths {
            y = without_padding(importer, node, y, lengths)?;
        }
        if let Some(value) = values.first_mut() {
            *value = Value::Tensor(y);
        }
    }
    for position in [1, 2, 0].into_iter().filter(|_| batch_first) {
        let Some(&Value::Tensor(y)) = values.get(position) else { continue };
        let perm = if position == 0 { vec![2, 0, 1, 3] } else { vec![1, 0, 2] };
        values[position] = Value::Tensor(importer.emit(node.name, ops::Transpose { perm }, &[y])?);
    }
    Ok(values)
}

fn slice(
    importer: &mut Importer,
    node: &Node,
    states: NodeId,
    begin: [usize; 3],
    count: [usize; 3],
) -> Result<NodeId, String> {
    let mut shape = importer.shape(states);
    shape.0.iter_mut().zip(count).for_each(|(dim, count)| *dim = Dim::fixed(count));
    let begin = [begin.as_slice(), &[0, 0]].concat();
    importer.emit(node.name, ops::Slice { begin, step: vec![1; 5], shape }, &[states])
}

/// The hidden states `[T, D, N, H]`.
fn all_states(importer: &mut Importer, node: &Node, states: NodeId) -> Result<NodeId, String> {
    let shape = importer.shape(states);
    let [kinds, steps, directions] = [0, 1, 2].map(|axis| shape.0[axis].factor());
    let hidden = if kinds == 1 { states } else { slice(importer, node, states, [0; 3], [1, steps, directions])? };
    importer.reshape(node.name, hidden, Shape(shape.0[1..].to_vec()))
}

/// The states of a kind after the last step of each direction, `[D, N, H]`. Those of examples that end earlier stayed.
fn last_states(importer: &mut Importer, node: &Node, states: NodeId, kind: usize) -> Result<NodeId, String> {
    let Op::Recurrent(op) = importer.graph.op(states).clone() else { return Err("it is not a recurrent layer".into()) };
    let shape = importer.shape(states);
    let steps = shape.0[1].factor();
    let one = Shape(vec![Dim::fixed(1), shape.0[3], shape.0[4]]);
    let mut parts = Vec::new();
    for (direction, &is_reversed) in op.direction.is_reversed().iter().enumerate() {
        let last = if is_reversed { 0 } else { steps - 1 };
        let part = slice(importer, node, states, [kind, last, direction], [1; 3])?;
        parts.push(importer.reshape(node.name, part, one.clone())?);
    }
    match parts.as_slice() {
        [only] => Ok(*only),
        several => importer.emit(node.name, ops::Concat { axis: 0 }, several),
    }
}

/// Zeros past the length of each example.
fn without_padding(importer: &mut Importer, node: &Node, y: NodeId, lengths: NodeId) -> Result<NodeId, String> {
    let shape = importer.shape(y);
    let (one, steps, batch) = (Dim::fixed(1), shape.0[0], shape.0[2]);
    let name = importer.own_name("step");
    let numbers = Elements::Floats((0..steps.factor()).map(|step| step as f32).collect());
    let step =
        importer.constant_source(&name, &Constant { shape: vec![steps.factor(), 1, 1, 1], elements: numbers })?;
    let lengths = importer.converted(lengths, DType::F32)?;
    let lengths =
        importer.inner(node, "lengths", ops::Reshape { shape: Shape(vec![one, one, batch, one]) }, &[lengths])?;
    let each = Shape(vec![steps, one, batch, one]);
    let [step, lengths] = [
        importer.inner(node, "steps", ops::Broadcast { shape: each.clone() }, &[step])?,
        importer.inner(node, "lengths", ops::Broadcast { shape: each }, &[lengths])?,
    ];
    let is_there = importer.inner(node, "there", ops::Compare { less: true, equal: false }, &[step, lengths])?;
    let is_there = importer.inner(node, "there", ops::Broadcast { shape }, &[is_there])?;
    let name = importer.own_name("zero");
    let zero =
        importer.constant_source(&name, &Constant { shape: Vec::new(), elements: Elements::Floats(vec![0.0]) })?;
    importer.emit(node.name, ops::Where {}, &[is_there, y, zero])
}
