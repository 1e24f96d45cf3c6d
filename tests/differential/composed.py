"""Forms of operators that bitbudget composes of others: reductions, resizing, transposed convolution, normalisation, padding."""

import numpy as np

from elementwise import optional
from forms import form
from layers import weight


@form(weight=2, since=8)
def extremum_or_norm(net, x):
    rank = net.rank(x)
    axes = sorted(net.random.choice(range(1, rank), net.integer(1, rank - 1), replace=False).tolist())
    op = net.pick(["ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd", "ReduceLogSum"])
    if op == "ReduceLogSum":
        x = net.emit("Add", [net.emit("Sigmoid", [x]), net.number(0.1)])
    keep = net.integer(0, 1) if len(axes) < rank - 1 else 1
    given = [a - rank if net.chance(0.3) else a for a in axes]
    if net.opset >= 18:
        y = net.emit(op, [x, net.ints(given)], keepdims=keep)
    else:
        y = net.emit(op, [x], axes=given, keepdims=keep)
    if keep and net.chance(0.5):
        return net.emit(net.pick(["Sub", "Add"]), [x, y])
    return y


@form(ranks=(3, 4), weight=2, since=10)
def resized(net, x):
    rank = net.rank(x) - 2
    mode = net.pick(["nearest", "nearest", "linear", "cubic"] if rank == 2 and net.opset >= 11 else ["nearest", "linear"])
    if net.opset < 11:
        return net.emit("Resize", [x, net.constant(np.array([1, 1, *[2] * rank], np.float32))], mode="nearest")
    attributes = {"mode": mode}
    if mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        attributes["coordinate_transformation_mode"] = net.pick(["half_pixel", "align_corners"])
    scales = [1, 1, *[net.pick([2, 2, 3, 0.5, 1.5]) for _ in range(rank)]]
    # The region to crop may be left out since operator set 13.
    region = "" if net.opset >= 13 else net.constant(np.zeros(2 * len(scales), np.float32))
    return net.emit("Resize", [x, region, net.constant(np.array(scales, np.float32))], **attributes)


@form(ranks=(3, 4), weight=3)
def conv_transpose(net, x):
    channels, rank = net.shape(x)[1], net.rank(x) - 2
    groups = net.pick([g for g in (1, 1, 2, channels) if channels % g == 0])
    kernel = [net.integer(1, 3) for _ in range(rank)]
    strides = [net.integer(1, 2) for _ in range(rank)]
    attributes = {"strides": strides} if net.chance(0.7) else {}
    strides = strides if attributes else [1] * rank
    if net.chance(0.3):
        attributes["dilations"] = [net.integer(1, 2) for _ in range(rank)]
    if net.chance(0.4):
        attributes["pads"] = [net.integer(0, 1) for _ in range(2 * rank)]
    if net.chance(0.4):
        attributes["output_padding"] = [net.integer(0, s - 1) for s in strides]
    if groups > 1 or net.chance(0.2):
        attributes["group"] = groups
    out = net.integer(1, 3)
    inputs = [x, weight(net, [channels, out, *kernel])]
    if net.chance(0.5):
        inputs.append(net.parameter([out * groups], 0.1))
    return net.emit("ConvTranspose", inputs, **attributes)


@form(ranks=(3, 4), weight=2)
def normalised_apart(net, x):
    channels = net.shape(x)[1]
    scale, bias = lambda n: net.parameter([n], 0.2, 1.0), lambda n: net.parameter([n], 0.2)
    # ONNX's checker takes no GroupNormalization of operator set 18.
    if net.opset >= 21 and net.chance(0.6):
        groups = net.pick([g for g in range(1, channels + 1) if channels % g == 0])
        return net.emit("GroupNormalization", [x, scale(channels), bias(channels)], num_groups=groups, **optional(net, epsilon=[0.01]))
    return net.emit("InstanceNormalization", [x, scale(channels), bias(channels)], **optional(net, epsilon=[0.01]))


@form(weight=1, since=23)
def rms_normalised(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    return net.emit("RMSNormalization", [x, net.parameter(net.shape(x)[axis:], 0.2, 1.0)], axis=axis, **optional(net, epsilon=[0.01]))


@form(weight=1)
def lp_normalised(net, x):
    return net.emit("LpNormalization", [x], axis=net.integer(1, net.rank(x) - 1), p=net.integer(1, 2))


@form(ranks=(4,), weight=0.5)
def lrn(net, x):
    return net.emit("LRN", [x], size=net.pick([1, 3, 5]), **optional(net, alpha=[0.5], beta=[0.6], bias=[1.5]))


@form(ranks=(3, 4), weight=1, since=11)
def bordered(net, x):
    rank = net.rank(x)
    pads = [0, 0, *[net.integer(0, 2) for _ in range(rank - 2)]] * 2
    mode = net.pick(["reflect", "edge", "constant"])
    if mode == "constant":
        return net.emit("Pad", [x, net.ints(pads), net.number(0.5, 0)])
    return net.emit("Pad", [x, net.ints(pads)], mode=mode)


@form(ranks=(4,), weight=1, since=11)
def regrouped(net, x):
    if net.chance(0.5):
        return net.emit("DepthToSpace", [x], blocksize=2, mode=net.pick(["DCR", "CRD"]))
    return net.emit("SpaceToDepth", [x], blocksize=2)


@form(weight=1, since=13)
def repeated(net, x):
    repeats = [1, *[net.integer(1, 2) for _ in range(net.rank(x) - 1)]]
    return net.emit("Tile", [x, net.ints(repeats)])


@form(weight=1, since=14)
def summed_up(net, x):
    axis = net.integer(1, net.rank(x) - 1)
    y = net.emit("CumSum", [x, net.constant(np.array(axis, np.int64))], **optional(net, exclusive=[1], reverse=[1]))
    return net.emit("Mul", [y, net.number(0.25)])


@form(ranks=(3, 4), weight=0.5, since=14)
def triangle(net, x):
    return net.emit("Trilu", [x], upper=net.integer(0, 1))


@form(weight=0.5, since=8)
def average(net, x):
    return net.emit("Mean", [x, net.emit("Tanh", [x]), net.parameter(net.shape(x)[1:], 0.5)])


@form(ranks=(3, 4), weight=0.5)
def pooled_norm(net, x):
    kernel = [2] * (net.rank(x) - 2)
    return net.emit("LpPool", [x], kernel_shape=kernel, strides=[net.integer(1, 2) for _ in kernel], **optional(net, p=[1, 2]))


@form(ranks=(3, 4), weight=0.5)
def whole_norm(net, x):
    return net.emit("Mul", [x, net.emit("Sigmoid", [net.emit("GlobalLpPool", [x], **optional(net, p=[1, 2, 3]))])])


@form(ranks=(4,), weight=0.5, since=9)
def standardised(net, x):
    return net.emit("MeanVarianceNormalization", [x], axes=net.pick([[2, 3], [1, 2, 3], [1]]))


@form(ranks=(3, 4), weight=1)
def upsampled(net, x):
    if net.opset >= 10:
        return None
    scales = [1.0, 1.0, *[float(net.integer(1, 2)) for _ in range(net.rank(x) - 2)]]
    if net.opset < 9:
        return net.emit("Upsample", [x], scales=scales)
    return net.emit("Upsample", [x, net.constant(np.array(scales, np.float32))])
