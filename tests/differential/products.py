"""Forms of products of two computed tensors, of vectors, and of weights with leading dimensions; attention; Einsum."""

import numpy as np

import elementwise
import known
from forms import form
from layers import weight


def swapped(net, x):
    """The last two dimensions swapped."""
    rank = net.rank(x)
    return net.emit("Transpose", [x], perm=[*range(rank - 2), rank - 1, rank - 2])


def other(net, x):
    """A tensor of the shape of `x`, `x` itself among them."""
    found = [t for t in net.tensors if net.shape(t) == net.shape(x)] or [x]
    y = net.pick(found)
    return net.attempt(elementwise.activation, y) or y if net.chance(0.5) else y


def scaled(net, x, by):
    way = net.integer(0, 2)
    if way == 0:
        return net.emit("Div", [x, net.number(1 / by)])
    return net.emit("Mul", [x, net.number(by)] if way == 1 else [net.number(by), x])


@form(ranks=(3, 4), weight=1.5)
def gram(net, x):
    """Products of rows with rows, or of columns with columns."""
    y = other(net, x)
    pair = [x, swapped(net, y)] if net.chance(0.5) else [swapped(net, y), x]
    y = net.emit("MatMul", pair)
    depth = net.shape(pair[0])[-1]
    y = scaled(net, y, depth**-0.5)
    if net.chance(0.3):
        y = net.emit("Add", [y, net.parameter([net.shape(y)[-1]], 0.2)])
    return y


@form(ranks=(3, 4), weight=1)
def leading(net, x):
    """A product with a weight that has leading dimensions, of its own or those of the tensor."""
    *before, rows, depth = net.shape(x)
    width = net.integer(1, 5)
    if net.rank(x) == 3:
        x = known.unsqueeze(net, x, [1])
        heads = net.integer(1, 3)
    else:
        heads = net.pick([before[-1], 1])
    if net.chance(0.3):
        return net.emit("MatMul", [net.parameter([heads, width, rows], 1.2 / np.sqrt(rows)), x])
    w = net.parameter([*([1] if net.chance(0.2) else []), heads, depth, width], 1.2 / np.sqrt(depth))
    return net.emit("MatMul", [x, w])


@form(ranks=(3, 4), weight=1)
def vector(net, x):
    """A product with a vector, from either side."""
    *_, rows, depth = net.shape(x)
    if net.chance(0.5):
        return net.emit("MatMul", [x, net.parameter([depth], 1.2 / np.sqrt(depth))])
    return net.emit("MatMul", [net.parameter([rows], 1.2 / np.sqrt(rows)), x])


@form(ranks=(3,), weight=3)
def attention(net, x):
    """Attention by hand, of one or a few heads, with or without a mask that is known, trained or computed."""
    batch, length, depth = net.shape(x)
    heads, width = net.integer(1, 3), net.integer(1, 4)

    def part(last):
        y = net.emit("MatMul", [x, weight(net, [depth, heads * width])])
        if net.chance(0.5):
            y = net.emit("Add", [y, net.parameter([heads * width], 0.2)])
        if heads == 1 and net.chance(0.5):
            return swapped(net, y) if last else y
        y = known.reshape(net, y, [batch, length, heads, width])
        if last and net.chance(0.5):
            return net.emit("Transpose", [y], perm=[0, 2, 3, 1])
        y = net.emit("Transpose", [y], perm=[0, 2, 1, 3])
        return swapped(net, y) if last else y

    q, k, v = part(False), part(True), part(False)
    if net.rank(q) != net.rank(k) or net.rank(q) != net.rank(v):
        q, k, v = (t if net.rank(t) == 4 else known.unsqueeze(net, t, [1]) for t in (q, k, v))
    scores = scaled(net, net.emit("MatMul", [q, k]), width**-0.5)
    way = net.integer(0, 3)
    if way == 0:
        causal = np.triu(np.full([length, length], net.pick([-1e9, -10.0, -np.inf]), np.float32), 1)
        mask = net.constant(causal if net.chance(0.5) else causal[None])
        scores = net.attempt(lambda net, scores: net.emit("Add", [scores, mask]), scores) or scores
    elif way == 1:
        scores = net.emit("Add", [scores, net.parameter([length, length], 0.5)])
    elif way == 2:
        mean = net.emit("MatMul", [x, net.parameter([depth], 1.0 / np.sqrt(depth))])
        scores = net.emit("Add", [scores, known.unsqueeze(net, mean, [1, 2] if net.rank(scores) == 4 else [1])])
    last = net.rank(scores) - 1
    attributes = {} if net.opset >= 13 and net.chance(0.3) else {"axis": last if net.opset < 11 or net.chance(0.5) else -1}
    y = net.emit("MatMul", [net.emit("Softmax", [scores], **attributes), v])
    if net.rank(y) == 4:
        y = net.emit("Transpose", [y], perm=[0, 2, 1, 3])
        y = known.reshape(net, y, [batch, length, net.shape(y)[2] * net.shape(y)[3]])
    if net.shape(y) == net.shape(x) and net.chance(0.5):
        y = net.emit("Add", [x, y])
    return y


