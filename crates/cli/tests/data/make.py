"""Writes two networks, whose inputs are channels-first and channels-last, and images in both layouts, with labels in several forms.

`python3 make.py` needs NumPy and onnx; it prints the loss and the accuracy that every network has on every file, computed in FP64.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(4)
images = random.normal(size=(7, 6, 5, 3)).astype(np.float32)
labels = np.array([0, 2, 9, 2, 5, 1, 7])
weight = random.normal(size=(6, 5, 3, 10)).astype(np.float32) / 4


def network(name, shape, weight):
    initializer = numpy_helper.from_array(weight.reshape(-1, 10), "weight")
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, name, [image], [logits], [initializer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, f"{name}.onnx")


network("channels_last", [6, 5, 3], weight)
network("channels_first", [3, 6, 5], np.ascontiguousarray(weight.transpose(2, 0, 1, 3)))

first = images.transpose(0, 3, 1, 2)
np.savez("last.npz", x=images, y=labels)
np.savez("last_big_endian.npz", x=images.astype(">f4"), y=labels.astype(">i4").reshape(7, 1))
np.savez("first_fortran.npz", x=np.asfortranarray(first.astype(np.float64)), y=np.eye(10, dtype=np.float32)[labels])
np.savez("first.npz", x=np.ascontiguousarray(first), y=np.eye(10, dtype=bool)[labels])
np.savez("first_floats.npz", x=np.ascontiguousarray(first), y=labels.astype(np.float64))

logits = images.reshape(7, -1).astype(np.float64) @ weight.reshape(-1, 10).astype(np.float64)
losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(7), labels]
print(f"loss {losses.mean():.9f} accuracy {(logits.argmax(axis=1) == labels).mean():.9f}")
