"""Forms of comparisons, truth values, choices and whole numbers that are computed from a network's tensors."""

import numpy as np
from onnx import TensorProto

import elementwise
import known
from forms import form
from layers import padded
from network import TOKENS

INT, BOOL = TensorProto.INT64, TensorProto.BOOL


def compared(net, x):
    """Truth values: a tensor beside a number, a parameter or another tensor."""
    ops = (["Greater", "Less"] if net.opset >= 9 else []) + (["GreaterOrEqual", "LessOrEqual"] if net.opset >= 12 else [])
    if not ops or net.chance(0.15):
        # What is not zero is true.
        return known.cast(net, net.emit("Relu", [x]), BOOL)
    found = [t for t in net.tensors if net.shape(t) == net.shape(x) and t != x]
    way = net.integer(0, 2)
    if way == 0 and found:
        y = net.pick(found)
    elif way == 1:
        y = net.parameter([net.shape(x)[-1]], 0.5)
    else:
        y = net.number(net.pick([0.0, 0.25, -0.5]), 0 if net.chance(0.5) else None)
    return net.emit(net.pick(ops), [x, y] if net.chance(0.6) else [y, x])


def condition(net, x, depth=1):
    """Truth values of the shape of `x`, or of one that broadcasts against it."""
    way = net.integer(0, 6)
    if way == 0 and net.opset >= 9:
        # A known mask.
        shape = net.shape(x)[1:] if net.chance(0.6) else net.shape(x)[-1:]
        return net.constant(net.random.random(shape) < 0.6)
    if way == 1:
        whole = known.cast(net, net.emit("Mul", [x, net.number(2.0, 0)]), INT)
        return net.emit("Equal", [whole, net.ints(net.integer(-1, 1))])
    if way == 2 and depth:
        pair = [condition(net, x, 0), condition(net, x, 0)]
        return net.emit(net.pick(["And", "Or", "Xor"]), pair)
    if way == 3 and depth:
        return net.emit("Not", [condition(net, x, 0)])
    if way == 4 and net.opset >= 9:
        return net.emit("IsNaN", [x])
    if way == 5 and net.opset >= 10:
        return net.emit("IsInf", [x], **elementwise.optional(net, detect_negative=[0, 1], detect_positive=[1]))
    return compared(net, x)


def truth(net, x):
    """A condition, or an input of truth values."""
    return net.mask(x) if net.has_inputs and net.chance(0.5) else condition(net, x)


@form(weight=2.5)
def chosen(net, x):
    """One of two tensors, or of a tensor and a number, by a condition."""
    where = truth(net, x)
    if net.opset < 9 or net.chance(0.25):
        factor = known.floating(net, where)
        return net.emit("Mul", [x, factor] if net.chance(0.5) else [factor, x])
    way = net.integer(0, 3)
    if way == 0:
        y = net.number(net.pick([0.0, 1.0, -0.5]))
    elif way == 1:
        y = net.parameter(net.pick([net.shape(x)[1:], net.shape(x)[-1:], [1]]), 0.5)
    elif way == 2:
        y = elementwise.activation(net, x)
    else:
        y = net.pick([t for t in net.tensors if net.shape(t) == net.shape(x)] or [x])
    return net.emit("Where", [where, x, y] if net.chance(0.5) else [where, y, x])


@form(ranks=(3, 4), weight=1, since=9)
def masked_attention(net, x):
    """Scores of rows with rows, some of which a mask of truth values hides."""
    rank, length = net.rank(x), net.shape(x)[-2]
    order = [*range(rank - 2), rank - 1, rank - 2]
    scores = net.emit("MatMul", [x, net.emit("Transpose", [x], perm=order)])
    scores = net.emit("Mul", [scores, net.number(net.shape(x)[-1] ** -0.5, 0)])
    causal = np.tril(np.ones([length, length], bool))
    shape = [length, length] if net.chance(0.5) else [1] * (rank - 2) + [length, length]
    least = net.number(net.pick([-1e9, -np.inf, float(np.finfo(np.float32).min)]), 0)
    if net.chance(0.5):
        scores = net.emit("Where", [net.constant(causal.reshape(shape)), scores, least])
    else:
        scores = net.emit("Where", [net.constant(~causal.reshape(shape)), least, scores])
    return net.emit("MatMul", [net.emit("Softmax", [scores], axis=rank - 1), x])


@form(weight=0.7)
def stepped(net, x):
    """Whole numbers near those of a tensor, which has the gradient."""
    y = net.emit("Mul", [x, net.number(net.pick([1.5, 3.0]), 0)])
    if net.opset >= 10 and net.chance(0.3):
        return net.emit("Mod", [x, net.number(net.pick([0.75, 1.5]), 0)], fmod=1)
    op = net.pick(["Floor", "Ceil", "Round"] if net.opset >= 11 else ["Floor", "Ceil"])
    return net.emit("Add", [x, net.emit("Mul", [net.emit(op, [y]), net.number(0.25, 0)])])


