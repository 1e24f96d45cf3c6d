"""Cases of operators that are composed of others: reductions, resizing, transposed convolution, normalisation, padding, rearrangement."""
import numpy as np

CNHW, CNK = ["N", 4, 6, 5], ["N", 6]


def reductions(case, node, i):
    for op in ("Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp", "Prod"):
        name, positive = f"reduce_{op.lower()}", op == "LogSum"
        case(f"{name}_attribute", 11, CNHW, [node(f"Reduce{op}", ["x"], axes=[2, -1], keepdims=0)], positive=positive)
        case(f"{name}_input", 18, CNHW, [node(f"Reduce{op}", ["x", "a"])], dict(a=i(1)), positive=positive)
        case(f"{name}_middle", 18, ["N", 3, 5, 4], [node(f"Reduce{op}", ["x", "a"], keepdims=0)], dict(a=i(1, 2)), positive=positive)
    case("reduce_max_20", 20, CNHW, [node("ReduceMax", ["x", "a"], noop_with_empty_axes=1)], dict(a=i()), expect=lambda x, v: x)
    case("reduce_sum_square_noop", 18, CNHW, [node("ReduceSumSquare", ["x", "a"], noop_with_empty_axes=1)], dict(a=i()), expect=lambda x, v: x * x)
    case("reduce_log_sum_exp_large", 13, CNK, [node("Mul", ["x", "k"], ["z"]), node("ReduceLogSumExp", ["z"], axes=[1])],
         dict(k=np.full(1, 1e3, np.float32)), expect=lambda x, v: (m := (x * 1e3).max(1, keepdims=True)) + np.log(np.exp(x * 1e3 - m).sum(1, keepdims=True)))


