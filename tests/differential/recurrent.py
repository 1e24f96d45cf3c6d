"""Forms of recurrent layers: the last dimension of a tensor is time."""

from onnx import TensorProto

import known
from forms import form
from network import TOKENS

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STANDARD = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
OTHERS = ["Relu", "LeakyRelu", "Softsign", "Elu", "HardSigmoid", "Softplus", "ScaledTanh", "Affine"]


@form(ranks=(3,), weight=3)
def recurrent(net, x):
    op, hidden, direction = net.pick(list(GATES)), net.integer(1, 6), net.pick(["forward", "reverse", "bidirectional"])
    directions, rows = 2 if direction == "bidirectional" else 1, GATES[op] * hidden
    inputs = net.shape(x)[1]
    weight = lambda columns: net.parameter([directions, rows, columns], 0.8 / columns**0.5)
    layout = 1 if net.opset >= 14 and net.chance(0.3) else 0
    given = [net.emit("Transpose", [x], perm=[0, 2, 1] if layout else [2, 0, 1]), weight(inputs), weight(hidden)]
    given.append(net.parameter([directions, 2 * rows], 0.3) if net.chance(0.7) else "")
    # Lengths are below the number of tokens.
    has_lengths = net.has_inputs and net.shape(x)[2] >= TOKENS - 1 and net.chance(0.5)
    given.append(net.another_input("lengths", [net.batch], [TensorProto.INT32]) if has_lengths else "")
    states = 2 if op == "LSTM" else 1
    given += [first_state(net, x, directions, hidden, layout) if net.chance(0.3) else "" for _ in range(states)]
    peepholes = op == "LSTM" and net.chance(0.3)
    given += [net.parameter([directions, 3 * hidden], 0.3)] if peepholes else []
    while given[-1] == "":
        given.pop()
    attributes = {"hidden_size": hidden, "direction": direction}
    attributes |= {"layout": 1} if layout else {}
    attributes |= {"linear_before_reset": 1} if op == "GRU" and net.chance(0.5) else {}
    attributes |= {"input_forget": 1} if op == "LSTM" and not peepholes and net.chance(0.2) else {}
    attributes |= {"clip": 3.0} if net.chance(0.1) else {}
    if net.chance(0.25):
        names = [name if net.chance(0.5) else net.pick(OTHERS) for name in STANDARD[op]]
        attributes["activations"] = names * directions
    y, last, *cell = net.emit(op, given, outputs=3 if op == "LSTM" and net.chance(0.4) else 2, **attributes)
    if net.chance(0.4):
        last = cell[0] if cell and net.chance(0.5) else net.emit("Add", [last, cell[0]]) if cell else last
        return last if layout else net.emit("Transpose", [last], perm=[1, 0, 2])
    y = y if layout else net.emit("Transpose", [y], perm=[2, 0, 1, 3])
    return net.emit("Reshape", [y, net.ints([0, 0, directions * hidden])]) if net.chance(0.7) else y


def first_state(net, x, directions, hidden, layout):
    """A trained state to begin with, the same for all examples, or zeros for each."""
    sizes = [net.ints([directions]), known.unsqueeze(net, known.size_of(net, x, 0), [0]), net.ints([hidden])]
    sizes = [sizes[1], sizes[0], sizes[2]] if layout else sizes
    shape = net.emit("Concat", sizes, axis=0)
    if net.opset < 9 or net.chance(0.3):
        return net.emit("ConstantOfShape", [shape]) if net.opset >= 9 else ""
    dims = [1, directions, hidden] if layout else [directions, 1, hidden]
    return net.emit("Expand", [net.parameter(dims, 0.5), shape])