@form(ranks=(3, 4), weight=2, since=23)
def attention_node(net, x):
    """ONNX's Attention, of some tensor on itself or on others."""
    attributes, parts = {}, [x, other(net, x), other(net, x)]
    if net.rank(x) == 3:
        batch, length, depth = net.shape(x)
        heads, width = net.pick([(1, 1), (2, 2), (2, 1), (3, 1)]), net.integer(1, 4)
        wide = [heads[0], heads[1], heads[1]]
        parts = [net.emit("MatMul", [part, weight(net, [depth, count * width])]) for part, count in zip(parts, wide)]
        attributes |= {"q_num_heads": heads[0], "kv_num_heads": heads[1]}
    queries = keys = net.shape(x)[-2]
    if net.chance(0.3):
        attributes["scale"] = net.pick([0.25, 0.7])
    if net.chance(0.3):
        attributes["softcap"] = net.pick([1.0, 3.0])
    if net.chance(0.3):
        attributes["is_causal"] = 1
    if net.opset >= 25 and net.chance(0.3):
        attributes[net.pick(["left_window_size", "right_window_size"])] = net.integer(0, 3)
    if net.chance(0.4):
        parts.append(net.parameter(net.pick([[queries, keys], [1, 1, queries, keys], [keys]]), 0.5))
    return net.emit("Attention", parts, **attributes)


@form(weight=1, since=12)
def einsum(net, x):
    rank = net.rank(x)
    shape = net.shape(x)
    letters = "nijk"[:rank]
    last = letters[-1]
    way = net.integer(0, 6)
    if way == 0:
        order = "n" + "".join(net.random.permutation(list(letters[1:])))
        return net.emit("Einsum", [x], equation=f"{letters}->{order}")
    if way == 1:
        kept = "n" + "".join(letter for letter in letters[1:-1])
        y = net.emit("Einsum", [x], equation=f"{letters}->{kept}" if rank > 2 else "...->...")
        return scaled(net, y, 0.5)
    if way == 2 and rank > 2:
        y = net.emit("Einsum", [x, other(net, x)], equation=f"{letters},{letters[:-2]}z{last}->{letters[:-2]}z{letters[-2]}")
        return scaled(net, y, shape[-1]**-0.5)
    if way == 3:
        w = net.parameter([shape[-1], net.integer(1, 4)], 1.2 / np.sqrt(shape[-1]))
        return net.emit("Einsum", [x, w], equation=net.pick([f"{letters},{last}z->{letters[:-1]}z", f"...{last},{last}z"]))
    if way == 4:
        return net.emit("Einsum", [x, net.parameter([shape[-1]], 0.8)], equation=f"{letters}, {last} -> {letters}")
    if way == 5 and rank < 4:
        return net.emit("Einsum", [x, net.parameter([net.integer(1, 3)], 0.8)], equation=f"{letters},z->{letters[0]}z{letters[1:]}")
    w = net.parameter([shape[1], shape[-1]], 0.8) if rank > 2 else net.parameter([shape[-1]], 0.8)
    return net.emit("Einsum", [x, other(net, x), w], equation=f"{letters},{letters},{'i' if rank > 2 else ''}{last}->{letters}")
