"""Random networks: every operator that is read, in its odd forms. A seed gives a network."""

import composed  # noqa: F401: its forms
import elementwise
import known
import layers
import products  # noqa: F401: its forms
import recurrent  # noqa: F401: its forms
import shapes  # noqa: F401: its forms
from forms import grow
from network import Network, Unfit

__all__ = ["generate", "Unfit"]


def generate(seed):
    """A model and the network that it is of, from a seed.

    Raises Unfit for the few seeds whose network blows up.
    """
    net = Network(seed)
    x = image(net)
    net.tensors.append(x)
    for _ in range(net.integer(3, 9)):
        source = net.tensors[-1] if net.chance(0.75) else net.pick(net.tensors)
        y = grow(net, source)
        if y not in net.tensors:
            net.tensors.append(y)
    scores = head(net)
    if net.chance(0.2):
        scores = net.attempt(net.pick([layers.batch_norm, elementwise.scaled]), scores) or scores
    return net.model(x, scores), net


def image(net):
    """The network's input: images, lines, or rows of numbers."""
    shape = net.pick([
        [net.integer(1, 3), net.integer(5, 9), net.integer(5, 9)], [3, 8, 8], [net.integer(1, 4), net.integer(6, 12)],
        [net.integer(4, 40 if net.wide else 12)],
    ])
    return net.input([net.batch, *shape])


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
