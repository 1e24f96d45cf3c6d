"""Forms of recurrent layers: the last dimension of a tensor is time."""

from forms import form

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
    bias, peepholes = net.chance(0.7), op == "LSTM" and net.chance(0.3)
    given += [net.parameter([directions, 2 * rows], 0.3)] if bias else [""] if peepholes else []
    given += ["", "", "", net.parameter([directions, 3 * hidden], 0.3)] if peepholes else []
    attributes = {"hidden_size": hidden, "direction": direction}
    attributes |= {"layout": 1} if layout else {}
    attributes |= {"linear_before_reset": 1} if op == "GRU" and net.chance(0.5) else {}
    attributes |= {"input_forget": 1} if op == "LSTM" and not peepholes and net.chance(0.2) else {}
    attributes |= {"clip": 3.0} if net.chance(0.1) else {}
    if net.chance(0.25):
        names = [name if net.chance(0.5) else net.pick(OTHERS) for name in STANDARD[op]]
        attributes["activations"] = names * directions
    y, last = net.emit(op, given, outputs=2, **attributes)
    if net.chance(0.4):
        return last if layout else net.emit("Transpose", [last], perm=[1, 0, 2])
    y = y if layout else net.emit("Transpose", [y], perm=[2, 0, 1, 3])
    return net.emit("Reshape", [y, net.ints([0, 0, directions * hidden])]) if net.chance(0.7) else y
