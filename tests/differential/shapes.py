"""Forms that move, take and join parts: slices, splits, concatenations, reshapes, transposes, reductions."""

import numpy as np

import known
from elementwise import activation
from forms import form, grow
from layers import batch_norm, padded, reduced

FAR = (2**31 - 1, 2**63 - 1)


def signed(net, axis, rank, since=11):
    """An axis, sometimes counted from the end, which older operator sets do not know."""
    return axis - rank if net.opset >= since and net.chance(0.3) else axis


@form(weight=2.5)
def slice_(net, x):
    shape = net.shape(x)
    axes = sorted(net.random.choice(range(1, len(shape)), net.integer(1, len(shape) - 1), replace=False).tolist())
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        first, last = sorted([net.integer(0, size - 1), net.integer(0, size - 1)])
        step = net.integer(1, 2) if net.opset < 10 or net.chance(0.7) else -net.integer(1, 2)
        if step > 0:
            start, end = net.pick([first, first, first - size, 0]), net.pick([last + 1, net.pick(FAR), size + 3])
        else:
            start, end = net.pick([last, last - size, size + 2, -1]), net.pick([first - 1 - size, -net.pick(FAR), first - 1 - size])
        starts.append(start)
        ends.append(end)
        steps.append(step)
    if net.opset < 10:
        attributes = {"axes": axes} if axes != list(range(len(axes))) else {}
        return net.emit("Slice", [x], starts=starts, ends=ends, **attributes)
    inputs = [x, net.ints(starts), net.ints(ends), net.ints([signed(net, a, len(shape), 10) for a in axes])]
    if any(step != 1 for step in steps) or net.chance(0.3):
        inputs.append(net.ints(steps))
    return net.emit("Slice", inputs)


@form(weight=1)
def whole_batch(net, x):
    """A slice of all axes from the front, the batch taken whole."""
    size = net.shape(x)[1]
    end = net.integer(1, size)
    if net.opset < 10:
        return net.emit("Slice", [x], starts=[0, 0], ends=[net.pick(FAR), end])
    return net.emit("Slice", [x, net.ints([0, 0]), net.ints([net.pick(FAR), end])])


@form(weight=1.5)
def gather(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    size = net.shape(x)[axis]
    way = net.integer(0, 3)
    least = -size if net.opset >= 11 else 0
    if way == 0:
        indices = net.integer(least, size - 1)
    elif way == 1:
        indices = [net.integer(least, size - 1)]
    else:
        step = net.pick([1, 2, -1])
        indices = list(range(size))[::step]
        indices = indices[: net.integer(1, len(indices))]
    return net.emit("Gather", [x, net.ints(indices)], axis=signed(net, axis, net.rank(x)))


@form(weight=1.5)
def split(net, x):
    """A Split of which one, some or all parts are used, and in which order."""
    axis = net.integer(1, net.rank(x) - 1)
    size = net.shape(x)[axis]
    parts = net.pick([p for p in (2, 3) if p <= size] or [1])
    cuts = np.sort(net.random.choice(range(1, size), parts - 1, replace=False)).tolist() if parts > 1 else []
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, size])]
    attributes, inputs = {"axis": signed(net, axis, net.rank(x))}, [x]
    if net.opset >= 18 and net.chance(0.5):
        attributes["num_outputs"] = parts
    elif size % parts or net.chance(0.6):
        if net.opset >= 13:
            inputs.append(net.ints(sizes))
        else:
            attributes["split"] = sizes
    elif net.opset >= 18:
        attributes["num_outputs"] = parts
    found = net.emit("Split", inputs, parts, **attributes) if parts > 1 else [net.emit("Split", inputs, **attributes)]
    return rejoined(net, found, axis)


def rejoined(net, parts, axis):
    """One part, or several in another order with something done to one of them."""
    parts = [parts[i] for i in net.random.permutation(len(parts))]
    if len(parts) == 1 or net.chance(0.25):
        return parts[0]
    if len(parts) > 2 and net.chance(0.3):
        parts.pop()
    at = net.integer(0, len(parts) - 1)
    if net.chance(0.7):
        parts[at] = net.attempt(net.pick([activation, batch_norm]), parts[at]) or parts[at]
    if len({tuple(net.shape(p)) for p in parts}) == 1 and net.chance(0.3):
        return net.emit(net.pick(["Mul", "Add", "Sub"]), parts[:2])
    return net.emit("Concat", parts, axis=axis)


