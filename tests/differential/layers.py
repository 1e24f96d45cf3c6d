"""Forms of layers: convolution, products, normalisation, pooling."""

import numpy as np

import known
from forms import form

# --- weights


def weight(net, shape):
    """A weight of some shape: trained, shared with another layer, computed from trained tensors, or constant."""
    way = net.integer(0, 15)
    scale = 1.2 / np.sqrt(max(np.prod(shape[1:]), 1)) if len(shape) > 2 else 1.2 / np.sqrt(shape[0])
    new = lambda dims=shape: net.parameter(dims, scale)
    # A parameter of equal elements, of which one is a case, is separate for each reader.
    shared = [name for name in net.initializers if name.startswith("p") and net.shape(name) == list(shape) and np.prod(shape) > 1]
    if way == 0 and shared:
        return net.pick(shared)
    if way == 1:
        return net.emit("Mul", [new(), net.number(net.pick([0.5, 1.5]))])
    if way == 2:
        return known.reshaped(net, new([int(np.prod(shape))]), shape)
    if way == 3:
        order = [int(i) for i in net.random.permutation(len(shape))]
        source = [shape[i] for i in order]
        return net.emit("Transpose", [new(source)], perm=[order.index(i) for i in range(len(shape))])
    if way == 4 and shape[0] > 1:
        return net.emit("Concat", [new([1, *shape[1:]]), new([shape[0] - 1, *shape[1:]])], axis=0)
    if way == 5:
        # Weight standardisation.
        w = new()
        axes = list(range(1, len(shape)))
        return net.emit("Sub", [w, reduced(net, "ReduceMean", w, axes, 1)])
    if way == 6:
        return net.emit("Tanh", [new()])
    if way == 7:
        return net.emit("Add", [new(), net.parameter([shape[0], *[1] * (len(shape) - 1)], scale)])
    if way == 8 and net.opset >= 8:
        return net.emit("Expand", [new([shape[0], *[1] * (len(shape) - 1)]), net.ints(shape)])
    if way == 9 and len(net.nodes) > 1:
        return net.constant(net.normal(shape, scale))
    return new()


def reduced(net, op, x, axes, keep):
    """A reduction; its axes became an input with operator set 13 (ReduceSum) or 18."""
    since = 13 if op == "ReduceSum" else 18
    attributes = {} if keep and net.chance(0.5) else {"keepdims": keep}
    if net.opset >= since:
        return net.emit(op, [x, net.ints(axes)], **attributes)
    return net.emit(op, [x], axes=axes, **attributes)


# --- windows


