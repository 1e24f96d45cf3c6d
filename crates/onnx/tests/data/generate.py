#!/usr/bin/env python3
"""Writes the small models of this folder and `cases.json`, with inputs and expected outputs.

    python -m venv .venv && .venv/bin/pip install onnx onnxruntime numpy && .venv/bin/python generate.py

Outputs are those of onnxruntime, or of onnx's reference implementation where onnxruntime lacks a form; batch
normalisation is computed with the statistics of the batch, as in training.
"""
import json, pathlib
import composed
import logic
import numpy as np, onnx, onnxruntime
import recurrent
import spectra
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnx.reference import ReferenceEvaluator

FOLDER = pathlib.Path(__file__).parent
rng = np.random.default_rng(1)
cases = []
CNHW, CNK = ["N", 4, 6, 5], ["N", 6]


def f(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).round(3).astype(np.float32)


def i(*values):
    return np.array(values, np.int64)


def node(op, inputs, outputs=("y",), **attributes):
    return h.make_node(op, list(inputs), list(outputs), name=attributes.pop("name", ""), **attributes)


def case(name, opset, shape, nodes, init=None, out="y", expect=None, ir=None, batch=3, positive=False, listed=False):
    """One model: `init` are initializers by name (arrays or TensorProtos); `listed` puts them among the inputs too."""
    tensors = [a if isinstance(a, T) else nh.from_array(a, k) for k, a in (init or {}).items()]
    inputs = [h.make_tensor_value_info("x", T.FLOAT, shape)]
    if listed:
        inputs += [h.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    graph = h.make_graph(nodes, name, inputs, [h.make_tensor_value_info(out, T.FLOAT, None)], tensors)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], producer_name="generate.py")
    model.ir_version = ir or {1: 3, 3: 3, 4: 3, 5: 3, 6: 3, 7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9}.get(opset, 10)
    size = [batch if isinstance(d, str) else d for d in shape]
    x = f(*size)
    x = np.abs(x) + 0.1 if positive else x
    if expect is not None:
        y = expect(x.astype(np.float64), {k: nh.to_array(t).astype(np.float64) for k, t in zip([t.name for t in tensors], tensors)})
    else:
        try:
            y = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        except Exception as e:
            print(f"{name}: reference implementation ({str(e)[:80]})")
            y = ReferenceEvaluator(model).run(None, {"x": x})[0]
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    cases.append(dict(name=name, batch=batch if "N" in shape else size[0], input=[float(v) for v in x.ravel()], shape=list(y.shape),
                      output=[float(np.float32(v)) for v in np.asarray(y).ravel()]))


# Convolution.
w = f(6, 4, 3, 3)
case("conv", 17, CNHW, [node("Conv", ["x", "w", "b"], pads=[1, 0, 0, 2], strides=[2, 1], dilations=[1, 2])], dict(w=w, b=f(6)))
case("conv_groups", 11, CNHW, [node("Conv", ["x", "w"], group=2, kernel_shape=[3, 3])], dict(w=f(6, 2, 3, 3)))
for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(f"conv_{mode.lower()}", 7, CNHW, [node("Conv", ["x", "w"], auto_pad=mode, strides=[2, 2])], dict(w=f(2, 4, 2, 3)))
case("conv_1d", 13, ["N", 3, 9], [node("Conv", ["x", "w", "b"], pads=[2, 1], strides=[2], dilations=[2])], dict(w=f(4, 3, 3), b=f(4)))
case("conv_after_pad", 13, CNHW, [node("Pad", ["x", "p"], ["q"]), node("Conv", ["q", "w"], pads=[0, 1, 0, 1])],
     dict(p=i(0, 0, 1, 0, 0, 0, 2, 1), w=f(2, 4, 3, 3)))
case("conv_depthwise_22", 22, CNHW, [node("Conv", ["x", "w"], group=4, pads=[1, 1, 1, 1])], dict(w=f(4, 1, 3, 3)))