@form(weight=0.7, since=11)
def sequence(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    size = net.shape(x)[axis]
    inputs, attributes = [x], {"axis": axis}
    way = net.integer(0, 2)
    if way == 0:
        attributes["keepdims"] = net.integer(0, 1)
        parts = size
    elif way == 1:
        each = net.integer(1, size)
        inputs.append(net.ints(each))
        parts = -(-size // each)
    else:
        cut = net.integer(1, size)
        inputs.append(net.ints([cut, size - cut] if cut < size else [size]))
        parts = 2 if cut < size else 1
    found = net.emit("SplitToSequence", inputs, **attributes)
    at = lambda: net.emit("SequenceAt", [found, net.ints(net.integer(-parts, parts - 1))])
    first, second = at(), at()
    if net.shape(first) == net.shape(second) and net.chance(0.6):
        return net.emit("Add", [first, second])
    return first


@form(weight=2)
def concat(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    same = lambda t: net.rank(t) == net.rank(x) and all(
        a == b for d, (a, b) in enumerate(zip(net.shape(t), net.shape(x))) if d != axis)
    found = [t for t in net.tensors if same(t)] or [x]
    parts = [x] + [net.pick(found) for _ in range(net.integer(0, 2))]
    return net.emit("Concat", [parts[i] for i in net.random.permutation(len(parts))], axis=signed(net, axis, net.rank(x)))


@form(weight=1)
def pad(net, x):
    pads = [0 if at % net.rank(x) == 0 or net.chance(0.5) else net.integer(0, 2) for at in range(2 * net.rank(x))]
    return padded(net, x, pads)


def factored(net, size):
    factor = net.pick([f for f in range(1, size + 1) if size % f == 0])
    return [factor, size // factor]


@form(weight=2)
def reshape(net, x):
    shape = net.shape(x)
    rest = int(np.prod(shape[1:]))
    dims = net.pick([
        [shape[0], rest], [shape[0], *factored(net, rest)], [shape[0], *factored(net, shape[1]), *shape[2:]],
        [shape[0], *shape[:0:-1]], [shape[0], shape[1], int(np.prod(shape[2:]))], [shape[0], rest, 1],
        [shape[0], rest // shape[-1], shape[-1]],
    ])
    y = known.reshape(net, x, dims)
    return y if len(dims) < 5 else known.reshape(net, net.emit("Tanh", [y]), shape)


@form(weight=0.7)
def flatten(net, x):
    axis = net.pick([1, 1, -net.rank(x) + 1 if net.opset >= 11 else 1])
    return net.emit("Flatten", [x], **({} if axis == 1 and net.chance(0.5) else {"axis": axis}))


@form(weight=0.7)
def merged_rows(net, x):
    """Batch and other dimensions in one, something computed on the rows, and back."""
    shape = net.shape(x)
    axis = net.integer(1, len(shape) - 1)
    rows = int(np.prod(shape[:axis]))
    y = net.emit("Flatten", [x], axis=axis) if net.chance(0.5) else known.reshape(net, x, [rows, *shape[axis:]])
    y = net.attempt(net.pick([activation, batch_norm]), y) or y
    return net.emit("Reshape", [y, net.ints([-1, *shape[1:]])])


@form(weight=1)
def ones(net, x):
    """Dimensions of size one come and go."""
    rank = net.rank(x)
    axes = sorted(net.random.choice(range(1, rank + 1), net.integer(1, max(1, 4 - rank)), replace=False).tolist())
    y = known.unsqueeze(net, x, axes)
    y = net.attempt(activation, y) or y
    single = [a for a, d in enumerate(net.shape(y)) if d == 1]
    if net.chance(0.5):
        return y
    if net.chance(0.4):
        return net.emit("Squeeze", [y])
    return known.squeeze(net, y, single[: net.integer(1, len(single))])


@form(weight=1.5)
def transpose(net, x):
    order = [0, *(1 + net.random.permutation(net.rank(x) - 1)).tolist()]
    y = net.emit("Transpose", [x], perm=order)
    if net.chance(0.5):
        return y
    y = net.attempt(net.pick([activation, batch_norm]), y) or y
    return net.emit("Transpose", [y], perm=[order.index(i) for i in range(len(order))])


@form(weight=0.7)
def batch_moved(net, x):
    """The batch as another dimension than the first, and back."""
    order = net.random.permutation(net.rank(x)).tolist()
    backwards = net.chance(0.3)
    y = net.emit("Transpose", [x]) if backwards else net.emit("Transpose", [x], perm=order)
    order = list(reversed(range(net.rank(x)))) if backwards else order
    y = net.attempt(activation, y) or y
    return net.emit("Transpose", [y], perm=[order.index(i) for i in range(len(order))])


@form(ranks=(3, 4), weight=2)
def shuffle(net, x):
    """ShuffleNet's channel shuffle, and something added to it that it is made of."""
    shape = net.shape(x)
    groups = factored(net, shape[1])
    y = known.reshape(net, x, [shape[0], *groups, *shape[2:]])
    y = net.emit("Transpose", [y], perm=[0, 2, 1, *range(3, len(shape) + 1)])
    y = known.reshape(net, y, shape)
    if net.chance(0.4):
        return net.emit(net.pick(["Add", "Mul", "Sub"]), [y, x] if net.chance(0.5) else [x, y])
    return y


@form(weight=1, since=8)
def expand(net, x):
    shape = net.shape(x)
    if net.chance(0.5):
        p = net.parameter([1 if net.chance(0.5) else d for d in shape[1:]], 0.5)
        y = net.emit("Expand", [p, net.ints(shape[1:])])
        return net.emit(net.pick(["Add", "Mul"]), [x, y])
    axis = net.integer(1, len(shape) - 1)
    small = reduced(net, "ReduceMean", x, [axis], 1)
    dims = shape if net.fixed_batch else [1, *shape[1:]]
    y = net.emit("Expand", [small, net.ints(dims)])
    return y if net.chance(0.5) else net.emit("Sub", [x, y])


@form(weight=2)
def reduction(net, x):
    rank = net.rank(x)
    axes = sorted(net.random.choice(range(1, rank), net.integer(1, rank - 1), replace=False).tolist())
    op = net.pick(["ReduceMean", "ReduceSum"])
    counted = [signed(net, a, rank) for a in axes]
    keep = net.integer(0, 1) if len(axes) < rank - 1 else 1
    y = reduced(net, op, x, counted, keep)
    if op == "ReduceSum":
        y = net.emit("Mul", [y, net.number(0.25)])
    if keep and net.chance(0.4):
        return net.emit("Sub", [x, y])
    return y


@form(weight=0.5)
def nothing_reduced(net, x):
    """A reduction without axes that hands its input on, or one over all that is left of an example."""
    op = net.pick(["ReduceMean", "ReduceSum"])
    if net.opset >= (13 if op == "ReduceSum" else 18) and net.chance(0.5):
        return net.emit(op, [x], noop_with_empty_axes=1)
    axes = list(range(1, net.rank(x)))
    return net.emit("Mul", [x, net.emit("Sigmoid", [reduced(net, "ReduceMean", x, axes, 1)])])


@form(weight=0.25)
def sum_over_batch(net, x):
    y = reduced(net, "ReduceSum", x, [0], 1)
    return net.emit("Add", [x, net.emit("Mul", [y, net.number(0.125)])])


@form(weight=2.5)
def residual(net, x):
    """Two branches, each a few forms that keep the shape, joined."""
    def branch(y):
        for _ in range(net.integer(0, 2)):
            for _ in range(4):
                z = net.attempt(grow, y)
                if z is not None and net.shape(z) == net.shape(x):
                    y = z
                    break
        return y

    a, b = branch(x), branch(x)
    join = net.pick(["Add", "Add", "Sum", "Mul", "Sub", "Concat"])
    y = net.emit("Concat", [a, b], axis=1) if join == "Concat" else net.emit(join, [a, b])
    return net.attempt(activation, y) or y if net.chance(0.4) else y