def window(net, kernel, sizes, dilated=True, pool=False):
    """Strides, pads, dilations in every odd form."""
    rank, attributes = len(kernel), {}
    if dilated and net.chance(0.3):
        attributes["dilations"] = [net.integer(1, 2) for _ in kernel]
    if net.chance(0.4):
        attributes["strides"] = [net.integer(1, 3) for _ in kernel]
    auto = net.pick(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if auto != "NOTSET" or net.chance(0.2):
        attributes["auto_pad"] = auto
    if auto == "NOTSET" and net.chance(0.7):
        # A window of a pooling must not lie in the padding alone.
        most = [k - 1 if pool else min(k, 2) for k in kernel]
        attributes["pads"] = [net.integer(0, m) for m in most * 2]
    return attributes


def around(net, x, spatial, value=0.0):
    """A Pad that the layer behind it may take into its own."""
    pads = [0, 0, *[net.integer(0, 2) for _ in range(spatial)]] * 2
    if net.chance(0.6):
        pads[2 + spatial + 2:] = [net.integer(0, 2) for _ in range(spatial)]
    return padded(net, x, pads, value)


def padded(net, x, pads, value=0.0):
    if net.opset < 11:
        attributes = {"mode": "constant"} if net.chance(0.5) else {}
        if value or net.chance(0.3):
            attributes["value"] = value
        return net.emit("Pad", [x], pads=pads, **attributes)
    inputs, rank = [x, net.ints(pads)], len(pads) // 2
    if value or net.chance(0.4):
        inputs.append(net.number(value, 0))
    if net.opset >= 18 and net.chance(0.4):
        inputs += [""] * (3 - len(inputs))
        inputs[1] = net.ints(pads[rank - 2: rank] + pads[-2:])
        if any(pads[: rank - 2] + pads[rank: -2]):
            return net.emit("Pad", [x, net.ints(pads), *inputs[2:3]])
        inputs.append(net.ints(net.pick([[-2, -1], [rank - 2, rank - 1]])))
    return net.emit("Pad", inputs)


@form(ranks=(3, 4), weight=6)
def conv(net, x):
    channels, sizes = net.shape(x)[1], net.shape(x)[2:]
    groups = net.pick([g for g in (1, 1, 1, 2, 3, channels) if channels % g == 0])
    out = groups * net.integer(1, max(1, (24 if net.wide else 5) // groups))
    kernel = [net.integer(1, min(net.pick([3, 3, 5]), n + 1)) for n in sizes]
    if net.chance(0.15):
        x = around(net, x, len(sizes))
    attributes = window(net, kernel, sizes)
    if groups > 1 or net.chance(0.2):
        attributes["group"] = groups
    inputs = [x, weight(net, [out, channels // groups, *kernel])]
    if net.chance(0.5):
        inputs.append(net.parameter([out], 0.1) if net.chance(0.8) else net.emit("Neg", [net.parameter([out], 0.1)]))
    if net.chance(0.7):
        attributes["kernel_shape"] = kernel
    return net.emit("Conv", inputs, **attributes)


@form(ranks=(3, 4), weight=2)
def separable(net, x):
    """A depthwise and a pointwise convolution that keep the size."""
    channels, sizes = net.shape(x)[1], net.shape(x)[2:]
    y = net.emit("Conv", [x, weight(net, [channels, 1, *[3] * len(sizes)])], group=channels, pads=[1] * 2 * len(sizes))
    return net.emit("Conv", [y, weight(net, [net.integer(1, 5), channels, *[1] * len(sizes)])])


@form(ranks=(2,), weight=3)
def gemm(net, x):
    rows, columns = net.shape(x)
    width, attributes = net.integer(2, 40 if net.wide else 7), {}
    if net.chance(0.2):
        x = net.emit("Transpose", [x], perm=[1, 0]) if net.chance(0.5) else net.emit("Transpose", [x])
        attributes["transA"] = 1
    b = weight(net, [width, columns] if net.chance(0.5) else [columns, width])
    if net.shape(b)[0] != columns or (width == columns and net.chance(0.5)):
        attributes["transB"] = 1
    for name in ("alpha", "beta"):
        if net.chance(0.25):
            attributes[name] = net.pick([0.5, 2.0, 1.0, -0.75])
    return net.emit("Gemm", [*[x, b], *addend(net, x, rows, width)], **attributes)


def addend(net, x, rows, width):
    """The third input of a Gemm; it may be left out since operator set 11."""
    way = net.integer(0, 7)
    if way == 0 and net.opset >= 11:
        return []
    if way == 1:
        return [net.parameter([1, width], 0.2)]
    if way == 2:
        return [net.parameter([1] * net.integer(1, 2), 0.2)]
    if way == 3:
        return [net.number(0.3, 0)]
    if way == 4:
        others = [t for t in net.tensors if net.shape(t) in ([rows, width], [rows, 1])]
        if others:
            return [net.pick(others)]
    if way == 5:
        return [net.emit("Mul", [net.parameter([width], 0.2), net.parameter([1], 0.2, 1.0)])]
    return [net.parameter([width], 0.2)]


@form(ranks=(2, 3, 4), weight=2)
def matmul(net, x):
    depth, width = net.shape(x)[-1], net.integer(2, 40 if net.wide else 6)
    if net.chance(0.3):
        b = net.emit("Transpose", [net.parameter([width, depth], 1.2 / np.sqrt(depth))], perm=[1, 0])
    else:
        b = weight(net, [depth, width])
    y = net.emit("MatMul", [x, b])
    if net.chance(0.5):
        bias = net.parameter([width], 0.2)
        y = net.emit("Add", [y, bias] if net.chance(0.5) else [bias, y])
    return y


@form(ranks=(2, 3, 4), weight=4)
def batch_norm(net, x):
    channels = net.shape(x)[1]
    scales = [name for name in net.initializers if name.startswith("scale") and net.shape(name) == [channels]]
    way = net.integer(0, 9)
    scale = net.initializer(net.normal([channels], 0.3, 1.0), "scale")
    if way == 0 and scales and channels > 1:
        scale = net.pick(scales)
    elif way == 1:
        scale = net.emit("Mul", [scale, net.number(0.5)])
    elif way == 2:
        scale = net.constant(np.ones(channels, np.float32))
    bias = net.parameter([channels], 0.3)
    mean = net.initializer(net.normal([channels], 0.2), "mean")
    variance = net.initializer(np.abs(net.normal([channels], 0.3, 1.0)) + np.float32(0.1), "variance")
    means = [name for name in net.initializers if name.startswith("mean") and net.shape(name) == [channels]]
    if net.chance(0.05):
        # Exporters merge equal initializers.
        mean = net.pick(means)
    attributes = {}
    if net.chance(0.4):
        attributes["epsilon"] = net.pick([1e-5, 1e-3, 1e-2])
    if net.chance(0.4):
        attributes["momentum"] = net.pick([0.9, 0.99, 0.5])
    if net.opset < 9 and net.chance(0.3):
        attributes["spatial"] = 1
    if net.opset >= 14 and net.chance(0.3):
        attributes["training_mode"] = 0
    return net.emit("BatchNormalization", [x, scale, bias, mean, variance], **attributes)


@form(ranks=(2, 3, 4), weight=3, since=17)
def layer_norm(net, x):
    rank = net.rank(x)
    axis = net.integer(1, rank - 1) if net.chance(0.5) else rank - 1
    row = net.shape(x)[axis:]
    attributes = {} if axis == rank - 1 and net.chance(0.4) else {"axis": axis - (rank if net.chance(0.5) else 0)}
    if net.chance(0.4):
        attributes["epsilon"] = net.pick([1e-5, 1e-3, 1e-2])
    if net.chance(0.3):
        attributes["stash_type"] = 1
    way = net.integer(0, 9)
    new = lambda dims: net.initializer(net.normal(dims, 0.3, 1.0), "scale")
    if way == 0:
        scale = net.constant(np.ones(row, np.float32))
    elif way == 1:
        scale = net.emit("Mul", [new(row), net.number(0.5)])
    elif way == 2:
        scale = new([1])
    elif way == 3:
        scale = new([*[1] * (rank - len(row)), *row])
    else:
        scale = new(row)
    bias = [net.parameter(row, 0.3)] if net.chance(0.7) else []
    return net.emit("LayerNormalization", [x, scale, *bias], **attributes)


@form(ranks=(3, 4), weight=2.5)
def pool(net, x):
    sizes = net.shape(x)[2:]
    op = net.pick(["MaxPool", "AveragePool"])
    kernel = [net.integer(1, min(3, n)) for n in sizes]
    dilated = net.opset >= (10 if op == "MaxPool" else 19)
    if op == "AveragePool" and net.chance(0.2):
        x = around(net, x, len(sizes))
    if op == "MaxPool" and net.chance(0.1):
        x = around(net, x, len(sizes), net.pick([-np.inf, float(np.finfo(np.float32).min)]))
    attributes = window(net, kernel, sizes, dilated, pool=True)
    if net.opset >= 10 and net.chance(0.4):
        # With SAME the size is that of rounding up in any case, but ONNX's own shape inference adds one.
        attributes["ceil_mode"] = net.integer(0, 1) if not attributes.get("auto_pad", "").startswith("SAME") else 0
    if op == "AveragePool" and net.chance(0.5):
        attributes["count_include_pad"] = net.integer(0, 1)
    return net.emit(op, [x], kernel_shape=kernel, **attributes)


@form(ranks=(3, 4), weight=0.5)
def global_pool(net, x):
    return net.emit(net.pick(["GlobalAveragePool", "GlobalMaxPool"]), [x])


@form(ranks=(3, 4), weight=1)
def gate(net, x):
    """Squeeze and excitation: channels scaled by a function of their means."""
    channels, sizes = net.shape(x)[1], net.shape(x)[2:]
    y = net.emit("GlobalAveragePool", [x])
    y = net.emit("Conv", [y, weight(net, [channels, channels, *[1] * len(sizes)])])
    gate = net.emit(net.pick(["Sigmoid", "HardSigmoid"]), [y])
    return net.emit("Mul", [x, gate] if net.chance(0.5) else [gate, x])
