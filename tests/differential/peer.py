"""ONNX operators in PyTorch, written from the operators' definitions (https://onnx.ai/onnx/operators)."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

TABLE = {}


def operator(*names):
    def register(function):
        TABLE.update({name: function for name in names})
        return function

    return register


class Run:
    """How nodes are computed: the operator set, the floating-point type, and the running statistics, which training changes."""

    def __init__(self, opset, dtype, training):
        self.opset, self.dtype, self.training = opset, dtype, training
        self.statistics, self.initial, self.owners = {}, {}, {}

    def statistic(self, node, position, initial):
        """The name of a running statistic: its initializer's, or the node's where another node has that already."""
        name, what = node.input[position], ("running_mean", "running_var")[position - 3]
        owner = self.owners.setdefault(name, (node.output[0], position))
        key = name if owner == (node.output[0], position) else f"{node.name or node.output[0]}.{what}"
        self.initial.setdefault(key, initial.detach().clone())
        self.statistics.setdefault(key, initial.detach().clone())
        return key


def attributes(node):
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def tensor(proto, dtype):
    array = torch.from_numpy(np.array(numpy_helper.to_array(proto)))
    return array.to(dtype) if array.is_floating_point() else array


def compute(node, values, run):
    """Computes one node; `values` holds tensors (or lists of tensors) by name, and gets the results."""
    inputs = [values[name] if name else None for name in node.input]
    results = TABLE[node.op_type](run, node, attributes(node), *inputs)
    results = results if isinstance(results, tuple) else (results,)
    values.update({name: result for name, result in zip(node.output, results) if name})


def axes_of(given, attrs, x):
    axes = attrs.get("axes") if given is None else given.tolist()
    return None if axes is None else [a % x.dim() for a in np.atleast_1d(axes).tolist()]


# --- convolution, pooling


def windows(attrs, kernel, sizes, ceil):
    """Strides, pads and dilations per dimension, and how far the last window hangs over the padded input."""
    rank = len(kernel)
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    pads = attrs.get("pads", [0] * 2 * rank)
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(sizes, strides, extents)]
        less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
        pads = less + more if auto == "SAME_UPPER" else more + less
    if auto != "NOTSET":
        pads, ceil = (pads if auto != "VALID" else [0] * 2 * rank), ceil and auto == "VALID"
    over = []
    for d in range(rank):
        room = sizes[d] + pads[d] + pads[d + rank] - extents[d]
        assert room >= 0, "the window does not fit"
        count = room // strides[d] + 1
        # A window that would start in the padding at the end is left out.
        if ceil and room % strides[d] and count * strides[d] < sizes[d] + pads[d]:
            count += 1
        over.append(max((count - 1) * strides[d] - room, 0))
    return strides, pads, dilations, over


def padded(x, pads, over, value):
    rank = len(pads) // 2
    ends = [p + o for p, o in zip(pads[rank:], over)]
    return F.pad(x, [n for d in reversed(range(rank)) for n in (pads[d], ends[d])], value=value)


@operator("Conv")
def conv(run, node, attrs, x, weight, bias=None):
    kernel = list(weight.shape[2:])
    strides, pads, dilations, _ = windows(attrs, kernel, x.shape[2:], False)
    function = F.conv2d if len(kernel) == 2 else F.conv1d
    x = padded(x, pads, [0] * len(kernel), 0.0)
    # The gradient of a weight in another order of memory is an error there.
    return function(x, weight.contiguous(), bias, strides, 0, dilations, attrs.get("group", 1))


@operator("MaxPool")
def max_pool(run, node, attrs, x):
    kernel = attrs["kernel_shape"]
    strides, pads, dilations, over = windows(attrs, kernel, x.shape[2:], attrs.get("ceil_mode", 0))
    function = F.max_pool2d if len(kernel) == 2 else F.max_pool1d
    return function(padded(x, pads, over, -math.inf), kernel, strides, 0, dilations)


@operator("AveragePool")
def average_pool(run, node, attrs, x):
    kernel = attrs["kernel_shape"]
    strides, pads, dilations, over = windows(attrs, kernel, x.shape[2:], attrs.get("ceil_mode", 0))
    nothing, rank = [0] * len(kernel), len(kernel)
    ones = torch.ones_like(x[:1, :1])
    counted = padded(ones, pads, nothing, 1.0 if attrs.get("count_include_pad", 0) else 0.0)
    counted = padded(counted, [0] * 2 * rank, over, 0.0)
    function = F.conv2d if rank == 2 else F.conv1d
    taps = torch.ones([1, 1, *kernel], dtype=x.dtype)
    channels = x.shape[1]
    total = function(padded(x, pads, over, 0.0), taps.expand(channels, *taps.shape[1:]), None, strides, 0, dilations, channels)
    return total / function(counted, taps, None, strides, 0, dilations)


@operator("GlobalAveragePool")
def global_average_pool(run, node, attrs, x):
    return x.mean(dim=list(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(run, node, attrs, x):
    function = F.max_pool2d if x.dim() == 4 else F.max_pool1d
    return function(x, x.shape[2:])


@operator("LayerNormalization")
def layer_normalization(run, node, attrs, x, scale, bias=None):
    axes = list(range(attrs.get("axis", -1) % x.dim(), x.dim()))
    centred = x - x.mean(axes, keepdim=True)
    y = centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + attrs.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


@operator("BatchNormalization")
def batch_normalization(run, node, attrs, x, scale, bias, mean, variance):
    epsilon, momentum = attrs.get("epsilon", 1e-5), round(1.0 - attrs.get("momentum", 0.9), 7)
    if not run.training:
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
    mean, variance = (run.statistic(node, position, given) for position, given in ((3, mean), (4, variance)))
    mean, variance = run.statistics[mean], run.statistics[variance]
    # Not by F.batch_norm, whose gradients are wrong for strides such as those of a transposition with a dimension of one element.
    axes = [axis for axis in range(x.dim()) if axis != 1]
    count = x.numel() // x.shape[1]
    own, spread = x.mean(axes), x.var(axes, unbiased=False)
    with torch.no_grad():
        mean += momentum * (own - mean)
        variance += momentum * (spread * count / max(count - 1, 1) - variance)
    along = lambda vector: vector.reshape([-1 if axis == 1 else 1 for axis in range(x.dim())])
    return (x - along(own)) / along(spread + epsilon).sqrt() * along(scale) + along(bias)


# --- products


@operator("Gemm")
def gemm(run, node, attrs, a, b, c=None):
    a, b = (a.T if attrs.get("transA", 0) else a), (b.T if attrs.get("transB", 0) else b)
    y = attrs.get("alpha", 1.0) * (a @ b)
    return y if c is None else y + attrs.get("beta", 1.0) * c


@operator("MatMul")
def matmul(run, node, attrs, a, b):
    return a @ b


@operator("Einsum")
def einsum(run, node, attrs, *operands):
    return torch.einsum(attrs["equation"], *operands)


@operator("Attention")
def attention(run, node, attrs, q, k, v, mask=None):
    is_flat = q.dim() == 3
    if is_flat:
        split = lambda x, heads: x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
        q, k, v = split(q, attrs["q_num_heads"]), split(k, attrs["kv_num_heads"]), split(v, attrs["kv_num_heads"])
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q @ k.transpose(2, 3) * attrs.get("scale", q.shape[3] ** -0.5)
    if attrs.get("softcap", 0.0):
        scores = attrs["softcap"] * torch.tanh(scores / attrs["softcap"])
    if mask is not None:
        scores = scores + mask
    distance = torch.arange(scores.shape[2])[:, None] - torch.arange(scores.shape[3])
    before, after = attrs.get("left_window_size", -1), attrs.get("right_window_size", -1)
    hidden = (distance < 0) & bool(attrs.get("is_causal", 0)) | (before >= 0) & (distance > before) | (after >= 0) & (-distance > after)
    y = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v
    return y.transpose(1, 2).flatten(2) if is_flat else y


# --- elementwise


def unary(name, function):
    TABLE[name] = lambda run, node, attrs, x: function(x)


for name, function in {
    "Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal, "Neg": torch.neg, "Identity": lambda x: x, "Floor": torch.floor, "Ceil": torch.ceil, "Not": torch.logical_not,
    "Abs": torch.abs, "Sign": torch.sign, "Sin": torch.sin, "Cos": torch.cos, "Erf": torch.erf, "Softsign": F.softsign, "Mish": F.mish,
    "Softplus": F.softplus,
}.items():
    unary(name, function)


def binary(name, function):
    TABLE[name] = lambda run, node, attrs, a, b: function(a, b)


def divide(a, b):
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


for name, function in {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": divide, "Equal": torch.eq, "Greater": torch.gt, "Less": torch.lt,
}.items():
    binary(name, function)


@operator("Elu")
def elu(run, node, attrs, x):
    return F.elu(x, attrs.get("alpha", 1.0))


@operator("Selu")
def selu(run, node, attrs, x):
    return attrs.get("gamma", 1.0507009873554805) * F.elu(x, attrs.get("alpha", 1.6732632423543772))


@operator("Celu")
def celu(run, node, attrs, x):
    return F.celu(x, attrs.get("alpha", 1.0))


@operator("Swish")
def swish(run, node, attrs, x):
    return x * torch.sigmoid(attrs.get("alpha", 1.0) * x)


@operator("ThresholdedRelu")
def thresholded_relu(run, node, attrs, x):
    return F.threshold(x, attrs.get("alpha", 1.0), 0.0)


@operator("PRelu")
def prelu(run, node, attrs, x, slope):
    return torch.where(x > 0, x, slope * x)


@operator("Pow")
def power(run, node, attrs, x, exponent):
    return x.sqrt() if x.is_floating_point() and exponent.numel() == 1 and exponent.item() == 0.5 else x.pow(exponent)


@operator("LeakyRelu")
def leaky_relu(run, node, attrs, x):
    return F.leaky_relu(x, attrs.get("alpha", 0.01))


@operator("Gelu")
def gelu(run, node, attrs, x):
    return F.gelu(x, approximate=attrs.get("approximate", "none"))


@operator("Clip")
def clip(run, node, attrs, x, low=None, high=None):
    low = attrs.get("min") if low is None else low.item()
    high = attrs.get("max") if high is None else high.item()
    return x if low is None and high is None else x.clamp(low, high)


@operator("HardSigmoid")
def hard_sigmoid(run, node, attrs, x):
    return (attrs.get("alpha", 0.2) * x + attrs.get("beta", 0.5)).clamp(0.0, 1.0)


@operator("HardSwish")
def hard_swish(run, node, attrs, x):
    return x * (x / 6 + 0.5).clamp(0.0, 1.0)


def along(run, attrs, x, function):
    if run.opset >= 13:
        return function(x, attrs.get("axis", -1))
    axis = attrs.get("axis", 1) % x.dim()
    return function(x.flatten(axis), -1).reshape(x.shape)


@operator("Softmax")
def softmax(run, node, attrs, x):
    return along(run, attrs, x, torch.softmax)


@operator("LogSoftmax")
def log_softmax(run, node, attrs, x):
    return along(run, attrs, x, torch.log_softmax)


@operator("Dropout")
def dropout(run, node, attrs, x, *rest):
    return x


@operator("Sum")
def total(run, node, attrs, *terms):
    return sum(terms[1:], start=terms[0])


@operator("Min")
def minimum(run, node, attrs, *terms):
    return extreme(terms, torch.minimum)


@operator("Max")
def maximum(run, node, attrs, *terms):
    return extreme(terms, torch.maximum)


def extreme(terms, function):
    # A known number is a clip: where both are equal, the gradient is the tensor's.
    x, bound = sorted(terms, key=lambda t: t.numel(), reverse=True)[:2] if len(terms) == 2 else (None, None)
    if bound is not None and x.requires_grad and bound.numel() == 1 and not bound.requires_grad:
        return x.clamp(max=bound.item()) if function is torch.minimum else x.clamp(min=bound.item())
    best = terms[0]
    for other in terms[1:]:
        best = function(best, other)
    return best


@operator("Mod")
def modulo(run, node, attrs, a, b):
    return torch.fmod(a, b) if attrs.get("fmod", 0) else torch.remainder(a, b)


@operator("Where")
def where(run, node, attrs, condition, a, b):
    return torch.where(condition, a, b)


# --- parts and joins


@operator("Concat")
def concat(run, node, attrs, *parts):
    return torch.cat(parts, dim=attrs["axis"])


@operator("Slice")
def slice_(run, node, attrs, x, starts=None, ends=None, axes=None, steps=None):
    starts = attrs["starts"] if starts is None else starts.tolist()
    ends = attrs["ends"] if ends is None else ends.tolist()
    axes = attrs.get("axes", list(range(len(starts)))) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    for start, end, axis, step in zip(starts, ends, axes, steps):
        size = x.shape[axis]
        first, last = (i + size if i < 0 else i for i in (start, end))
        if step > 0:
            indices = range(min(max(first, 0), size), min(max(last, 0), size), step)
        else:
            indices = range(min(max(first, 0), size - 1), min(max(last, -1), size - 1), step)
        x = x.index_select(axis, torch.tensor(list(indices), dtype=torch.long))
    return x


@operator("Gather")
def gather(run, node, attrs, x, indices):
    axis = attrs.get("axis", 0) % x.dim()
    flat = torch.remainder(indices, x.shape[axis]).reshape(-1)
    return x.index_select(axis, flat).reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]])


@operator("Pad")
def pad(run, node, attrs, x, pads=None, value=None, axes=None):
    pads = attrs["pads"] if pads is None else pads.tolist()
    axes = list(range(x.dim())) if axes is None else [a % x.dim() for a in axes.tolist()]
    begin, end = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = pads[i], pads[len(axes) + i]
    value = attrs.get("value", 0.0) if value is None else value.item()
    mode = attrs.get("mode", "constant")
    if mode != "constant":
        pads = [n for d in reversed(range(2, x.dim())) for n in (begin[d], end[d])]
        return F.pad(x, pads, mode={"edge": "replicate", "wrap": "circular"}.get(mode, mode))
    return F.pad(x, [n for d in reversed(range(x.dim())) for n in (begin[d], end[d])], value=value)


@operator("Split")
def split(run, node, attrs, x, sizes=None):
    axis, parts = attrs.get("axis", 0), len(node.output)
    sizes = attrs.get("split") if sizes is None else sizes.tolist()
    if sizes is None:
        each = -(-x.shape[axis] // parts)
        sizes = [max(min(each, x.shape[axis] - i * each), 0) for i in range(parts)]
    return tuple(torch.split(x, sizes, dim=axis))


@operator("SplitToSequence")
def split_to_sequence(run, node, attrs, x, sizes=None):
    axis = attrs.get("axis", 0)
    if sizes is None:
        parts = torch.split(x, 1, dim=axis)
        return ([p if attrs.get("keepdims", 1) else p.squeeze(axis) for p in parts],)
    return (list(torch.split(x, sizes.item() if sizes.dim() == 0 else sizes.tolist(), dim=axis)),)


@operator("SequenceAt")
def sequence_at(run, node, attrs, parts, position):
    return parts[position.item()]


# --- shapes


@operator("Reshape")
def reshape(run, node, attrs, x, shape):
    shape = shape.tolist()
    return x.reshape([x.shape[i] if d == 0 and not attrs.get("allowzero", 0) else d for i, d in enumerate(shape)])


@operator("Flatten")
def flatten(run, node, attrs, x):
    axis = attrs.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Squeeze")
def squeeze(run, node, attrs, x, axes=None):
    axes = axes_of(axes, attrs, x)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operator("Unsqueeze")
def unsqueeze(run, node, attrs, x, axes=None):
    axes = attrs["axes"] if axes is None else axes.tolist()
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Transpose")
def transpose(run, node, attrs, x):
    return x.permute(attrs.get("perm", list(reversed(range(x.dim())))))


@operator("Expand")
def expand(run, node, attrs, x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, shape.tolist()))


def reduction(function):
    def reduce(run, node, attrs, x, axes=None):
        axes = axes_of(axes, attrs, x)
        if not axes:
            if attrs.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.dim()))
        return function(x, axes, bool(attrs.get("keepdims", 1)))

    return reduce


TABLE["ReduceMean"] = reduction(lambda x, axes, keep: x.mean(dim=axes, keepdim=keep))
TABLE["ReduceSum"] = reduction(lambda x, axes, keep: x.sum(dim=axes, keepdim=keep))


# --- known values


@operator("Constant")
def constant(run, node, attrs):
    (name, value), = attrs.items()
    if name == "value":
        return tensor(value, run.dtype)
    return torch.tensor(value, dtype=run.dtype if "float" in name else torch.int64)


@operator("Shape")
def shape(run, node, attrs, x):
    return torch.tensor(list(x.shape)[attrs.get("start", 0):attrs.get("end", x.dim())], dtype=torch.int64)


@operator("Size")
def size(run, node, attrs, x):
    return torch.tensor(x.numel(), dtype=torch.int64)


def as_type(run, x, kind):
    # A cast between floating-point types changes nothing here: formats are chosen later.
    types = {1: run.dtype, 10: run.dtype, 11: run.dtype, 16: run.dtype, 6: torch.int64, 7: torch.int64, 9: torch.bool}
    return x.to(types[kind])


@operator("Cast")
def cast(run, node, attrs, x):
    return as_type(run, x, attrs["to"])


@operator("CastLike")
def cast_like(run, node, attrs, x, like):
    return x.to(like.dtype)


@operator("ConstantOfShape")
def constant_of_shape(run, node, attrs, shape):
    value = tensor(attrs["value"], run.dtype) if "value" in attrs else torch.zeros(1, dtype=run.dtype)
    return value.reshape([]).expand(shape.tolist()).clone()


@operator("Range")
def range_(run, node, attrs, start, limit, delta):
    return torch.arange(start.item(), limit.item(), delta.item())


import peer_choices  # noqa: E402,F401: its operators, which need those above
import peer_composed  # noqa: E402,F401
import peer_recurrent  # noqa: E402,F401