# Matrix products.
case("gemm", 13, CNK, [node("Gemm", ["x", "w", "b"], transB=1)], dict(w=f(4, 6), b=f(4)))
case("gemm_row", 9, CNK, [node("Gemm", ["x", "w", "b"])], dict(w=f(6, 4), b=f(1, 4)))
case("gemm_alpha_beta", 11, CNK, [node("Gemm", ["x", "w", "b"], alpha=0.5, beta=2.0, transB=1)], dict(w=f(4, 6), b=f(4)))
case("gemm_beta", 11, CNK, [node("Gemm", ["x", "w", "b"], beta=0.25, transB=1)], dict(w=f(4, 6), b=f(4)))
case("gemm_scalar_c", 11, CNK, [node("Gemm", ["x", "w", "c"], transB=1)], dict(w=f(4, 6), c=np.array(0.5, np.float32)))
case("gemm_no_c", 11, CNK, [node("Gemm", ["x", "w"], alpha=2.0)], dict(w=f(6, 4)))
case("gemm_trans_a", 13, CNK, [node("Transpose", ["x"], ["t"]), node("Gemm", ["t", "w", "b"], transA=1)], dict(w=f(6, 4), b=f(4)))
case("matmul", 13, CNK, [node("MatMul", ["x", "w"])], dict(w=f(6, 4)))
case("matmul_bias", 13, CNK, [node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"])], dict(w=f(6, 4), b=f(4)))
case("matmul_3d", 13, ["N", 2, 6], [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"])], dict(w=f(6, 4), b=f(4)))
case("matmul_transposed", 13, CNK, [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"])], dict(w=f(4, 6)))
case("matmul_twice_read", 13, CNK, [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Mul", ["a", "m"])], dict(w=f(6, 4), b=f(4)))


# Normalisation, as in training.
def bn(x, v, eps=1e-5):
    axes = tuple(a for a in range(x.ndim) if a != 1)
    at = lambda s: s.reshape([1, -1] + [1] * (x.ndim - 2))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * at(v["s"]) + at(v["b"])


stats = lambda: dict(s=f(4), b=f(4), m=f(4), v=np.abs(f(4)))
case("batch_norm_7", 7, CNHW, [node("BatchNormalization", ["x", "s", "b", "m", "v"])], stats(), expect=bn, listed=True)
case("batch_norm_9", 9, CNHW, [node("BatchNormalization", ["x", "s", "b", "m", "v"], epsilon=0.01, momentum=0.7)], stats(), expect=lambda x, v: bn(x, v, 0.01))
case("batch_norm_14", 14, CNHW, [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m2", "v2"], training_mode=1)], stats(), expect=bn)
case("batch_norm_15", 15, ["N", 4], [node("BatchNormalization", ["x", "s", "b", "m", "v"])], stats(), expect=bn)
case("batch_norm_shared_statistics", 15, ["N", 4, 3],
     [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["z"]), node("BatchNormalization", ["z", "s", "b", "m", "v"])], stats(),
     expect=lambda x, v: bn(bn(x, v), v))

case("batch_norm_statistic_is_parameter", 15, ["N", 4], [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["z"]), node("Add", ["z", "m"])], stats(),
     expect=lambda x, v: bn(x, v) + v["m"])

# Pooling.
case("max_pool", 12, CNHW, [node("MaxPool", ["x"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1])])
case("max_pool_ceil", 10, CNHW, [node("MaxPool", ["x"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, dilations=[1, 1])])
case("max_pool_dilated", 12, CNHW, [node("MaxPool", ["x"], kernel_shape=[2, 2], dilations=[2, 3])])
case("max_pool_same", 8, CNHW, [node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")])
case("max_pool_1d", 12, ["N", 2, 7], [node("MaxPool", ["x"], kernel_shape=[3], strides=[2], pads=[1, 0])])
case("max_pool_after_pad", 13, CNHW, [node("Pad", ["x", "p"], ["q"]), node("MaxPool", ["q"], kernel_shape=[2, 2])], dict(p=i(0, 0, 0, 1, 0, 0, 1, 0)))
case("average_pool", 11, CNHW, [node("AveragePool", ["x"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])])
case("average_pool_count", 7, CNHW, [node("AveragePool", ["x"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], count_include_pad=1)])
case("average_pool_ceil", 19, CNHW, [node("AveragePool", ["x"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)])
for count in (0, 1):
    case(f"average_pool_ceil_pad_{count}", 19, CNHW, [node("AveragePool", ["x"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 0], ceil_mode=1, count_include_pad=count)])
case("max_pool_ceil_pad", 12, CNHW, [node("MaxPool", ["x"], kernel_shape=[3, 3], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1)])
case("average_pool_dilated", 19, CNHW, [node("AveragePool", ["x"], kernel_shape=[2, 2], dilations=[2, 2])])
case("average_pool_same", 11, CNHW, [node("AveragePool", ["x"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")])
case("average_pool_after_pad", 11, CNHW, [node("Pad", ["x", "p"], ["q"]), node("AveragePool", ["q"], kernel_shape=[2, 2], strides=[2, 2])], dict(p=i(0, 0, 1, 1, 0, 0, 1, 0)))
case("average_pool_1d", 11, ["N", 2, 8], [node("AveragePool", ["x"], kernel_shape=[4], strides=[4])])
case("global_average_pool", 17, CNHW, [node("GlobalAveragePool", ["x"])])
case("global_max_pool", 17, CNHW, [node("GlobalMaxPool", ["x"])])

# Activations.
for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Neg", "HardSwish", "HardSigmoid", "LeakyRelu", "Identity"):
    case(f"{op.lower()}", 14, CNK, [node(op, ["x"])])
for op in ("Log", "Sqrt"):
    case(f"{op.lower()}", 13, CNK, [node(op, ["x"])], positive=True)
case("leaky_relu_alpha", 16, CNK, [node("LeakyRelu", ["x"], alpha=0.2)])
case("hard_sigmoid_attributes", 7, CNK, [node("HardSigmoid", ["x"], alpha=0.3, beta=0.4)])
case("clip_6", 7, CNK, [node("Clip", ["x"], min=-0.5, max=0.25)])
case("clip_6_max", 7, CNK, [node("Clip", ["x"], max=0.25)])
case("clip_11", 11, CNK, [node("Clip", ["x", "lo", "hi"])], dict(lo=np.array(0, np.float32), hi=np.array(0.7, np.float32)))
case("clip_13_min", 13, CNK, [node("Clip", ["x", "lo"])], dict(lo=np.array(-0.1, np.float32)))
case("clip_13_max", 13, CNK, [node("Clip", ["x", "", "hi"])], dict(hi=np.array(0.1, np.float32)))
case("max_number", 13, CNK, [node("Max", ["x", "lo"], ["m"]), node("Min", ["hi", "m"])], dict(lo=np.array(-0.3, np.float32), hi=np.array(0.6, np.float32)))
case("softmax_11", 11, ["N", 3, 4], [node("Softmax", ["x"])])
case("softmax_11_last", 11, ["N", 3, 4], [node("Softmax", ["x"], axis=2)])
case("softmax_13", 13, ["N", 3, 4], [node("Softmax", ["x"])])
case("softmax_13_axis", 13, ["N", 3, 4], [node("Softmax", ["x"], axis=1)])
case("log_softmax_11", 11, ["N", 3, 4], [node("LogSoftmax", ["x"], axis=1)])
case("log_softmax_13", 13, CNK, [node("LogSoftmax", ["x"])])
case("dropout_7", 7, CNK, [node("Dropout", ["x"], ratio=0.3)])
case("dropout_12", 12, CNK, [node("Dropout", ["x", "r", "t"])], dict(r=np.array(0.5, np.float32), t=np.array(False)), expect=lambda x, v: x)

# Arithmetic.
for op in ("Add", "Sub", "Mul", "Div"):
    case(f"{op.lower()}_parameter", 7, CNK, [node(op, ["x", "w"])], dict(w=f(6) + 2))
    case(f"{op.lower()}_scalar", 13, CNK, [node(op, ["x", "w"])], dict(w=np.array(1.75, np.float32)))
    case(f"scalar_{op.lower()}", 14, CNK, [node(op, ["w", "x"])], dict(w=np.array(0.8, np.float32)), positive=True)
case("add_broadcast", 13, CNHW, [node("Add", ["x", "w"])], dict(w=f(4, 1, 1)))
case("mul_one_by_one", 13, CNHW, [node("GlobalAveragePool", ["x"], ["g"]), node("Sigmoid", ["g"], ["s"]), node("Mul", ["x", "s"])])
case("sum", 8, CNK, [node("Relu", ["x"], ["r"]), node("Sum", ["x", "r", "x"])])
case("sum_broadcast", 13, CNK, [node("Sum", ["x", "w"])], dict(w=f(6)))
case("pow_2", 13, CNK, [node("Pow", ["x", "e"])], dict(e=np.array(2, np.float32)))
case("pow_half", 13, CNK, [node("Pow", ["x", "e"])], dict(e=np.array(0.5, np.float32)), positive=True)

# Parts and joins.
case("concat", 13, CNHW, [node("Relu", ["x"], ["r"]), node("Concat", ["x", "r", "x"], axis=-3)])
case("split_2", 7, CNHW, [node("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), node("Concat", ["b", "a"], axis=1)])
case("split_13", 13, CNHW, [node("Split", ["x", "s"], ["a", "b"], axis=1), node("Concat", ["b", "a"], axis=1)], dict(s=i(3, 1)))
case("split_equal", 13, CNHW, [node("Split", ["x"], ["a", "b", "c"], axis=2), node("Add", ["a", "c"])])
case("split_18", 18, CNHW, [node("Split", ["x"], ["a", "b", "c"], axis=3, num_outputs=3), node("Concat", ["c", "a"], axis=3)])
case("split_to_sequence", 11, CNHW, [node("SplitToSequence", ["x", "s"], ["q"], axis=1), node("SequenceAt", ["q", "one"])],
     dict(s=np.array(3, np.int64), one=np.array(-1, np.int64)))
case("slice_1", 7, CNHW, [node("Slice", ["x"], starts=[1, -3], ends=[3, 10000], axes=[1, 3])])
case("slice_10", 10, CNHW, [node("Slice", ["x", "s", "e", "a", "t"])], dict(s=i(3, 1), e=i(-5, 6), a=i(1, 2), t=i(-2, 2)))
case("slice_13", 13, CNHW, [node("Slice", ["x", "s", "e"])], dict(s=i(0, 0, 2), e=i(2**63 - 1, 2, -1)))
case("gather_one", 13, CNHW, [node("Gather", ["x", "k"], axis=1)], dict(k=np.array(-2, np.int64)))
case("gather_list", 13, CNHW, [node("Gather", ["x", "k"], axis=2)], dict(k=i(4, 2, 0)))
case("pad_2", 7, CNHW, [node("Pad", ["x"], pads=[0, 0, 1, 0, 0, 2, 0, 1])])
case("pad_13", 13, CNHW, [node("Pad", ["x", "p", "v"])], dict(p=i(0, 1, 0, 0, 0, 0, 0, 3), v=np.array(0, np.float32)))
case("pad_18", 18, CNHW, [node("Pad", ["x", "p", "", "a"])], dict(p=i(1, 2), a=i(-1)))

# Shapes.
case("reshape", 13, CNHW, [node("Reshape", ["x", "s"])], dict(s=i(0, 2, -1)))
case("reshape_minus_one", 8, CNHW, [node("Reshape", ["x", "s"])], dict(s=i(-1, 120)))
case("reshape_fixed_batch", 13, [3, 4, 6, 5], [node("Reshape", ["x", "s"])], dict(s=i(3, 2, 60)))
case("reshape_fixed_batch_one", 13, [1, 4, 6, 5], [node("Reshape", ["x", "s"])], dict(s=i(1, -1)))
case("reshape_allowzero", 14, CNHW, [node("Reshape", ["x", "s"], allowzero=1)], dict(s=i(-1, 24, 5)))
case("flatten", 9, CNHW, [node("Flatten", ["x"])])
case("flatten_axis", 13, CNHW, [node("Flatten", ["x"], axis=-3)])
case("squeeze_1", 11, ["N", 1, 5, 1], [node("Squeeze", ["x"], axes=[3, 1])])
case("squeeze_13", 13, ["N", 1, 5, 1], [node("Squeeze", ["x", "a"])], dict(a=i(-1)))
case("squeeze_all", 13, ["N", 1, 5, 1], [node("Squeeze", ["x"])])
case("unsqueeze_1", 11, CNK, [node("Unsqueeze", ["x"], axes=[1, 3])])
case("unsqueeze_13", 13, CNK, [node("Unsqueeze", ["x", "a"])], dict(a=i(-1, 1)))
case("transpose", 13, CNHW, [node("Transpose", ["x"], perm=[0, 2, 3, 1])])
case("expand", 13, ["N", 4, 1], [node("Expand", ["x", "s"])], dict(s=i(1, 4, 3)))
case("expand_rank", 8, ["N", 4], [node("Unsqueeze", ["x"], ["u"], axes=[2]), node("Expand", ["u", "s"])], dict(s=i(3)))

# Reductions.
case("reduce_mean_1", 11, CNHW, [node("ReduceMean", ["x"], axes=[2, 3], keepdims=0)])
case("reduce_mean_18", 18, CNHW, [node("ReduceMean", ["x", "a"])], dict(a=i(-1, -2)))
case("reduce_sum_1", 11, CNHW, [node("ReduceSum", ["x"], axes=[1])])
case("reduce_sum_13", 13, CNHW, [node("ReduceSum", ["x", "a"], keepdims=0)], dict(a=i(1, 3)))
case("reduce_noop", 13, CNHW, [node("ReduceSum", ["x"], noop_with_empty_axes=1)])

# Known values: shape arithmetic with the batch size as a symbol.
C = lambda name, a: node("Constant", [], [name], value=nh.from_array(np.asarray(a)))
case("channel_shuffle", 13, CNHW, [
    node("Shape", ["x"], ["sh"]), C("zero", np.int64(0)), C("one", np.int64(1)), C("two", np.int64(2)),
    node("Gather", ["sh", "zero"], ["n"]), node("Gather", ["sh", "one"], ["c"]), node("Div", ["c", "two"], ["half"]),
    C("axes", [0]), node("Unsqueeze", ["n", "axes"], ["n1"]), node("Unsqueeze", ["half", "axes"], ["h1"]),
    C("g", [2]), C("hw", [6, 5]), node("Concat", ["n1", "g", "h1", "hw"], ["t"], axis=0), node("Reshape", ["x", "t"], ["r"]),
    node("Transpose", ["r"], ["p"], perm=[0, 2, 1, 3, 4]), node("Reshape", ["p", "sh"])])
case("halves", 13, CNHW, [
    node("Shape", ["x"], ["sh"]), C("s1", [1]), C("s2", [2]), C("ax", [0]),
    node("Slice", ["sh", "s1", "s2", "ax"], ["c"]), C("two", [2]), node("Add", ["c", "s1"], ["c1"]), node("Div", ["c1", "two"], ["half"]),
    C("z", [0]), node("Slice", ["x", "z", "half", "s1"], ["a"]), C("twice", [2]), node("Mul", ["half", "twice"], ["end"]),
    node("Slice", ["x", "half", "end", "s1"], ["b"]), node("Sub", ["a", "b"])])
case("shape_start_end", 15, CNHW, [
    node("Shape", ["x"], ["n"], start=0, end=1), node("Shape", ["x"], ["c"], start=-3, end=-2), C("m", [-1]),
    node("Concat", ["n", "c", "m"], ["t"], axis=0), node("Reshape", ["x", "t"])])
case("size_folded", 13, CNHW, [
    node("Shape", ["x"], ["sh"]), C("z", [0]), node("Gather", ["sh", "z"], ["n"]), node("Size", ["x"], ["all"]),
    node("Div", ["all", "n"], ["rest"]), node("Concat", ["n", "rest"], ["t"], axis=0), node("Reshape", ["x", "t"])])
case("float_shape_arithmetic", 13, CNHW, [
    node("Shape", ["x"], ["sh"]), C("k", np.int64(1)), node("Gather", ["sh", "k"], ["c"]), node("Cast", ["c"], ["cf"], to=T.FLOAT),
    C("q", np.float32(0.6)), node("Mul", ["cf", "q"], ["m"]), node("Floor", ["m"], ["fl"]), node("Cast", ["fl"], ["fi"], to=T.INT64),
    C("ax", [0]), node("Unsqueeze", ["fi", "ax"], ["end"]), C("z", [0]), C("a", [1]), node("Slice", ["x", "z", "end", "a"])])
case("expand_where", 13, ["N", 4, 1], [
    C("t", [-1, 4, 3]), C("m1", [3]), node("ConstantOfShape", ["m1"], ["ones"], value=nh.from_array(np.array([1], np.int64))),
    C("minus", np.int64(-1)), node("Mul", ["ones", "minus"], ["neg"]), node("Equal", ["t", "neg"], ["eq"]),
    node("Where", ["eq", "ones", "t"], ["s"]), node("Expand", ["x", "s"])])
case("range_gather", 13, CNHW, [
    C("s", np.int64(0)), C("l", np.int64(4)), C("d", np.int64(2)), node("Range", ["s", "l", "d"], ["k"]), node("Gather", ["x", "k"], axis=1)])
case("constants", 13, CNK, [
    node("Constant", [], ["a"], value_float=0.5), node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    node("Constant", [], ["e"], value_ints=[-1, 2, 3]), node("Constant", [], ["k"], value_int=1),
    node("Mul", ["x", "a"], ["p"]), node("Add", ["p", "b"], ["q"]), node("Reshape", ["q", "e"], ["r"]), node("Gather", ["r", "k"], axis=1)])
case("cast_like", 15, CNK, [C("k", np.int64(3)), node("CastLike", ["k", "x"], ["kf"]), node("Mul", ["x", "kf"])])
case("cast_nothing", 13, CNK, [node("Cast", ["x"], to=T.FLOAT)])


# Initializers: every element type, raw and typed.
def typed(kind, values, raw):
    t = h.make_tensor("w", kind, [6], values)
    if not raw:
        return t
    a = nh.to_array(t)
    return h.make_tensor("w", kind, [6], a.tobytes() if a.dtype != object else values, raw=True)


for raw in (False, True):
    form = "raw" if raw else "typed"
    for kind in ("FLOAT16", "BFLOAT16", "DOUBLE"):
        t = typed(getattr(T, kind), [0.5, -1.5, 2.0, 0.25, 3.0, -0.125], raw)
        case(f"{kind.lower()}_{form}", 13, CNK, [node("Cast", ["w"], ["c"], to=T.FLOAT), node("Mul", ["x", "c"])], dict(w=t))
    for kind in ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL"):
        t = typed(getattr(T, kind), [1, 0, 1, 1, 0, 1] if kind == "BOOL" else [3, 1, 4, 1, 5, 9], raw)
        case(f"{kind.lower()}_{form}", 13, CNK, [node("Cast", ["w"], ["c"], to=T.FLOAT), node("Mul", ["x", "c"])], dict(w=t))
for kind in ("FLOAT8E4M3FN", "FLOAT8E5M2"):
    t = h.make_tensor("w", getattr(T, kind), [6], [0.5, -1.5, 2.0, 0.25, 3.0, -0.125])
    case(f"{kind.lower()}", 19, CNK, [node("Cast", ["w"], ["c"], to=T.FLOAT), node("Mul", ["x", "c"])], dict(w=t))
case("inputs_listed", 8, CNK, [node("Gemm", ["x", "w", "b"], transB=1)], dict(w=f(4, 6), b=f(4)), listed=True)
case("unsorted", 13, CNK, [node("Relu", ["x"], ["r"], name="relu"), node("Add", ["r", "x"], name="add")])
m = onnx.load(FOLDER / "unsorted.onnx")
order = list(m.graph.node)
del m.graph.node[:]
m.graph.node.extend(reversed(order))
(FOLDER / "unsorted.onnx").write_bytes(m.SerializeToString())

case("reciprocal", 13, CNK, [node("Reciprocal", ["x"])], positive=True)

# Padding as wide as the window, as auto_pad with dilations makes it. onnxruntime refuses such pads and leaves the dilations out of
# auto_pad's, so these are computed from the definition of the operators.
def pooled(x, kernel, strides, dilations, begin, end, out, average=False, count_include_pad=False):
    y = np.zeros(x.shape[:2] + tuple(out))
    for o in np.ndindex(*out):
        taps = [[o[d] * strides[d] + k * dilations[d] for k in range(kernel[d])] for d in range(2)]
        inside = [[t - begin[d] for t in taps[d] if 0 <= t - begin[d] < x.shape[2 + d]] for d in range(2)]
        counted = [sum(t < begin[d] + x.shape[2 + d] + end[d] for t in taps[d]) for d in range(2)] if count_include_pad else [len(i) for i in inside]
        window = x[:, :, inside[0]][:, :, :, inside[1]]
        y[:, :, o[0], o[1]] = window.sum((2, 3)) / (counted[0] * counted[1]) if average else window.max((2, 3))
    return y


kernel, dilations, strides = [2, 3], [4, 2], [1, 2]
WIDE = dict(kernel_shape=kernel, dilations=dilations, strides=strides)
for mode, begin, end in (("SAME_UPPER", [2, 2], [2, 2]), ("SAME_LOWER", [2, 2], [2, 2])):
    fixed = dict(kernel=kernel, strides=strides, dilations=dilations, begin=begin, end=end, out=[7, 5])
    case(f"max_pool_wide_{mode.lower()}", 22, ["N", 2, 7, 9], [node("MaxPool", ["x"], auto_pad=mode, **WIDE)], expect=lambda x, v: pooled(x, **fixed))
    for count in (0, 1):
        case(f"average_pool_wide_{mode.lower()}_{count}", 22, ["N", 2, 7, 9], [node("AveragePool", ["x"], auto_pad=mode, count_include_pad=count, **WIDE)],
             expect=lambda x, v: pooled(x, **fixed, average=True, count_include_pad=count))
CEIL = dict(kernel_shape=[2, 2], dilations=[3, 4], strides=[3, 2], pads=[2, 3, 2, 1], ceil_mode=1)
fixed = dict(kernel=[2, 2], strides=[3, 2], dilations=[3, 4], begin=[2, 3], end=[2, 1], out=[4, 5])
case("max_pool_wide_ceil", 22, ["N", 2, 8, 9], [node("MaxPool", ["x"], **CEIL)], expect=lambda x, v: pooled(x, **fixed))
for count in (0, 1):
    case(f"average_pool_wide_ceil_{count}", 22, ["N", 2, 8, 9], [node("AveragePool", ["x"], count_include_pad=count, **CEIL)],
         expect=lambda x, v: pooled(x, **fixed, average=True, count_include_pad=count))
case("max_pool_after_pad_with_least", 18, CNHW, [node("Pad", ["x", "p", "v"], ["q"]), node("MaxPool", ["q"], kernel_shape=[3, 3], strides=[2, 2])],
     dict(p=i(0, 0, 1, 1, 0, 0, 1, 1), v=np.array(-np.inf, np.float32)))
case("max_pool_after_pad_with_lowest", 18, CNHW, [node("Pad", ["x", "p", "v"], ["q"]), node("MaxPool", ["q"], kernel_shape=[3, 3], strides=[2, 2])],
     dict(p=i(0, 0, 1, 1, 0, 0, 1, 1), v=np.array(np.finfo(np.float32).min, np.float32)))


for name, attributes in (("gelu", {}), ("gelu_none", dict(approximate="none")), ("gelu_tanh", dict(approximate="tanh"))):
    case(name, 20, CNK, [node("Gelu", ["x"], **attributes)])


# Normalisation of rows.
def ln(name, opset, shape, row, **attributes):
    case(name, opset, shape, [node("LayerNormalization", ["x", "s", "b"], **attributes)], dict(s=f(*row), b=f(*row)))


ln("layer_norm", 17, ["N", 5, 6], [6])
ln("layer_norm_axis", 17, CNHW, [6, 5], axis=2, epsilon=0.01, stash_type=1)
ln("layer_norm_all", 20, CNHW, [4, 6, 5], axis=-3)
ln("layer_norm_leading_ones", 17, ["N", 5, 6], [1, 1, 6])
ln("layer_norm_one_scale", 17, ["N", 5, 6], [1])
case("layer_norm_no_bias", 17, ["N", 5, 6], [node("LayerNormalization", ["x", "s"], epsilon=1e-6)], dict(s=f(6)))
case("layer_norm_constant_scale", 17, ["N", 5, 6],
     [node("Constant", [], ["s"], value=nh.from_array(f(6))), node("LayerNormalization", ["x", "s"])])
case("layer_norm_transposed", 17, ["N", 5, 6],
     [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("LayerNormalization", ["t", "s", "b"], ["z"], axis=2),
      node("Transpose", ["z"], perm=[1, 0, 2])], dict(s=f(6), b=f(6)))


# Slices with any bounds: size, start, end, step, and the indices that are taken.

# A last window that begins behind the input is dropped, although ceil_mode's formula counts it.
DROPPED = dict(kernel_shape=[3, 1], dilations=[2, 2], strides=[3, 3], ceil_mode=1)
fixed = dict(kernel=[3, 1], strides=[3, 3], dilations=[2, 2], begin=[0, 0], end=[0, 0], out=[3, 3])
case("max_pool_dropped", 22, ["N", 2, 10, 9], [node("MaxPool", ["x"], **DROPPED)], expect=lambda x, v: pooled(x, **fixed))
for count in (0, 1):
    case(f"average_pool_dropped_{count}", 22, ["N", 2, 10, 9], [node("AveragePool", ["x"], count_include_pad=count, **DROPPED)],
         expect=lambda x, v: pooled(x, **fixed, average=True, count_include_pad=count))


# Functions of one number.
for name, opset, attributes in (
    ("Abs", 13, {}), ("Sign", 13, {}), ("Sin", 22, {}), ("Cos", 7, {}), ("Erf", 13, {}), ("Softplus", 22, {}), ("Softsign", 1, {}),
    ("Elu", 6, {}), ("Elu", 22, dict(alpha=0.3)), ("Selu", 6, {}), ("Selu", 22, dict(alpha=1.2, gamma=0.9)), ("Celu", 12, dict(alpha=0.7)),
    ("Mish", 18, {}), ("Swish", 24, {}), ("Swish", 24, dict(alpha=0.4)), ("ThresholdedRelu", 10, {}), ("ThresholdedRelu", 22, dict(alpha=0.2)),
):
    case(f"{name.lower()}{'_attributes' if attributes else ''}", max(opset, 7), CNK, [node(name, ["x"], **attributes)])
case("pow_other", 13, CNK, [node("Pow", ["x", "e"])], dict(e=np.array(-0.75, np.float32)), positive=True)
case("pow_trained", 15, CNK, [node("Pow", ["x", "e"])], dict(e=f(1)), positive=True)
case("pow_vector", 15, CNK, [node("Pow", ["x", "e"])], dict(e=f(6)), positive=True)
case("pow_of_parameter", 15, CNK, [node("Pow", ["b", "x"])], dict(b=np.abs(f(6)) + np.float32(0.2)))
case("prelu", 9, CNHW, [node("PRelu", ["x", "s"])], dict(s=f(4, 1, 1)))
case("prelu_one", 16, CNHW, [node("PRelu", ["x", "s"])], dict(s=f(1)))
case("prelu_rows", 16, CNK, [node("PRelu", ["x", "s"])], dict(s=f(6)))
case("prelu_width", 16, CNHW, [node("PRelu", ["x", "s"])], dict(s=f(5)))
case("max_tensors", 13, CNHW, [node("Max", ["x", "a", "b"])], dict(a=f(4, 1, 1), b=f(5)))
case("min_tensors", 8, CNK, [node("Relu", ["x"], ["r"]), node("Min", ["x", "a", "r"])], dict(a=f(6)))


# Operator sets before 7: broadcasting by axis, hints for memory, forms as attributes.
along = lambda v, axis, rank: v.reshape([*v.shape, *[1] * (rank - axis - v.ndim)])
case("old_gemm", 6, CNK, [node("Gemm", ["x", "w", "b"], transB=1, broadcast=1)], dict(w=f(4, 6), b=f(4)),
     expect=lambda x, v: x @ v["w"].T + v["b"])
for op, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
    case(f"old_{op.lower()}", 6, CNHW, [node(op, ["x", "c"], broadcast=1, axis=1)], dict(c=f(4) + np.float32(2)),
         expect=lambda x, v, function=function: function(x, along(v["c"], 1, 4)))
case("old_add_inner", 1, CNHW, [node("Add", ["x", "c"], broadcast=1, axis=-3, consumed_inputs=[0, 0])], dict(c=f(4, 6)),
     expect=lambda x, v: x + along(v["c"], 1, 4))
case("old_add_suffix", 6, CNHW, [node("Add", ["x", "c"], broadcast=1)], dict(c=f(6, 5)), expect=lambda x, v: x + v["c"])
case("old_pow", 1, CNHW, [node("Pow", ["x", "e"], broadcast=1, axis=1)], dict(e=f(4)), positive=True,
     expect=lambda x, v: x ** along(v["e"], 1, 4))
case("old_relu", 5, CNK, [node("Relu", ["x"], consumed_inputs=[0])], expect=lambda x, v: np.maximum(x, 0))
case("old_reshape", 4, CNHW, [node("Reshape", ["x"], shape=[-1, 120])], expect=lambda x, v: x.reshape(-1, 120))
case("old_concat", 3, CNK, [node("Concat", ["x", "x"])], expect=lambda x, v: np.concatenate([x, x], 1))
case("old_pad", 1, CNHW, [node("Pad", ["x"], paddings=[0, 0, 1, 0, 0, 0, 0, 2])], expect=lambda x, v: np.pad(x, [(0, 0), (0, 0), (1, 0), (0, 2)]))
case("old_cast", 5, CNK, [node("Cast", ["x"], to="FLOAT")], expect=lambda x, v: x)
case("old_dropout", 6, CNK, [node("Dropout", ["x"], is_test=1)], expect=lambda x, v: x)
case("old_batch_norm", 6, CNHW, [node("BatchNormalization", ["x", "s", "b", "m", "v"], is_test=1)],
     dict(s=f(4), b=f(4), m=f(4), v=np.abs(f(4))),
     expect=lambda x, v: (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
     * along(v["s"], 1, 4) + along(v["b"], 1, 4))


# Products of any number of dimensions.
DOT = ["N", 3, 4]
for name, shape, w in (
    ("vector", CNK, f(6)), ("vector_left", ["N", 6, 4], f(6)), ("left", ["N", 6, 4], f(5, 6)), ("heads", ["N", 2, 3, 4], f(2, 4, 5)),
    ("heads_left", ["N", 2, 4, 3], f(2, 5, 4)), ("ones", ["N", 2, 3, 4], f(1, 1, 4, 5)), ("one_head", ["N", 1, 3, 4], f(2, 4, 5)),
    ("one_head_left", ["N", 1, 3, 4], f(2, 5, 3)),
):
    case(f"matmul_{name}", 13, shape, [node("MatMul", ["w", "x"] if "left" in name else ["x", "w"])], dict(w=w))
case("matmul_batch_last", 13, ["N", 4], [node("Transpose", ["x"], ["t"]), node("MatMul", ["w", "t"], ["m"]), node("Transpose", ["m"])], dict(w=f(3, 4)))
inner = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]
outer = [node("Transpose", ["r"], perm=[1, 0, 2])]
case("matmul_batch_inside", 13, DOT, [*inner, node("MatMul", ["t", "w"], ["r"]), *outer], dict(w=f(3, 4, 5)))
case("matmul_constant", 13, DOT, [node("Constant", [], ["c"], value=nh.from_array(f(4, 2), "c")), node("MatMul", ["x", "c"])])
case("matmul_self", 13, DOT, [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"])])
case("matmul_self_left", 9, DOT, [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["t", "x"])])
case("matmul_self_rank_4", 13, ["N", 2, 3, 4], [
    node("Relu", ["x"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2]), node("Transpose", ["x"], ["u"], perm=[0, 1, 3, 2]),
    node("Transpose", ["u"], ["v"], perm=[0, 1, 3, 2]), node("MatMul", ["v", "t"])])
case("matmul_batch_in_both", 13, ["N", 3, 4], [
    node("Unsqueeze", ["x", "one"], ["u"]), node("Transpose", ["u"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["h", "u"], ["m"]),
    node("MatMul", ["m", "t"])], dict(one=i(1), h=f(2, 5, 3)))
case("matmul_heads_bias", 13, ["N", 2, 3, 4], [node("MatMul", ["v", "x"], ["m"]), node("Add", ["m", "b"])], dict(v=f(1, 2, 5, 3), b=f(4)))
case("matmul_shared_bias", 13, ["N", 2, 3, 4], [
    node("Relu", ["x"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["t", "x"], ["m"]), node("Add", ["m", "b"])],
    dict(b=f(4)))
case("matmul_sequence_first", 13, DOT, [*inner, node("MatMul", ["t", "w"], ["m"]), node("Add", ["m", "b"], ["r"]), *outer], dict(w=f(4, 2), b=f(2)))
case("gemm_transposed", 13, CNK, [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("Gemm", ["x", "t", "c"])], dict(w=f(4, 6), c=f(4)))
case("gemm_column_c", 13, CNK, [node("Gemm", ["x", "w", "c"], alpha=0.5)], dict(w=f(6, 4), c=f(1, 1)))
case("softmax_13_rank_4", 13, CNHW, [node("Softmax", ["x"], axis=1)])
case("softmax_13_rank_5", 13, ["N", 2, 3, 2, 2], [node("Softmax", ["x"], axis=-3)])
case("softmax_13_ones", 13, ["N", 4, 1, 1], [node("Softmax", ["x"], axis=1)])
case("softmax_13_batch_inside", 13, DOT, [*inner, node("Softmax", ["t"], ["r"], axis=0), *outer])
case("softmax_1_rank_4", 7, CNHW, [node("Softmax", ["x"], axis=2)])
case("log_softmax_13_axis", 13, CNHW, [node("LogSoftmax", ["x"], axis=-2)])
case("log_softmax_1_rank_4", 7, CNHW, [node("LogSoftmax", ["x"])])
case("attention", 13, ["N", 4, 6], [
    *(n for h_ in "qkv" for n in (node("MatMul", ["x", f"w{h_}"], [f"{h_}0"]), node("Reshape", [f"{h_}0", "s"], [f"{h_}1"]))),
    node("Transpose", ["q1"], ["q"], perm=[0, 2, 1, 3]), node("Transpose", ["k1"], ["k"], perm=[0, 2, 3, 1]),
    node("Transpose", ["v1"], ["v"], perm=[0, 2, 1, 3]), node("MatMul", ["q", "k"], ["qk"]), node("Mul", ["qk", "scale"], ["scores"]),
    node("Add", ["scores", "mask"], ["masked"]), node("Softmax", ["masked"], ["p"]), node("MatMul", ["p", "v"], ["o"]),
    node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]), node("Reshape", ["o1", "t"], ["y"])],
    dict(wq=f(6, 6), wk=f(6, 6), wv=f(6, 6), s=i(0, 4, 2, 3), t=i(0, 4, 6), scale=np.array(3 ** -0.5, np.float32),
         mask=np.triu(np.full((4, 4), -1e9, np.float32), 1)))

DEEP = ["N", 2, 3, 4]
for at, (shape, equation, *others) in enumerate((
    (DOT, "nij,jk->nik", f(4, 5)), (DOT, "nij,kj->nki", f(5, 4)), (DOT, "nij,nkj->nik", None), (DOT, "nij,nij->n", None), (DOT, "nij->nji"),
    (DOT, "nij->n"), (DOT, "bij,j", f(4)), (DOT, "n...j,jk->n...k", f(4, 2)), (DEEP, "nhid,hdk->nikh", f(2, 4, 5)),
    (DEEP, "bhqd,bhkd->bhqk", None), (DEEP, "nhid,nhjd,dh->nijh", None, f(4, 2)), (DOT, "nij,i,j->nij", f(3), f(4)),
    (DOT, "nij,k->nikj", f(2)), (DOT, " n i j , j -> n i ", f(4)), (DEEP, "...ij,...jk->...ik", f(2, 4, 3)),
    (DEEP, "...ij,...jk", f(1, 4, 3)), (DOT, "nij,i->nj", f(1)), (CNK, "ni,i->n", f(6)),
)):
    names = ["x" if other is None else f"o{i_}" for i_, other in enumerate(others)]
    init = {name: other for name, other in zip(names, others) if other is not None}
    case(f"einsum_{at}", 12, shape, [node("Einsum", ["x", *names], equation=equation)], init)

for at, (shape, sizes, attributes, *mask) in enumerate((
    (DEEP, [[2, 5, 4], [2, 5, 3]], {}), (DEEP, [], {}), (DEEP, [[1, 5, 4], [1, 5, 2]], dict(scale=0.3)), (DEEP, [], dict(is_causal=1), f(3, 3)),
    (DEEP, [[2, 5, 4], [2, 5, 3]], dict(softcap=1.5), f(1, 2, 3, 5)),
    (["N", 3, 8], [[5, 8], [5, 6]], dict(q_num_heads=2, kv_num_heads=2)), (["N", 3, 8], [], dict(q_num_heads=4, kv_num_heads=4, is_causal=1)),
    (["N", 3, 8], [[5, 4], [5, 2]], dict(q_num_heads=4, kv_num_heads=2), f(3, 5)),
    (DEEP, [], dict(left_window_size=1, right_window_size=0)),
)):
    # The keys and values of each example are weights times its first number.
    names, init, more = ["x", "x", "x"], {}, []
    for i_, size in enumerate(sizes):
        init[f"a{i_}"] = f(1, *size)
        more += [] if more else [node("Slice", ["x", "zeros", "ones", "axes"], ["corner"])]
        init |= dict(zeros=i(*[0] * (len(shape) - 1)), ones=i(*[1] * (len(shape) - 1)), axes=i(*range(1, len(shape))))
        more.append(node("Mul", ["corner", f"a{i_}"], [f"kv{i_}"]))
        names[1 + i_] = f"kv{i_}"
    if mask:
        init["mask"] = mask[0]
    opset = 25 if "left_window_size" in attributes else 23 + at % 2
    case(f"attention_{at}", opset, shape, [*more, node("Attention", [*names, *(["mask"] if mask else [])], **attributes)], init)


def slices():
    random, rows = np.random.default_rng(2), []
    extremes = [-2**63, -2**63 + 1, -2**31, 2**31 - 1, 2**63 - 1]
    pick = lambda reach: int(random.choice(extremes)) if random.random() < 0.2 else int(random.integers(-reach, reach + 1))
    while len(rows) < 300:
        size, step = int(random.integers(1, 8)), 0
        start, end = pick(size + 3), pick(size + 3)
        while step == 0:
            step = pick(4)
        bounds = dict(s=i(start), e=i(end), a=i(1), t=i(step))
        model = h.make_model(h.make_graph([node("Slice", ["x", "s", "e", "a", "t"])], "slice", [h.make_tensor_value_info("x", T.FLOAT, [1, size])],
            [h.make_tensor_value_info("y", T.FLOAT, None)], [nh.from_array(a, k) for k, a in bounds.items()]), opset_imports=[h.make_opsetid("", 13)])
        model.ir_version = 7
        x = np.arange(size, dtype=np.float32)[None]
        y = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
        # By ONNX's definition bounds are clamped. numpy, and so onnx's reference implementation, takes nothing where a backward
        # start lies before the first element; onnxruntime takes the largest end of a backward slice for the smallest one.
        before, largest = step < 0 and start < -size, step < 0 and end in (2**31 - 1, 2**63 - 1)
        if before and largest:
            continue
        assert before or largest or np.array_equal(y, reference), (size, start, end, step, y, reference)
        rows.append([size, str(start), str(end), str(step), [int(v) for v in (reference if largest else y).ravel()]])
    return rows


composed.add(case, node, f, i)
logic.add(case, node, f, i)
recurrent.add(case, node, f, i)

# Losses of what the network itself takes for the classes.
classes = node("ArgMax", ["x"], ["c"], axis=1, keepdims=0)
case("loss_of_scores", 13, CNK, [classes, node("SoftmaxCrossEntropyLoss", ["x", "c"], ["l"], reduction="none"), node("Neg", ["l"])])
case("loss_of_logarithms", 13, CNK, [classes, node("LogSoftmax", ["x"], ["p"], axis=1), node("NegativeLogLikelihoodLoss", ["p", "c", "w"], ["l"], reduction="none"), node("Neg", ["l"])], dict(w=np.abs(f(6)) + 0.1))

# Withdrawn from the standard, so that no runtime computes them.
case("old_affine", 6, CNK, [node("Affine", ["x"], alpha=2.0, beta=-0.5)], expect=lambda x, v: 2 * x - 0.5)
case("old_image_scaler", 6, CNHW, [node("ImageScaler", ["x"], scale=0.5, bias=[1.0, 2.0, -3.0, 0.25])],
     expect=lambda x, v: 0.5 * x + np.array([1, 2, -3, 0.25]).reshape(4, 1, 1))
case("old_crop", 6, CNHW, [node("Crop", ["x"], border=[1, 2, 0, 1])], expect=lambda x, v: x[:, :, 2:-1, 1:])
case("old_crop_scale", 6, CNHW, [node("Crop", ["x"], border=[1, 2, 0, 0], scale=[3, 2])], expect=lambda x, v: x[:, :, 2:5, 1:3])

# A slope for each place, not for the one channel.
case("prelu_one_channel", 16, ["N", 1, 6], [node("PRelu", ["x", "s"])], dict(s=f(1, 6)))
spectra.add(case, node, f, i)

# What optimizers make of MatMul and Add: not in the standard.
case("gemm_rows", 13, ["N", 5, 6], [node("Gemm", ["x", "w", "b"], transB=1)], dict(w=f(4, 6), b=f(4)), expect=lambda x, v: x @ v["w"].T + v["b"])
case("gemm_rows_ones", 13, ["N", 2, 5, 6], [node("Gemm", ["x", "w", "b"], alpha=0.5, beta=2.0)], dict(w=f(1, 6, 4), b=f(5, 4)),
     expect=lambda x, v: 0.5 * (x @ v["w"][0]) + 2 * v["b"])

# Padding as TorchScript computes TensorFlow's "same": from the image's height, by numbers that are not whole, and not below zero.
i64 = lambda *x: np.array(x, np.int64)
same = [node("Shape", ["x"], ["sizes"]), node("Gather", ["sizes", "two"], ["height"]), node("Cast", ["height"], ["h"], to=T.FLOAT),
        node("Div", ["h", "stride"], ["s"]), node("Ceil", ["s"], ["c"]), node("Sub", ["c", "one"], ["l"]), node("Mul", ["l", "stride"], ["m"]),
        node("Add", ["m", "kernel"], ["e"]), node("Sub", ["e", "h"], ["p"]), node("Clip", ["p", "zero", "most"], ["q"]), node("Cast", ["q"], ["r"], to=T.INT64),
        node("Concat", ["nothing", "nothing", "r", "nothing", "nothing", "nothing", "r", "nothing"], ["pads"], axis=0), node("Pad", ["x", "pads"])]
numbers = {k: np.array(v, np.float32) for k, v in dict(stride=2, one=1, kernel=4, zero=0, most=3).items()}
case("pad_same_height", 13, CNHW, same, dict(two=i64(2), nothing=i64(0), **numbers))

case("max_number_of_rank_3", 13, ["N", 4], [node("Max", ["x", "lo"], ["m"]), node("Squeeze", ["m", "first"])], dict(lo=np.full((1, 1, 1), -0.3, np.float32), first=i(0)))

(FOLDER / "slices.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in slices()) + "\n]\n")

(FOLDER / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