def extreme_index(net, x, keep=None):
    """The index of the largest or the least number along an axis; the axis."""
    axis = net.integer(1, net.rank(x) - 1)
    attributes = elementwise.optional(net, select_last_index=[0, 1]) if net.opset >= 12 else {}
    attributes["axis"] = axis - net.rank(x) if net.opset >= 11 and net.chance(0.3) else axis
    if keep is not None or net.chance(0.5):
        attributes["keepdims"] = net.integer(0, 1) if keep is None else keep
    return net.emit(net.pick(["ArgMax", "ArgMin"]), [x], **attributes), axis


def whole_numbers(net, x, below):
    """Whole numbers from 0 to below a number: an input, or made of a tensor."""
    if net.has_inputs and below >= TOKENS and net.chance(0.6):
        return net.tokens(net.shape(x)[1:])
    # Rounding to 8 bits must not make the largest one larger.
    y = net.emit("Mul", [net.emit("Sigmoid", [x]), net.number(below - 1.0, 0)])
    return known.cast(net, y, net.pick([INT, TensorProto.INT32]))


@form(ranks=(2, 3), weight=1.5)
def embedded(net, x):
    """Rows of a trained table, by whole numbers."""
    rows, width = net.integer(TOKENS, 7), net.integer(1, 4)
    if net.chance(0.3):
        index, axis = extreme_index(net, x)
        rows = max(rows, net.shape(x)[axis])
    else:
        index = whole_numbers(net, x, rows)
    table = net.parameter([rows, width], 0.8)
    if net.chance(0.2):
        return net.emit("Gather", [net.emit("Transpose", [net.parameter([width, rows], 0.8)], perm=[1, 0]), index])
    return net.emit("Gather", [table, index], **({"axis": 0} if net.chance(0.5) else {}))


@form(ranks=(2, 3), weight=0.7, since=9)
def one_hot(net, x):
    """Truth values of whole numbers, as numbers, weighed."""
    if net.chance(0.5):
        index, axis = extreme_index(net, x, 0)
        depth = net.shape(x)[axis]
    else:
        depth = net.integer(TOKENS, 6)
        index = whole_numbers(net, x, depth)
    values = net.emit("Constant", [], value=net.proto(np.array([net.pick([0.0, -0.5]), 1.0], np.float32)))
    at = net.integer(-1, 1)
    y = net.emit("OneHot", [index, net.ints(depth), values], **({} if at == -1 and net.chance(0.5) else {"axis": at}))
    y = net.emit("Mul", [y, net.parameter([net.shape(y)[-1]], 0.5, 1.0)])
    return net.emit("Add", [x, y]) if net.shape(y) == net.shape(x) else y


@form(weight=1)
def largest(net, x):
    """The largest or the least of some numbers, or those of another tensor in their places."""
    axis = net.integer(1, net.rank(x) - 1)
    count = net.integer(1, net.shape(x)[axis])
    attributes = {"axis": axis}
    if net.opset >= 11:
        attributes |= elementwise.optional(net, largest=[0, 1], sorted=[1])
    if net.opset < 10:
        values, index = net.emit("TopK", [x], 2, k=count, **attributes)
    else:
        values, index = net.emit("TopK", [x, net.ints([count])], 2, **attributes)
    if net.opset >= 11 and net.chance(0.4):
        others = [t for t in net.tensors if net.shape(t) == net.shape(x)] or [x]
        return net.emit("GatherElements", [net.pick(others), index], axis=axis)
    return values


@form(weight=0.7, since=11)
def element(net, x):
    """The numbers of a tensor where another is largest, kept or taken from it."""
    others = [t for t in net.tensors if net.shape(t) == net.shape(x)] or [x]
    index, axis = extreme_index(net, net.pick(others), 1)
    y = net.emit("GatherElements", [x, index], axis=axis)
    if net.chance(0.4):
        return y
    return net.emit("Sub", [x, y])


def rows_first(net, x):
    """`x` with its second dimension first, and the order that undoes this."""
    order = [1, 0, *range(2, net.rank(x))]
    return net.emit("Transpose", [x], perm=order), order


