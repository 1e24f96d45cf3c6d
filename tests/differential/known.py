"""Whole numbers and shapes that are known at import, computed in the ways that exporters compute them."""

import numpy as np
from onnx import TensorProto, helper

from network import Unfit

INT = TensorProto.INT64


def reshaped(net, x, dims):
    return net.emit("Reshape", [x, net.ints(dims)])


def unsqueeze(net, x, axes):
    if net.opset >= 13:
        return net.emit("Unsqueeze", [x, net.ints(axes)])
    return net.emit("Unsqueeze", [x], axes=axes)


def squeeze(net, x, axes):
    if net.opset >= 13:
        return net.emit("Squeeze", [x, net.ints(axes)])
    return net.emit("Squeeze", [x], axes=axes)


def cast(net, x, to):
    return net.emit("Cast", [x], to=to)


def floating(net, x):
    return cast(net, x, TensorProto.FLOAT)


def filled(net, count, value):
    """A vector of `count` equal whole numbers."""
    value = helper.make_tensor("value", INT, [1], [value])
    return net.emit("ConstantOfShape", [net.ints([count])], value=value)


def condition(net, truth):
    """A known truth value."""
    a, b = net.integer(0, 5), net.integer(6, 9)
    kind = net.pick(["Equal", "Greater", "Less", "Not"])
    if kind == "Not":
        return net.emit("Not", [net.emit("Equal", [net.ints(a), net.ints(b if truth else a)])])
    if kind == "Equal":
        return net.emit("Equal", [net.ints(a), net.ints(a if truth else b)])
    less = (kind == "Less") == truth
    pair = [net.ints(a), net.ints(b)] if less else [net.ints(b), net.ints(a)]
    if net.opset < 9:
        pair = [floating(net, number) for number in pair]
    return net.emit(kind, pair)


def parts(net, count, zeros):
    """A vector of some zeros among numbers that are not, of which there are so many."""
    return net.ints(net.random.permutation([*range(1, count + 1), *[0] * zeros]).tolist())


def ways(net, value, depth):
    """Ways to compute a positive whole number without dimensions, by the operator that computes it last."""
    inner = lambda number: whole(net, number, depth - 1)
    other, factor = net.integer(1, 4), net.pick([d for d in range(1, value + 1) if value % d == 0])
    larger = value + net.integer(1, 5)
    real = lambda shift: net.emit("Add", [floating(net, inner(value)), net.number(shift, 0)])
    found = {
        "Constant": lambda: net.ints(value),
        "Add": lambda: net.emit("Add", [inner(value + other), net.ints(-other)]),
        "Sub": lambda: net.emit("Sub", [inner(value + other), inner(other)]),
        "Mul": lambda: net.emit("Mul", [inner(factor), net.ints(value // factor)]),
        "Div": lambda: net.emit("Div", [net.ints(value * other + net.integer(0, other - 1)), inner(other)]),
        "Neg": lambda: net.emit("Neg", [net.emit("Neg", [inner(value)])]),
        "Floor": lambda: cast(net, net.emit("Floor", [real(0.25)]), INT),
        "Ceil": lambda: cast(net, net.emit("Ceil", [real(-0.25)]), INT),
        "Sqrt": lambda: cast(net, net.emit("Floor", [net.emit("Sqrt", [net.number(value**2 + 0.5, 0)])]), INT),
        "ReduceProd": lambda: net.emit("ReduceProd", [net.ints([factor, value // factor])], keepdims=0),
    }
    if net.opset >= 8:
        most = lambda op, numbers: cast(net, net.emit(op, [floating(net, net.ints(n)) for n in numbers]), INT)
        found["Min"] = lambda: most("Min", [larger, value, larger + 1])
        found["Max"] = lambda: most("Max", [value, 0])
    if net.opset >= 9:
        where = lambda truth: [condition(net, truth), *([inner(value), inner(other)][:: 1 if truth else -1])]
        found["Where"] = lambda: net.emit("Where", where(net.chance(0.5)))
        found["Size"] = lambda: net.emit("Size", [filled(net, value, 7)])
        found["NonZero"] = lambda: net.emit("Gather", [net.emit("Shape", [net.emit("NonZero", [parts(net, value, other)])]), net.ints(1)])
        found["ConstantOfShape"] = lambda: squeeze(net, filled(net, 1, value), [0])
    if net.opset >= 10:
        found["Mod"] = lambda: net.emit("Mod", [net.ints(value + larger * other), inner(larger)])
    if net.opset >= 11:
        numbers = lambda: net.emit("Range", [net.ints(value - 1), inner(value + 2), net.ints(1)])
        found["Range"] = lambda: net.emit("Gather", [numbers(), net.ints(1)])
    if net.opset >= 13:
        found["CastLike" if net.opset >= 15 else "Min"] = lambda: (
            net.emit("CastLike", [net.emit("Floor", [net.number(value + 0.5, 0)]), net.ints(1)])
            if net.opset >= 15 else net.emit("Min", [inner(value), net.ints(larger)]))
    return found


def whole(net, value, depth=2):
    """A positive whole number without dimensions."""
    if depth == 0:
        return net.ints(value)
    found = ways(net, value, depth)
    return found[net.pick(sorted(found))]()


def size_of(net, x, axis):
    """The size of a dimension of `x`, taken from its shape."""
    if net.opset >= 15 and net.chance(0.3):
        part = net.emit("Shape", [x], start=axis, end=axis + 1)
        return squeeze(net, part, [0])
    full = net.emit("Shape", [x])
    index = axis if net.chance(0.7) else axis - net.rank(x)
    if net.opset < 11:
        index = axis
    return net.emit("Gather", [full, net.ints(index)], axis=0)


def target(net, x, dims):
    """A shape to reshape `x` to, whose batch is first among `dims`, in one of many ways."""
    dims, source = list(dims), net.shape(x)
    way = net.integer(0, 5)
    if way == 0 and source[0] == dims[0]:
        # 0 stands for the dimension of the input, -1 for what is left.
        open_at = net.integer(1, len(dims) - 1) if len(dims) > 1 else 0
        kept = [0 if at == 0 or (at < len(source) and d == source[at] and net.chance(0.5)) else d for at, d in enumerate(dims)]
        if len(dims) > 1 and net.chance(0.7):
            kept[open_at] = -1
        return net.ints(kept)
    if way == 1:
        return net.ints([-1, *dims[1:]])
    if way == 2 and net.fixed_batch:
        return net.ints(dims)
    sizes = []
    for at, d in enumerate(dims):
        if at == 0:
            size = size_of(net, x, 0)
            if d != source[0]:
                if d % source[0]:
                    return net.ints([-1, *dims[1:]])
                size = net.emit("Mul", [size, net.ints(d // source[0])])
        elif at < len(source) and source[at] == d and net.chance(0.5):
            size = size_of(net, x, at)
        else:
            size = whole(net, d, net.integer(0, 2))
        sizes.append(unsqueeze(net, size, [0]))
    if len(sizes) == 1:
        return sizes[0]
    return net.emit("Concat", sizes, axis=0)


def reshape(net, x, dims):
    """`x` with the shape `dims`, whose first dimension holds the batch."""
    if any(d < 1 for d in dims) or np.prod(dims) != np.prod(net.shape(x)):
        raise Unfit("Reshape")
    return net.emit("Reshape", [x, target(net, x, dims)])
