"""Writes networks with attention by hand into `written`, with what PyTorch comes to: three steps as for random networks, and the
gradients of the first loss, which `cargo test -p bitbudget-tests --test attention` compares."""

import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

import cases
import peer
import tasks

LENGTH, DEPTH, HEADS, WIDTH, CLASSES, BATCH = 5, 6, 2, 4, 3, 4
LEAST = float(np.finfo(np.float32).min)
causal = np.triu(np.ones([LENGTH, LENGTH], bool), 1)


class Writer:
    """Nodes and initializers in the making."""

    def __init__(self, seed):
        self.random, self.nodes, self.initializers = np.random.default_rng(seed), [], []

    def parameter(self, name, *shape, center=0.0):
        scale = shape[0] ** -0.5 if len(shape) > 1 else 0.2
        self.initializers.append(numpy_helper.from_array((center + scale * self.random.standard_normal(shape)).astype(np.float32), name))
        return name

    def constant(self, array):
        return self.node("Constant", [], value=numpy_helper.from_array(np.asarray(array)))

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def node(self, op, inputs, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def linear(self, x, name, rows, columns):
        return self.node("Add", [self.node("MatMul", [x, self.parameter(f"{name}.weight", rows, columns)]), self.parameter(f"{name}.bias", columns)])

    def heads(self, x, perm):
        return self.node("Transpose", [self.node("Reshape", [x, self.ints(0, LENGTH, HEADS, WIDTH)])], perm=perm)

    def norm(self, x, name):
        scale, bias = self.parameter(f"{name}.weight", DEPTH, center=1.0), self.parameter(f"{name}.bias", DEPTH)
        return self.node("LayerNormalization", [x, scale, bias])

    def joined(self, x, rows):
        """The heads side by side again."""
        return self.node("Reshape", [self.node("Transpose", [x], perm=[0, 2, 1, 3]), self.ints(0, rows, HEADS * WIDTH)])

    def block(self, x, name, mask):
        """A block of a transformer; `mask` makes the scores' mask."""
        y = self.norm(x, f"{name}.norm")
        q = self.heads(self.linear(y, f"{name}.q", DEPTH, HEADS * WIDTH), [0, 2, 1, 3])
        k = self.heads(self.linear(y, f"{name}.k", DEPTH, HEADS * WIDTH), [0, 2, 3, 1])
        v = self.heads(self.linear(y, f"{name}.v", DEPTH, HEADS * WIDTH), [0, 2, 1, 3])
        scores = self.node("Mul", [self.node("MatMul", [q, k]), self.constant(np.float32(WIDTH**-0.5))])
        weights = self.node("Softmax", [self.node("Add", [scores, mask(y)])], axis=-1)
        y = self.linear(self.joined(self.node("MatMul", [weights, v]), LENGTH), f"{name}.o", HEADS * WIDTH, DEPTH)
        x = self.node("Add", [x, y])
        y = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.up", DEPTH, 2 * DEPTH)
        return self.node("Add", [x, self.linear(self.node("Relu", [y]), f"{name}.down", 2 * DEPTH, DEPTH)])

    def model(self, name, x, depth):
        """The model whose scores come from the mean of the rows of `x`."""
        y = self.linear(self.node("ReduceMean", [x], axes=[1], keepdims=0), "head", depth, CLASSES)
        info = lambda name, *dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *dims])
        graph = helper.make_graph(self.nodes, name, [info("x", LENGTH, DEPTH)], [info(y, CLASSES)], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def masked(name, seed, values):
    """A block with a causal mask of some number."""
    w = Writer(seed)
    mask = w.constant(np.where(causal, np.float32(values), np.float32(0)))
    return w.model(name, w.block("x", "first", lambda _: mask), DEPTH)


def computed(name, seed):
    """A mask that is computed from the rows, as the logarithm of a gate."""
    w = Writer(seed)

    def mask(y):
        gate = w.node("Sigmoid", [w.node("MatMul", [y, w.parameter("gate", DEPTH)])])
        return w.node("Unsqueeze", [w.node("Log", [gate]), w.ints(1, 2)])

    return w.model(name, w.block("x", "first", mask), DEPTH)


def queries(name, seed):
    """Trained queries, the same for every example, which look at the rows."""
    w = Writer(seed)
    k = w.heads(w.linear("x", "k", DEPTH, HEADS * WIDTH), [0, 2, 3, 1])
    v = w.heads(w.linear("x", "v", DEPTH, HEADS * WIDTH), [0, 2, 1, 3])
    q = w.parameter("queries", 1, HEADS, 3, WIDTH)
    y = w.node("MatMul", [w.node("Softmax", [w.node("MatMul", [q, k])]), v])
    return w.model(name, w.joined(y, 3), HEADS * WIDTH)


def gradients(model, x, y):
    """The loss of a batch and the gradients of all parameters, in FP64."""
    values = {i.name: peer.tensor(i, torch.float64).requires_grad_() for i in model.graph.initializer}
    loss = F.cross_entropy(cases.evaluate(model, {"x": x.double()}, peer.Run(17, torch.float64, True), dict(values)), y)
    loss.backward()
    return {name: value.grad.numpy().astype(np.float32) for name, value in values.items()}


def main():
    folder = pathlib.Path(__file__).parent / "written"
    folder.mkdir(exist_ok=True)
    for seed, (name, make) in enumerate({
        "attention-causal": lambda name, seed: masked(name, seed, -np.inf),
        "attention-least": lambda name, seed: masked(name, seed, LEAST),
        "attention-computed": computed,
        "attention-queries": queries,
    }.items()):
        model = make(name, seed)
        record, arrays = cases.numbers(model, seed, BATCH, tasks.classes(CLASSES))
        first = gradients(model, torch.from_numpy(arrays["x"][:BATCH]), torch.from_numpy(arrays["y"][:BATCH]))
        cases.write(folder, name, model, record, {**arrays, **{f"gradient/{name}": value for name, value in first.items()}})


if __name__ == "__main__":
    main()
