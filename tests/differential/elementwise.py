"""Forms of activations and arithmetic, broadcast in every way."""

import numpy as np
from onnx import TensorProto

import known
from forms import form


def optional(net, **choices):
    """Each attribute with one of its values, or left out."""
    return {name: net.pick(values) for name, values in choices.items() if net.chance(0.6)}


@form(weight=4)
def activation(net, x):
    op = net.pick(["Relu", "Relu", "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "Identity", "Neg", "HardSwish", "Gelu"])
    if (op == "HardSwish" and net.opset < 14) or (op == "Gelu" and net.opset < 20):
        op = "Relu"
    attributes = {}
    if op == "LeakyRelu":
        attributes = optional(net, alpha=[0.1, 0.3, 0.01])
    if op == "Gelu":
        attributes = optional(net, approximate=["none", "tanh"])
    if op == "HardSigmoid":
        attributes = optional(net, alpha=[0.1, 0.5], beta=[0.3, 0.5])
    return net.emit(op, [x], **attributes)


# The operator set that introduced a function, and its attributes.
FUNCTIONS = {
    "Abs": (7, {}), "Sign": (9, {}), "Sin": (7, {}), "Cos": (7, {}), "Erf": (9, {}), "Softplus": (7, {}), "Softsign": (7, {}),
    "Elu": (7, {"alpha": [0.5, 1.5]}), "Selu": (7, {"alpha": [1.2], "gamma": [0.9, 1.1]}), "Celu": (12, {"alpha": [0.7, 2.0]}),
    "Mish": (18, {}), "Swish": (24, {"alpha": [0.5, 1.5]}), "ThresholdedRelu": (10, {"alpha": [0.1, 0.5]}),
}


@form(weight=3)
def function(net, x):
    op = net.pick([name for name, (since, _) in FUNCTIONS.items() if net.opset >= since])
    y = net.emit(op, [x], **optional(net, **FUNCTIONS[op][1]))
    # A network of steps has no gradient.
    return net.emit("Add", [x, net.emit("Mul", [y, x])]) if op == "Sign" else y


@form(weight=1)
def parametric(net, x):
    """A rectifier with a slope of one element, per channel, or of a part of the shape."""
    shape = net.shape(x)
    way = net.integer(0, 3)
    behind = [1] * (len(shape) - 2)
    dims = [[1], [shape[1], *behind], [1] * (len(shape) - 1), shape[1:]][way]
    return net.emit("PRelu", [x, net.parameter(dims, 0.2, 0.2)])


@form(weight=1, since=8)
def compared(net, x):
    """Min and Max of tensors, and perhaps a number."""
    terms = [x] + [other(net, x) for _ in range(net.integer(1, 2))]
    return net.emit(net.pick(["Min", "Max"]), [terms[i] for i in net.random.permutation(len(terms))])


@form(weight=2)
def clip(net, x):
    """Relu6 and other bounds: attributes before operator set 11, inputs since."""
    low, high = net.pick([(0.0, 6.0), (0.0, 1.0), (-0.5, 0.5), (None, 1.0), (-1.0, None), (None, None), (0.0, None)])
    if net.opset < 11:
        largest = float(np.finfo(np.float32).max)
        if net.chance(0.2):
            low, high = -largest if low is None else low, largest if high is None else high
        bounds = {"min": low, "max": high}
        return net.emit("Clip", [x], **{name: bound for name, bound in bounds.items() if bound is not None})
    names = ["" if bound is None else net.number(bound, 0) for bound in (low, high)]
    while names and names[-1] == "":
        names.pop()
    return net.emit("Clip", [x, *names])


@form(weight=1, since=8)
def bound(net, x):
    """Min and Max of a tensor and a number."""
    number = net.number(net.pick([0.0, 0.5, -0.5]))
    return net.emit(net.pick(["Min", "Max"]), [x, number] if net.chance(0.5) else [number, x])


def positive(net, x):
    """A tensor of the shape of `x` well above zero."""
    way = net.integer(0, 2)
    if way == 0:
        return net.emit("Add", [net.emit("Mul", [x, x]), net.number(0.5)])
    if way == 1:
        return net.emit("Add", [net.number(0.3, 0), net.emit("Sigmoid", [x])])
    return net.emit("Exp", [net.emit("Tanh", [x])])


@form(weight=1)
def exponential(net, x):
    return net.emit("Exp", [net.emit("Mul", [net.emit("Tanh", [x]), net.number(0.7)])])


@form(weight=1)
def logarithm(net, x):
    return net.emit(net.pick(["Log", "Sqrt", "Reciprocal"]), [positive(net, x)])


@form(weight=1)
def power(net, x):
    exponent = net.pick([1.0, 2.0, 2.0, 0.5, -0.75, 3.0, 1.5])
    x = x if exponent in (1.0, 2.0, 3.0) else positive(net, x)
    whole = net.opset >= 12 and exponent in (1.0, 2.0, 3.0) and net.chance(0.3)
    return net.emit("Pow", [x, net.constant(np.int64(exponent)) if whole else net.number(exponent)])


@form(weight=0.7)
def powers(net, x):
    """Trained exponents, one or several."""
    x = positive(net, x)
    dims = [1] if net.chance(0.5) else net.shape(x)[1:]
    return net.emit("Pow", [x, net.parameter(dims, 0.3, 1.2)])


@form(weight=1)
def softmax(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    default = net.opset >= 13 or axis == 1
    attributes = {} if default and net.chance(0.3) else {"axis": axis}
    if net.opset >= 11 and "axis" in attributes and net.chance(0.3):
        attributes["axis"] = axis - net.rank(x)
    return net.emit(net.pick(["Softmax", "LogSoftmax"]), [x], **attributes)


@form(weight=0.7)
def dropout(net, x):
    if net.opset < 12:
        return net.emit("Dropout", [x], **optional(net, ratio=[0.0, 0.5]))
    inputs = [x]
    if net.chance(0.6):
        inputs.append(net.number(net.pick([0.0, 0.3]), 0))
        if net.chance(0.4):
            inputs.append(net.constant(np.bool_(False)))
    return net.emit("Dropout", inputs, **optional(net, seed=[3]))


@form(weight=0.7)
def cast(net, x):
    """Casts between floating-point types, which change nothing, and a cast to the type of another tensor."""
    if net.opset >= 15 and net.chance(0.5):
        return net.emit("CastLike", [x, net.pick(net.tensors)])
    if net.chance(0.5):
        return known.cast(net, x, TensorProto.FLOAT)
    return known.cast(net, known.cast(net, x, TensorProto.DOUBLE), TensorProto.FLOAT)


def other(net, x):
    """An operand that broadcasts against `x`: a number, a parameter or constant of part of its shape, another tensor."""
    shape = net.shape(x)
    way = net.integer(0, 7)
    if way == 0:
        return net.number(net.pick([0.5, 2.0, -1.5, 3.0]))
    if way <= 3:
        dims = [1 if net.chance(0.4) else d for d in shape[1:]]
        if net.chance(0.3):
            dims = dims[net.integer(0, len(dims) - 1):]
        elif net.chance(0.3):
            dims = [1, *dims]
        if way == 1:
            return net.constant(net.normal(dims, 0.7, 0.3))
        return net.parameter(dims, 0.5, 0.5)
    fits = lambda t: t != x and net.rank(t) <= len(shape) and all(
        a == b or 1 in (a, b) for a, b in zip(net.shape(t)[::-1], shape[::-1])) and net.shape(t)[0] == shape[0] and (
        net.rank(t) == len(shape))
    found = [t for t in net.tensors if fits(t)]
    return net.pick(found) if found else x


@form(weight=4)
def arithmetic(net, x):
    op = net.pick(["Add", "Add", "Sub", "Mul", "Div"])
    y = other(net, x)
    if op == "Div":
        if net.chance(0.3):
            return net.emit("Div", [x, net.number(net.pick([2.0, 3.0, -1.5]))])
        y = positive(net, y) if net.values[y].dim() > 0 else y
        return net.emit("Div", [x, y])
    return net.emit(op, [x, y] if net.chance(0.6) else [y, x])


def scaled(net, x):
    """Scores times a number, or their temperature trained."""
    factor = net.number(net.pick([0.5, 2.0, -1.0])) if net.chance(0.5) else net.parameter([1], 0.3, 1.0)
    return net.emit(net.pick(["Mul", "Div"]), [x, factor])


@form(weight=1)
def total(net, x):
    terms = [x] + [other(net, x) for _ in range(net.integer(0, 3))]
    if net.opset < 8:
        terms = [t for t in terms if net.shape(t) == net.shape(x)]
    return net.emit("Sum", [terms[i] for i in net.random.permutation(len(terms))])


@form(weight=1)
def known_tensor(net, x):
    """A tensor made of known values at import, broadcast against `x`."""
    width = net.shape(x)[-1]
    way = net.integer(0, 3)
    if way == 0 and net.opset >= 9:
        zeros = net.emit("ConstantOfShape", [net.ints([width])])
        y = net.emit("Add", [zeros, net.number(0.4, 0)])
    elif way == 1 and net.opset >= 11:
        steps = net.emit("Range", [net.ints(0), known.whole(net, width), net.ints(1)])
        y = net.emit("Div", [known.floating(net, steps), net.number(float(width), 0)])
    elif way == 2 and net.opset >= 9:
        mask = net.emit("Less", [net.ints(list(range(width))), net.ints((width + 1) // 2)])
        y = net.emit("Where", [mask, net.number(1.0, 0), net.number(0.25, 0)])
    else:
        y = net.emit("Exp", [net.emit("Neg", [net.constant(net.normal([width], 0.5))])])
    return net.emit(net.pick(["Add", "Mul"]), [x, y])
