"""ONNX operators that bitbudget composes of others, in PyTorch: reductions, resizing, transposed convolution, normalisation, padding."""

import math

import torch
import torch.nn.functional as F

from peer import TABLE, operator, reduction

TABLE["ReduceMax"] = reduction(lambda x, axes, keep: x.amax(dim=axes, keepdim=keep))
TABLE["ReduceMin"] = reduction(lambda x, axes, keep: x.amin(dim=axes, keepdim=keep))
TABLE["ReduceL1"] = reduction(lambda x, axes, keep: x.abs().sum(dim=axes, keepdim=keep))
TABLE["ReduceL2"] = reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep))
TABLE["ReduceSumSquare"] = reduction(lambda x, axes, keep: (x * x).sum(dim=axes, keepdim=keep))
TABLE["ReduceLogSum"] = reduction(lambda x, axes, keep: x.sum(dim=axes, keepdim=keep).log())
TABLE["ReduceLogSumExp"] = reduction(lambda x, axes, keep: torch.logsumexp(x, dim=axes, keepdim=keep))


def product(x, axes, keep):
    for axis in sorted(axes, reverse=True):
        x = x.prod(dim=axis, keepdim=keep)
    return x


TABLE["ReduceProd"] = reduction(product)


@operator("Resize")
def resize(run, node, attrs, x, roi=None, scales=None, sizes=None):
    if run.opset < 11:
        scales, coordinates = roi, "asymmetric"
    else:
        coordinates = attrs.get("coordinate_transformation_mode", "half_pixel")
    mode = attrs.get("mode", "nearest")
    names = {"linear": ["", "linear", "bilinear"], "cubic": ["", "", "bicubic"], "nearest": ["", "nearest", "nearest"]}
    attributes = {} if mode == "nearest" else {"align_corners": coordinates == "align_corners"}
    mode = names[mode][x.dim() - 2]
    if sizes is not None:
        return F.interpolate(x, size=sizes.tolist()[2:], mode=mode, **attributes)
    sizes = [math.floor(n * s) for n, s in zip(x.shape[2:], scales.float().tolist()[2:])]
    factors = None if attributes.get("align_corners") else tuple(scales.tolist()[2:])
    if factors is None:
        return F.interpolate(x, size=sizes, mode=mode, **attributes)
    return F.interpolate(x, scale_factor=factors, mode=mode, recompute_scale_factor=False, **attributes)


@operator("ConvTranspose")
def conv_transpose(run, node, attrs, x, weight, bias=None):
    rank = x.dim() - 2
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    extra, pads = attrs.get("output_padding", [0] * rank), attrs.get("pads", [0] * 2 * rank)
    function = F.conv_transpose2d if rank == 2 else F.conv_transpose1d
    y = function(x, weight.contiguous(), None, strides, 0, 0, attrs.get("group", 1), dilations)
    y = F.pad(y, [n for d in reversed(range(rank)) for n in (-pads[d], extra[d] - pads[rank + d])])
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


@operator("InstanceNormalization")
def instance_normalization(run, node, attrs, x, scale, bias):
    return F.instance_norm(x, weight=scale, bias=bias, eps=attrs.get("epsilon", 1e-5))


@operator("GroupNormalization")
def group_normalization(run, node, attrs, x, scale, bias):
    return F.group_norm(x, attrs["num_groups"], scale, bias, attrs.get("epsilon", 1e-5))


@operator("RMSNormalization")
def rms_normalization(run, node, attrs, x, scale):
    axes = list(range(attrs.get("axis", -1) % x.dim(), x.dim()))
    return x / torch.sqrt((x * x).mean(dim=axes, keepdim=True) + attrs.get("epsilon", 1e-5)) * scale


@operator("LpNormalization")
def lp_normalization(run, node, attrs, x):
    return F.normalize(x, p=attrs.get("p", 2), dim=attrs.get("axis", -1))


@operator("LRN")
def local_response_normalization(run, node, attrs, x):
    return F.local_response_norm(x, attrs["size"], attrs.get("alpha", 1e-4), attrs.get("beta", 0.75), attrs.get("bias", 1.0))


@operator("Tile")
def tile(run, node, attrs, x, repeats):
    return x.repeat(repeats.tolist())


@operator("DepthToSpace")
def depth_to_space(run, node, attrs, x):
    n, c, h, w = x.shape
    b = attrs["blocksize"]
    if attrs.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(run, node, attrs, x):
    n, c, h, w = x.shape
    b = attrs["blocksize"]
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


@operator("Trilu")
def trilu(run, node, attrs, x, k=None):
    function = torch.triu if attrs.get("upper", 1) else torch.tril
    return function(x, 0 if k is None else int(k))


@operator("CumSum")
def cumulative_sum(run, node, attrs, x, axis):
    axis = int(axis)
    x = x.flip(axis) if attrs.get("reverse", 0) else x
    y = x.cumsum(axis)
    y = y - x if attrs.get("exclusive", 0) else y
    return y.flip(axis) if attrs.get("reverse", 0) else y


@operator("Mean")
def mean(run, node, attrs, *terms):
    return sum(terms[1:], terms[0]) / len(terms)


@operator("LpPool")
def lp_pool(run, node, attrs, x):
    rank, p = x.dim() - 2, attrs.get("p", 2)
    pads = attrs.get("pads", [0] * 2 * rank)
    x = F.pad(x.abs() ** p, [n for d in reversed(range(rank)) for n in (pads[d], pads[rank + d])])
    function = F.avg_pool2d if rank == 2 else F.avg_pool1d
    kernel = attrs["kernel_shape"]
    return (function(x, kernel, attrs.get("strides", [1] * rank)) * math.prod(kernel)) ** (1 / p)


@operator("GlobalLpPool")
def global_lp_pool(run, node, attrs, x):
    return torch.linalg.vector_norm(x, attrs.get("p", 2), dim=list(range(2, x.dim())), keepdim=True)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(run, node, attrs, x):
    axes = attrs["axes"]
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / ((centred**2).mean(dim=axes, keepdim=True).sqrt() + 1e-9)


@operator("Upsample")
def upsample(run, node, attrs, x, scales=None):
    scales = attrs["scales"] if scales is None else scales.tolist()
    for axis, factor in enumerate(scales):
        x = x.repeat_interleave(int(factor), dim=axis)
    return x
