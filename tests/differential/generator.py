"""Random networks: every operator that is read, in its odd forms. A seed gives a network."""

import numpy as np

import choices  # noqa: F401: its forms
import composed  # noqa: F401: its forms
import elementwise
import known
import layers
import products  # noqa: F401: its forms
import recurrent  # noqa: F401: its forms
import shapes  # noqa: F401: its forms
import tasks
from forms import grow
from network import TOKENS, Network, Unfit

__all__ = ["generate", "Unfit"]


def generate(seed):
    """A model, what it is trained for, and the network that it is of, from a seed.

    Raises Unfit for the few seeds whose network blows up.
    """
    net = Network(seed)
    task = tasks.chosen(net)
    net.tensors.append(first(net))
    for _ in range(net.integer(3, 9)):
        source = net.tensors[-1] if net.chance(0.75) else net.pick(net.tensors)
        y = grow(net, source)
        if y not in net.tensors:
            net.tensors.append(y)
    scores = head(net) if task.get("of", "examples") == "examples" else tasks.scores(net, net.tensors[-1], task["of"])
    if net.chance(0.2):
        scores = net.attempt(net.pick([layers.batch_norm, elementwise.scaled]), scores) or scores
    if "class_axis" in task and np.prod(net.shape(scores)) == net.batch * net.classes:
        # A class for each example, all of which count.
        task.pop("ignored", None), task.pop("ignore_label", None)
    if task["loss"].startswith("output:"):
        scores = tasks.own_loss(net, scores, task["of"])
    return net.model(scores), task, net


def first(net):
    """The network's first input, or a tensor that is made of it: images, lines, rows of numbers, or rows of a table by whole numbers."""
    if net.has_inputs and net.chance(0.35):
        index = net.tokens([net.integer(4, 8)])
        return net.emit("Gather", [net.parameter([net.integer(TOKENS, 8), net.integer(2, 5)], 0.8), index])
    shape = net.pick([
        [net.integer(1, 3), net.integer(5, 9), net.integer(5, 9)], [3, 8, 8], [net.integer(1, 4), net.integer(6, 12)],
        [net.integer(4, 40 if net.wide else 12)],
    ])
    return net.input("x", [net.batch, *shape])


def head(net):
    """The class scores, from one or a few of the last tensors."""
    features = [flat(net, t) for t in {net.tensors[-1], *(net.pick(net.tensors) for _ in range(net.integer(0, 1)))}]
    x = features[0] if len(features) == 1 else net.emit("Concat", sorted(features), axis=1)
    if net.chance(0.3):
        x = net.attempt(net.pick([layers.gemm, layers.matmul, layers.batch_norm]), x) or x
    depth, way = net.shape(x)[1], net.integer(0, 3)
    w = lambda dims: net.parameter(dims, 1.2 / depth**0.5)
    if way == 0:
        return net.emit("MatMul", [x, w([depth, net.classes])])
    if way == 1:
        x = known.unsqueeze(net, x, [2, 3])
        return net.emit("Conv", [x, w([net.classes, depth, 1, 1]), net.parameter([net.classes], 0.2)])
    if way == 2:
        return net.emit("Add", [net.emit("MatMul", [x, w([depth, net.classes])]), net.parameter([net.classes], 0.2)])
    return net.emit("Gemm", [x, w([net.classes, depth]), net.parameter([net.classes], 0.2)], transB=1)


def flat(net, x):
    if net.rank(x) == 2:
        return x
    if net.chance(0.4):
        return net.emit("Flatten", [net.emit("GlobalAveragePool", [x])])
    if net.chance(0.3):
        return layers.reduced(net, "ReduceMean", x, list(range(2, net.rank(x))), 0)
    return net.emit("Flatten", [x])