def resizing(case, node, i):
    none, scales = np.zeros(0, np.float32), lambda *s: np.array([1, 1, *s], np.float32)
    size = ["N", 2, 6, 5]
    modes = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn"]
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for mode in modes[:5]:
            case(f"resize_nearest_{nearest}_{mode}", 19, size, [node("Resize", ["x", "", "s"], coordinate_transformation_mode=mode, nearest_mode=nearest)], dict(s=scales(1.5, 0.7)))
    for mode in modes[:5]:
        for kind in ("linear", "cubic"):
            case(f"resize_{kind}_{mode}", 19, size, [node("Resize", ["x", "", "s"], mode=kind, coordinate_transformation_mode=mode)], dict(s=scales(1.7, 0.5)))
    case("resize_double", 13, size, [node("Resize", ["x", "", "s"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], dict(s=scales(2, 3)))
    case("resize_double_linear", 11, size, [node("Resize", ["x", "r", "s"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel")], dict(r=none, s=scales(2, 2)))
    case("resize_sizes", 13, size, [node("Shape", ["x"], ["h"]), node("Slice", ["h", "b", "e"], ["n"]), node("Concat", ["n", "t"], ["z"], axis=0), node("Resize", ["x", "", "", "z"], mode="linear")],
         dict(b=i(0), e=i(2), t=i(9, 4)))
    case("resize_half", 13, ["N", 2, 6, 4], [node("Resize", ["x", "", "s"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")], dict(s=scales(0.5, 0.5)))
    case("resize_cubic_outside", 13, size, [node("Resize", ["x", "", "s"], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)], dict(s=scales(1.5, 0.8)))
    for kind in ("linear", "cubic"):
        case(f"resize_{kind}_antialias", 18, size, [node("Resize", ["x", "", "s"], mode=kind, antialias=1)], dict(s=scales(0.6, 0.4)))
        case(f"resize_{kind}_antialias_outside", 18, size, [node("Resize", ["x", "", "s"], mode=kind, antialias=1, exclude_outside=1)], dict(s=scales(0.6, 1.4)))
    for policy in ("not_larger", "not_smaller"):
        case(f"resize_{policy}", 18, size, [node("Resize", ["x", "", "", "z"], axes=[2, 3], mode="linear", keep_aspect_ratio_policy=policy)], dict(z=i(9, 9)))
    case("resize_1d", 13, ["N", 3, 7], [node("Resize", ["x", "", "s"], mode="linear")], dict(s=scales(2.5)))
    case("resize_10", 10, size, [node("Resize", ["x", "s"])], dict(s=scales(2, 1.5)))
    case("upsample_7", 7, size, [node("Upsample", ["x"], scales=[1.0, 1.0, 2.0, 2.0])])
    case("upsample_9", 9, size, [node("Upsample", ["x", "s"], mode="linear")], dict(s=scales(2, 2)))


def by_definition(x, w, dilations, output_padding):
    height, width = (x.shape[2 + d] + (w.shape[2 + d] - 1) * dilations[d] + output_padding[d] for d in (0, 1))
    y = np.zeros((x.shape[0], w.shape[1], height, width))
    for k in range(w.shape[2]):
        for l in range(w.shape[3]):
            top, left = k * dilations[0], l * dilations[1]
            y[:, :, top:top + x.shape[2], left:left + x.shape[3]] += np.einsum("nchw,cm->nmhw", x, w[:, :, k, l])
    return y


def transposed(case, node, f):
    forms = {
        "plain": dict(),
        "strided": dict(strides=[2, 3], pads=[1, 0, 0, 2], output_padding=[1, 2]),
        "dilated": dict(strides=[2, 1], dilations=[1, 2], pads=[1, 1, 1, 1]),
        "shape": dict(strides=[3, 2], output_shape=[17, 11]),
        "shape_upper": dict(strides=[3, 2], output_shape=[17, 10], auto_pad="SAME_UPPER"),
        "upper": dict(strides=[2, 2], auto_pad="SAME_UPPER"),
        "lower": dict(strides=[2, 2], auto_pad="SAME_LOWER"),
        "valid": dict(strides=[2, 2], auto_pad="VALID", kernel_shape=[3, 2]),
    }
    for name, attributes in forms.items():
        case(f"conv_transpose_{name}", 11, CNHW, [node("ConvTranspose", ["x", "w", "b"], **attributes)], dict(w=f(4, 3, 3, 2), b=f(3)))
    # onnxruntime takes no padding of the output that is wider than the stride, PyTorch does where dilations are as wide.
    case("conv_transpose_padded_much", 11, CNHW, [node("ConvTranspose", ["x", "w"], dilations=[2, 3], output_padding=[1, 2])], dict(w=f(4, 3, 3, 2)),
         expect=lambda x, v: by_definition(x, v["w"], (2, 3), (1, 2)))
    case("conv_transpose_groups", 22, CNHW, [node("ConvTranspose", ["x", "w"], group=2, strides=[2, 2])], dict(w=f(4, 3, 2, 2)))
    case("conv_transpose_depthwise", 11, CNHW, [node("ConvTranspose", ["x", "w"], group=4, strides=[2, 2], pads=[1, 1, 1, 1])], dict(w=f(4, 1, 4, 4)))
    case("conv_transpose_1d", 11, ["N", 3, 7], [node("ConvTranspose", ["x", "w", "b"], strides=[2], pads=[1, 0], output_padding=[1])], dict(w=f(3, 4, 3), b=f(4)))


def normalisation(case, node, f, i):
    case("instance_norm", 6, CNHW, [node("InstanceNormalization", ["x", "s", "b"], epsilon=0.01)], dict(s=f(4), b=f(4)))
    case("instance_norm_1d", 22, ["N", 3, 7], [node("InstanceNormalization", ["x", "s", "b"])], dict(s=f(3), b=f(3)))
    plain = [node("Constant", [], ["s"], value_floats=[1.0] * 4), node("Constant", [], ["b"], value_floats=[0.0] * 4)]
    case("instance_norm_plain", 13, CNHW, [*plain, node("InstanceNormalization", ["x", "s", "b"])])
    case("group_norm_18", 18, CNHW, [node("GroupNormalization", ["x", "s", "b"], num_groups=2)], dict(s=f(2), b=f(2)))
    case("group_norm_21", 21, CNHW, [node("GroupNormalization", ["x", "s", "b"], num_groups=2, epsilon=0.1)], dict(s=f(4), b=f(4)))
    steps = lambda axes: [node("ReduceMean", ["x"], ["m"], axes=axes), node("Sub", ["x", "m"], ["c"]), node("Constant", [], ["two"], value_float=2.0),
                          node("Pow", ["c", "two"], ["q"]), node("ReduceMean", ["q"], ["v"], axes=axes), node("Constant", [], ["e"], value_float=0.01),
                          node("Add", ["v", "e"], ["a"]), node("Sqrt", ["a"], ["r"]), node("Div", ["c", "r"], ["n"]), node("Mul", ["n", "s"], ["z"])]
    case("layer_norm_written_out", 13, ["N", 3, 6], [*steps([-1]), node("Add", ["z", "b"])], dict(s=f(6), b=f(6)))
    case("layer_norm_written_out_axes", 11, ["N", 3, 6], [*steps([1, 2]), node("Add", ["b", "z"])], dict(s=f(3, 6), b=f(3, 6)))
    case("layer_norm_written_out_else", 13, ["N", 3, 6], [*steps([1]), node("Add", ["z", "b"])], dict(s=f(6), b=f(6)))
    case("rms_norm", 23, ["N", 3, 6], [node("RMSNormalization", ["x", "s"], epsilon=0.01)], dict(s=f(6)),
         expect=lambda x, v: x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.01) * v["s"])
    case("rms_norm_axis", 23, ["N", 3, 6], [node("RMSNormalization", ["x", "s"], axis=1)], dict(s=f(3, 6)),
         expect=lambda x, v: x / np.sqrt((x * x).mean((1, 2), keepdims=True) + 1e-5) * v["s"])
    case("lp_norm_1", 1, CNHW, [node("LpNormalization", ["x"], axis=1, p=1)])
    case("lp_norm_2", 22, CNHW, [node("LpNormalization", ["x"])])
    case("mean_variance", 13, CNHW, [node("MeanVarianceNormalization", ["x"], axes=[1, 3])],
         expect=lambda x, v: (x - x.mean((1, 3), keepdims=True)) / (x.std((1, 3), keepdims=True) + 1e-9))
    case("lrn", 13, CNHW, [node("LRN", ["x"], size=3, alpha=0.5, beta=0.6, bias=1.5)])
    # onnxruntime takes no even sizes.
    sums = lambda x: sum(np.pad(x * x, [(0, 0), (1, 2), (0, 0), (0, 0)])[:, k:k + 4] for k in range(4))
    case("lrn_even", 13, CNHW, [node("LRN", ["x"], size=4, alpha=0.5)], expect=lambda x, v: x / (1 + 0.5 / 4 * sums(x)) ** 0.75)


def padding(case, node, i):
    pads = i(0, 0, 1, 2, 0, 1, 3, 0)
    for mode in ("reflect", "edge", "wrap"):
        case(f"pad_{mode}", 19, CNHW, [node("Pad", ["x", "p"], mode=mode)], dict(p=pads))
    case("pad_value", 13, CNHW, [node("Pad", ["x", "p", "v"])], dict(p=pads, v=np.array(1.5, np.float32)))
    case("pad_value_attribute", 2, CNHW, [node("Pad", ["x"], pads=[0, 1, 0, 0, 0, 0, 2, 0], value=-0.5)])
    case("pad_negative", 13, CNHW, [node("Pad", ["x", "p"])], dict(p=i(0, -1, 1, 0, 0, 0, -2, 0)))
    case("pad_cropped", 13, CNHW, [node("Pad", ["x", "p"])], dict(p=i(0, -1, 0, -1, 0, 0, -2, 0)))
    case("pad_axes", 18, CNHW, [node("Pad", ["x", "p", "", "a"], mode="reflect")], dict(p=i(2, 1), a=i(-1)))


def rearranged(case, node, f, i):
    constant = lambda *shape: node("Constant", [], ["c"], value=__import__("onnx").numpy_helper.from_array(f(*shape)))
    sized = [node("Shape", ["x"], ["h"], start=0, end=1), node("Concat", ["h", "r"], ["z"], axis=0)]
    case("tile", 13, CNHW, [node("Tile", ["x", "r"])], dict(r=i(1, 2, 1, 3)))
    case("tile_constant", 15, CNK, [constant(1, 6), *sized, node("Tile", ["c", "z"], ["t"]), node("Add", ["x", "t"])], dict(r=i(1)))
    case("expand_constant", 15, CNK, [constant(1, 6), *sized, node("Expand", ["c", "z"], ["t"]), node("Mul", ["x", "t"])], dict(r=i(6)))
    case("prelu_constant", 16, CNHW, [constant(6, 5), node("PRelu", ["x", "c"])])
    for mode in ("DCR", "CRD"):
        case(f"depth_to_space_{mode.lower()}", 13, ["N", 8, 3, 2], [node("DepthToSpace", ["x"], blocksize=2, mode=mode)])
    case("space_to_depth", 13, ["N", 2, 6, 4], [node("SpaceToDepth", ["x"], blocksize=2)])
    case("trilu", 14, ["N", 4, 5], [node("Trilu", ["x", "k"], upper=0)], dict(k=np.array(1, np.int64)))
    case("trilu_upper", 14, ["N", 4, 5], [node("Trilu", ["x"])])
    for exclusive in (0, 1):
        for reverse in (0, 1):
            case(f"cumsum_{exclusive}_{reverse}", 14, CNHW, [node("CumSum", ["x", "a"], exclusive=exclusive, reverse=reverse)], dict(a=np.array(2 - reverse * 3, np.int64)))
    case("mean_two", 13, CNK, [node("Relu", ["x"], ["r"]), node("Mean", ["x", "r"])])
    case("mean_broadcast", 13, CNK, [node("Mean", ["x", "a"])], dict(a=f(6)))


def norms_of_windows(case, node):
    case("lp_pool", 18, CNHW, [node("LpPool", ["x"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1])])
    case("lp_pool_3", 11, CNHW, [node("LpPool", ["x"], kernel_shape=[2, 2], p=3)])
    case("lp_pool_1d", 18, ["N", 2, 7], [node("LpPool", ["x"], kernel_shape=[3], p=1, dilations=[2])])
    case("lp_pool_ceil", 18, CNHW, [node("LpPool", ["x"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)])
    case("global_lp_pool", 2, CNHW, [node("GlobalLpPool", ["x"], p=3)])
    case("global_lp_pool_2", 13, CNHW, [node("GlobalLpPool", ["x"])])


def volumes(case, node, f):
    size = ["N", 4, 5, 6, 4]
    case("conv_3d", 11, size, [node("Conv", ["x", "w", "b"], strides=[2, 1, 1], pads=[1, 0, 1, 0, 1, 0], dilations=[1, 2, 1])], dict(w=f(6, 4, 3, 2, 2), b=f(6)))
    case("conv_3d_groups", 11, size, [node("Conv", ["x", "w"], group=2, auto_pad="SAME_UPPER")], dict(w=f(2, 2, 1, 3, 3)))
    case("max_pool_3d", 12, size, [node("MaxPool", ["x"], kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 1, 0, 0, 1, 0])])
    case("max_pool_3d_ceil", 12, size, [node("MaxPool", ["x"], kernel_shape=[2, 2, 2], strides=[2, 2, 2], ceil_mode=1)])
    for count in (0, 1):
        case(f"average_pool_3d_{count}", 19, size, [node("AveragePool", ["x"], kernel_shape=[2, 3, 2], strides=[1, 2, 1], pads=[1, 1, 0, 0, 1, 0], count_include_pad=count)])
    for name, attributes in {"plain": dict(), "strided": dict(strides=[2, 1, 2], pads=[1, 0, 1, 0, 1, 1], output_padding=[1, 0, 1]), "dilated": dict(strides=[3, 2, 1], dilations=[2, 1, 2])}.items():
        case(f"conv_transpose_3d_{name}", 11, ["N", 4, 3, 4, 2], [node("ConvTranspose", ["x", "w", "b"], group=2, **attributes)], dict(w=f(4, 2, 3, 2, 2), b=f(4)))
    case("conv_transpose_3d_flat", 11, ["N", 4, 3, 4, 2], [node("ConvTranspose", ["x", "w"])], dict(w=f(4, 2, 1, 2, 2)))
    case("global_max_pool_3d", 17, size, [node("GlobalMaxPool", ["x"])])
    case("global_average_pool_3d", 17, size, [node("GlobalAveragePool", ["x"])])


def add(case, node, f, i):
    reductions(case, node, i)
    resizing(case, node, i)
    transposed(case, node, f)
    normalisation(case, node, f, i)
    padding(case, node, i)
    rearranged(case, node, f, i)
    norms_of_windows(case, node)
    volumes(case, node, f)
