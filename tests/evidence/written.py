"""Graphs in the manner of Keras and tf2onnx: channels last with transposes around convolutions, dense layers as MatMul and Add, normalisation
in arithmetic, the batch written into shapes. `tests/differential/peer.py` computes them in PyTorch."""

import pathlib
import sys

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "differential"))
import peer  # noqa: E402

OPSET = 13


class Writer:
    """A graph in the making."""

    def __init__(self, seed):
        self.nodes, self.initializers, self.random = [], [], np.random.default_rng(seed)

    def weight(self, name, *shape):
        values = self.random.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 1))
        return self.constant(name, values.astype(np.float32))

    def constant(self, name, values):
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def convolution(self, x, name, channels, of, group=1, strides=(1, 1)):
        weight = self.weight(f"{name}/weights_fused_bn", channels, of // group, 3, 3)
        bias = self.weight(f"{name}/bias_fused_bn", channels)
        return self.node("Conv", [x, weight, bias], name, kernel_shape=[3, 3], strides=strides, pads=[0, 0, 1, 1] if strides[0] > 1 else [1, 1, 1, 1], group=group)

    def dense(self, x, name, width, of):
        product = self.node("MatMul", [x, self.weight(f"{name}/MatMul/ReadVariableOp:0", of, width)], f"{name}/MatMul")
        return self.node("Add", [product, self.weight(f"{name}/BiasAdd/ReadVariableOp:0", width)], f"{name}/BiasAdd")

    def model(self, batch, shape, output, classes):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])
        graph = helper.make_graph(self.nodes, "tf2onnx", [x], [y], self.initializers)
        return helper.make_model(graph, producer_name="tf2onnx", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def convolutional(batch, baked):
    """Conv2D, MaxPooling2D, Flatten, Dense: channels last outside of convolutions."""
    w = Writer(1)
    x = w.node("Transpose", ["x"], "sequential/conv2d/Conv2D__6", perm=[0, 3, 1, 2])
    x = w.node("Relu", [w.convolution(x, "sequential/conv2d/Conv2D", 8, 3)], "sequential/conv2d/Relu")
    x = w.node("MaxPool", [x], "sequential/max_pooling2d/MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    x = w.node("Transpose", [x], "sequential/max_pooling2d/MaxPool__12", perm=[0, 2, 3, 1])
    x = w.node("Reshape", [x, w.constant("const_fold_opt__18", np.int64([baked, 128]))], "sequential/flatten/Reshape")
    x = w.node("Relu", [w.dense(x, "sequential/dense", 16, 128)], "sequential/dense/Relu")
    return w.model(batch, [8, 8, 3], w.dense(x, "sequential/dense_1", 10, 16), 10)


def mobile(batch, _):
    """Depthwise convolutions, BatchNormalization, Relu6 as Clip, GlobalAveragePooling2D as ReduceMean and Squeeze."""
    w = Writer(2)
    x = w.node("Transpose", ["x"], "model/conv1/Conv2D__7", perm=[0, 3, 1, 2])
    x = w.convolution(x, "model/conv1/Conv2D", 8, 3, strides=(2, 2))
    bounds = [w.constant("zero__23", np.float32(0)), w.constant("six__24", np.float32(6))]
    for i in range(2):
        statistics = [w.weight(f"model/bn{i}/gamma", 8), w.weight(f"model/bn{i}/beta", 8)]
        statistics += [w.constant(f"model/bn{i}/mean", np.zeros(8, np.float32)), w.constant(f"model/bn{i}/variance", np.ones(8, np.float32))]
        x = w.node("BatchNormalization", [x, *statistics], f"model/bn{i}/FusedBatchNormV3", epsilon=1e-3)
        x = w.node("Clip", [x, *bounds], f"model/relu6_{i}")
        x = w.convolution(x, f"model/depthwise{i}/depthwise", 8, 8, group=8)
    x = w.node("ReduceMean", [x], "model/global_average_pooling2d/Mean", axes=[2, 3], keepdims=1)
    x = w.node("Squeeze", [x, w.constant("axes__31", np.int64([2, 3]))], "model/global_average_pooling2d/Mean_Squeeze__33")
    return w.model(batch, [16, 16, 3], w.dense(x, "model/predictions", 10, 8), 10)


def normalised(batch, baked):
    """Dense layers with LayerNormalization in arithmetic, a residual, Gelu by Erf, and a shape that holds the batch."""
    w = Writer(3)
    x = w.node("Reshape", ["x", w.constant("shape__4", np.int64([baked * 6, 8]))], "model/tokens/Reshape")
    hidden = w.dense(x, "model/dense", 8, 8)
    mean = w.node("ReduceMean", [hidden], "model/ln/moments/mean", axes=[-1], keepdims=1)
    centred = w.node("Sub", [hidden, mean], "model/ln/moments/SquaredDifference__9")
    square = w.node("Mul", [centred, centred], "model/ln/moments/SquaredDifference")
    variance = w.node("ReduceMean", [square], "model/ln/moments/variance", axes=[-1], keepdims=1)
    variance = w.node("Add", [variance, w.constant("model/ln/batchnorm/add/y", np.float32(1e-3))], "model/ln/batchnorm/add")
    scale = w.node("Reciprocal", [w.node("Sqrt", [variance], "model/ln/batchnorm/Rsqrt__12")], "model/ln/batchnorm/Rsqrt")
    scale = w.node("Mul", [scale, w.weight("model/ln/gamma", 8)], "model/ln/batchnorm/mul")
    left = w.node("Mul", [hidden, scale], "model/ln/batchnorm/mul_1")
    right = w.node("Sub", [w.weight("model/ln/beta", 8), w.node("Mul", [mean, scale], "model/ln/batchnorm/mul_2")], "model/ln/batchnorm/sub")
    x = w.node("Add", [x, w.node("Add", [left, right], "model/ln/batchnorm/add_1")], "model/add")
    erf = w.node("Erf", [w.node("Mul", [x, w.constant("rsqrt2", np.float32(0.70710677))], "model/gelu/truediv")], "model/gelu/Erf")
    gate = w.node("Mul", [w.node("Add", [erf, w.constant("one", np.float32(1))], "model/gelu/add"), w.constant("half", np.float32(0.5))], "model/gelu/mul")
    x = w.node("Mul", [x, gate], "model/gelu/mul_1")
    x = w.node("Reshape", [x, w.constant("shape__40", np.int64([baked, 48]))], "model/flatten/Reshape")
    return w.model(batch, [6, 8], w.dense(x, "model/dense_1", 10, 48), 10)


# By name: what writes the graph for a batch in its input and a first size in its shapes, the input's shape, the batch that the file holds.
GRAPHS = {
    "keras_convolutional": (convolutional, [8, 8, 3], -1),
    "keras_mobile": (mobile, [16, 16, 3], None),
    "keras_normalised": (normalised, [6, 8], 32),
    "tf2onnx_batch_of_one": (convolutional, [8, 8, 3], 1),
    "tf2onnx_normalised_batch_of_one": (normalised, [6, 8], 1),
}


class Written(nn.Module):
    """A graph as a module, whose parameters are its initializers."""

    def __init__(self, name, batch):
        super().__init__()
        write, _, baked = GRAPHS[name]
        self.file = write("N" if baked in (None, -1) else baked, baked)
        self.peer = write(batch, -1 if baked == -1 else batch)
        statistics = {n for node in self.peer.graph.node if node.op_type == "BatchNormalization" for n in node.input[3:5]}
        self.values = {i.name: peer.tensor(i, torch.float32) for i in self.peer.graph.initializer}
        self.trained = {n: nn.Parameter(v) for n, v in self.values.items() if v.is_floating_point() and v.dim() and n not in statistics}

    def named_parameters(self, *_, **__):
        return iter(self.trained.items())

    def forward(self, x):
        wide = lambda v: v.to(x.dtype) if v.is_floating_point() else v
        values = {name: wide(v) for name, v in {**self.values, **self.trained}.items()} | {"x": x}
        run = peer.Run(OPSET, x.dtype, True)
        for node in self.peer.graph.node:
            peer.compute(node, values, run)
        return values[self.peer.graph.output[0].name]