@form(ranks=(2, 3, 4), weight=0.7, since=11)
def nested(net, x):
    """Parts by known indices of one or two dimensions, or others put in their places."""
    rows, order = rows_first(net, x)
    size = net.shape(rows)[0]
    picked = net.random.permutation(size)[: net.integer(1, size)]
    index = net.ints(picked[:, None].tolist())
    if net.chance(0.5):
        return net.emit("Transpose", [net.emit("GatherND", [rows, index])], perm=order)
    others = net.emit("GatherND", [rows, net.ints(net.random.permutation(size)[: len(picked), None].tolist())])
    others = net.emit("Tanh", [others])
    kinds = ["none"] + (["add", "mul"] if net.opset >= 16 else []) + (["min", "max"] if net.opset >= 18 else [])
    kind = net.pick(kinds)
    attributes = {} if kind == "none" and net.chance(0.7) or net.opset < 16 else {"reduction": kind}
    return net.emit("Transpose", [net.emit("ScatterND", [rows, index, others], **attributes)], perm=order)


@form(weight=0.7, since=9)
def put(net, x):
    """Numbers put where a tensor is largest or least."""
    if net.opset < 11:
        index, axis = extreme_index(net, x, 1)
        return net.emit("Scatter", [x, index, net.emit("Tanh", [net.emit("ReduceMean", [x], axes=[axis])])], axis=axis)
    index, axis = extreme_index(net, x, 1)
    values = net.emit("Tanh", [net.emit("GatherElements", [x, index], axis=axis)])
    kinds = ["none"] + (["add", "mul"] if net.opset >= 16 else []) + (["min", "max"] if net.opset >= 18 else [])
    kind = net.pick(kinds)
    attributes = {"axis": axis} if net.opset < 16 or kind == "none" and net.chance(0.7) else {"axis": axis, "reduction": kind}
    return net.emit("ScatterElements", [x, index, values], **attributes)


@form(ranks=(3, 4), weight=0.7, since=10)
def quantised(net, x):
    """Numbers rounded to multiples of a scale, in eight bits."""
    x = net.emit("Tanh", [x]) if net.chance(0.5) else x
    kind, zero = net.pick([(np.uint8, 128), (np.uint8, 100), (np.int8, 0), (np.int8, 10)])
    axis = net.integer(1, net.rank(x) - 1) if net.opset >= 13 and net.chance(0.3) else None
    size = [] if axis is None else [net.shape(x)[axis]]
    scales = net.random.choice([2.0**-5, 2.0**-6, 0.03], size).astype(np.float32)
    scale = net.emit("Constant", [], value=net.proto(np.asarray(scales)))
    inputs = [scale, net.constant(np.full(size, zero, kind))] if zero or kind is np.int8 or net.chance(0.5) else [scale]
    attributes = {} if axis is None else {"axis": axis}
    return net.emit("DequantizeLinear", [net.emit("QuantizeLinear", [x, *inputs], **attributes), *inputs], **attributes)


@form(ranks=(3, 4), weight=0.7, since=23)
def rotated(net, x):
    """Rotary embedding of pairs, by the places of the rows."""
    heads = 1
    if net.rank(x) == 3:
        heads = net.pick([h for h in (1, 2) if net.shape(x)[-1] % (2 * h) == 0] or [0])
    if not heads or net.shape(x)[-1] % 2:
        x, heads = padded(net, x, [0] * (2 * net.rank(x) - 1) + [net.shape(x)[-1] % 2]), 1
    width, length = net.shape(x)[-1] // heads, net.shape(x)[-2]
    dims = net.integer(1, width // 2) * 2 if net.chance(0.3) else width
    angles = np.arange(length)[:, None] / 10.0 ** (np.arange(dims // 2) / dims)
    caches = [net.emit("Constant", [], value=net.proto(part.astype(np.float32))) for part in (np.cos(angles), np.sin(angles))]
    sizes = [known.unsqueeze(net, known.size_of(net, x, 0), [0]), net.ints([length])]
    places = net.emit("Expand", [net.ints([list(range(length))]), net.emit("Concat", sizes, axis=0)])
    attributes = {"rotary_embedding_dim": dims} if dims != width else {}
    attributes |= {"num_heads": heads} if net.rank(x) == 3 else {}
    return net.emit("RotaryEmbedding", [x, *caches, places], **attributes, **elementwise.optional(net, interleaved=[0, 1]))


@form(weight=0.7)
def with_another_input(net, x):
    """Numbers of one more input, beside those of the tensor."""
    if not net.has_inputs:
        return None
    dims = [1 if net.chance(0.3) else d for d in net.shape(x)[1:]]
    y = net.another_input("more", [net.batch, *dims], [TensorProto.FLOAT])
    op = net.pick(["Add", "Sub", "Mul", "Concat"])
    if op == "Concat" and net.shape(y) == net.shape(x):
        return net.emit("Concat", [x, y], axis=1)
    return net.emit("Add" if op == "Concat" else op, [x, y])
