"""ONNX operators on truth values, whole numbers and indices, quantisation and rotary embedding, in PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F

from peer import TABLE, binary, operator, unary

for name, function in {
    "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le, "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
}.items():
    binary(name, function)

unary("Round", torch.round)
unary("IsNaN", torch.isnan)


@operator("IsInf")
def is_infinite(run, node, attrs, x):
    above = torch.isposinf(x) & bool(attrs.get("detect_positive", 1))
    return above | torch.isneginf(x) & bool(attrs.get("detect_negative", 1))


def extreme_index(sign):
    def find(run, node, attrs, x):
        axis = attrs.get("axis", 0) % x.dim()
        # Of equal numbers the first, which torch.argmax does not promise.
        numbers = sign * x.detach().numpy()
        if attrs.get("select_last_index", 0):
            index = numbers.shape[axis] - 1 - np.argmax(np.flip(numbers, axis), axis)
        else:
            index = np.argmax(numbers, axis)
        return torch.from_numpy(np.expand_dims(index, axis) if attrs.get("keepdims", 1) else np.asarray(index))

    return find


TABLE["ArgMax"], TABLE["ArgMin"] = extreme_index(1), extreme_index(-1)


@operator("NonZero")
def not_zero(run, node, attrs, x):
    return torch.nonzero(x).T


@operator("OneHot")
def one_hot(run, node, attrs, index, depth, values):
    depth = int(depth)
    places = torch.remainder(index.long(), depth)
    y = torch.where(places[..., None] == torch.arange(depth), values[1], values[0])
    axis = attrs.get("axis", -1) % y.dim()
    return y.movedim(-1, axis)


@operator("TopK")
def largest(run, node, attrs, x, count=None):
    axis = attrs.get("axis", -1)
    # Of equal numbers the one with the lower index.
    index = torch.sort(x, dim=axis, descending=bool(attrs.get("largest", 1)), stable=True)[1]
    index = index.narrow(axis, 0, attrs["k"] if count is None else int(count))
    return x.gather(axis, index), index


def along(index, size):
    return torch.remainder(index.long(), size)


@operator("GatherElements")
def gather_elements(run, node, attrs, x, index):
    axis = attrs.get("axis", 0) % x.dim()
    return x.gather(axis, along(index, x.shape[axis]))


@operator("GatherND")
def gather_nested(run, node, attrs, x, index):
    shared = attrs.get("batch_dims", 0)
    sizes = x.shape[:shared]
    rows, index = x.flatten(0, shared - 1) if shared else x[None], index.flatten(0, shared - 1) if shared else index[None]
    each = [row[tuple(along(part, size) for part, size in zip(of_row.unbind(-1), row.shape))] for row, of_row in zip(rows, index)]
    return torch.stack(each).reshape(*sizes, *each[0].shape)


def replaced(kind, old, new):
    """What stands where new numbers meet old ones."""
    functions = {"none": lambda a, b: b, "add": torch.add, "mul": torch.mul, "min": torch.minimum, "max": torch.maximum}
    return functions[kind](old, new)


@operator("ScatterElements", "Scatter")
def scatter_elements(run, node, attrs, x, index, values):
    # Indices of which no two are equal.
    axis = attrs.get("axis", 0) % x.dim()
    index = along(index, x.shape[axis])
    return x.scatter(axis, index, replaced(attrs.get("reduction", "none"), x.gather(axis, index), values))


@operator("ScatterND")
def scatter_nested(run, node, attrs, x, index, values):
    place = tuple(along(part, size) for part, size in zip(index.unbind(-1), x.shape))
    return x.index_put(place, replaced(attrs.get("reduction", "none"), x[place], values))


RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-(2**15), 2**15 - 1)}


def shaped(number, x, attrs):
    """A scale or a zero point for all of `x`, or for each place along an axis."""
    axis = attrs.get("axis", 1) % x.dim()
    return number if number.dim() == 0 else number.reshape([-1 if at == axis else 1 for at in range(x.dim())])


@operator("QuantizeLinear")
def quantize(run, node, attrs, x, scale, zero=None):
    """Whole numbers as floating-point ones, through which gradients pass where nothing saturates."""
    low, high = RANGES[torch.uint8 if zero is None else zero.dtype]
    scale = shaped(scale, x, attrs)
    shift = 0.0 if zero is None else shaped(zero, x, attrs).to(x.dtype)
    exact = x / scale
    rounded = torch.round(exact) + shift
    return torch.clamp(exact + (rounded - exact).detach(), low, high)


@operator("DequantizeLinear")
def dequantize(run, node, attrs, x, scale, zero=None):
    shift = 0.0 if zero is None else shaped(zero, x, attrs).to(scale.dtype)
    return (x - shift) * shaped(scale, x, attrs)


@operator("RotaryEmbedding")
def rotary_embedding(run, node, attrs, x, cosines, sines, places):
    is_flat = x.dim() == 3
    if is_flat:
        x = x.reshape(*x.shape[:2], attrs["num_heads"], -1).transpose(1, 2)
    dims = attrs.get("rotary_embedding_dim", 0) or x.shape[-1]
    cosines, sines = (cache[places][:, None] for cache in (cosines, sines))
    turned, kept = x[..., :dims], x[..., dims:]
    if attrs.get("interleaved", 0):
        a, b = turned[..., ::2], turned[..., 1::2]
        turned = torch.stack([cosines * a - sines * b, sines * a + cosines * b], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([cosines * a - sines * b, sines * a + cosines * b], -1)
    y = torch.cat([turned, kept], -1)
    return y.transpose(1, 2).flatten(2) if is_flat else y


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(run, node, attrs, scores, labels, weights=None):
    return likelihood(run, node, attrs, torch.log_softmax(scores, 1), labels, weights)


@operator("NegativeLogLikelihoodLoss")
def likelihood(run, node, attrs, logarithms, labels, weights=None):
    return F.nll_loss(logarithms, labels, weights, ignore_index=attrs.get("ignore_index", -100), reduction=attrs.get("reduction", "mean"))
