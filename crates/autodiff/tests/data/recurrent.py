#!/usr/bin/env python3
"""Writes `recurrent.txt`: recurrent layers with their results and gradients, by PyTorch in FP64, in the layout of ONNX.

    python -m venv .venv && .venv/bin/pip install torch numpy && .venv/bin/python recurrent.py

A case is a line `case NAME CELL DIRECTION ACTIVATION`, then a line for each tensor: name, shape, numbers. `y` and `dy` are the states
[S, T, D, N, H] that bitbudget's operator gives, and the gradient by them: of the output, and of the last states, at their steps.
"""
import pathlib

import numpy as np
import torch
from torch import nn

T, N, I, H = 4, 3, 3, 2
# PyTorch's gates are input, forget, cell, output, and reset, update, hidden.
ORDER = dict(LSTM=[0, 3, 1, 2], GRU=[1, 0, 2], RNN=[0])
lines = []
torch.manual_seed(3)


def numbers(*shape):
    return (torch.randn(*shape, dtype=torch.float64) * 1000).round() / 1000


def tensor(name, array):
    array = np.asarray(array.detach() if torch.is_tensor(array) else array)
    lines.append(f"{name} {','.join(map(str, array.shape))} {' '.join(f'{x:.12g}' for x in array.ravel())}")


def gates(kind, parts):
    """Weights of all directions [D, G*H, ...] in the order of ONNX."""
    turn = lambda x: torch.cat([x.chunk(len(ORDER[kind]))[gate] for gate in ORDER[kind]])
    return torch.stack([turn(part) for part in parts])


def case(kind, both_ways=False, states=False, lengths=None, nonlinearity="tanh"):
    options = dict(nonlinearity=nonlinearity) if kind == "RNN" else {}
    layer = getattr(nn, kind)(I, H, bidirectional=both_ways, dtype=torch.float64, **options)
    for parameter in layer.parameters():
        parameter.data = numbers(*parameter.shape) * 0.5
    x = numbers(T, N, I).requires_grad_()
    directions = 2 if both_ways else 1
    first = [numbers(directions, N, H).requires_grad_() for _ in range(2 if kind == "LSTM" else 1)] if states else []
    given = (tuple(first) if kind == "LSTM" else first[0]) if states else None
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False) if lengths else x
    y, last = layer(packed, given)
    if lengths:
        y, _ = nn.utils.rnn.pad_packed_sequence(y, total_length=T)
    last = list(last) if kind == "LSTM" else [last]
    dy, d_last = numbers(*y.shape), [numbers(*l.shape) for l in last]
    (sum((l * d).sum() for l, d in zip(last, d_last)) + (y * dy).sum()).backward()
    name = "_".join([kind.lower(), *(["both"] if both_ways else []), *(["states"] if states else []), *(["lengths"] if lengths else []), nonlinearity])
    lines.append(f"case {name} {kind.lower()} {'bidirectional' if both_ways else 'forward'} {nonlinearity}")
    suffixes = ["l0", "l0_reverse"][:directions]
    tensor("x", x)
    for what, start in (("w", "weight_ih"), ("r", "weight_hh")):
        all_ = [getattr(layer, f"{start}_{s}") for s in suffixes]
        tensor(what, gates(kind, all_))
        tensor(f"d{what}", gates(kind, [p.grad for p in all_]))
    biases = [[getattr(layer, f"{start}_{s}") for s in suffixes] for start in ("bias_ih", "bias_hh")]
    tensor("b", torch.cat([gates(kind, b) for b in biases], 1))
    tensor("db", torch.cat([gates(kind, [p.grad for p in b]) for b in biases], 1))
    tensor("dx", x.grad)
    if lengths:
        tensor("lengths", torch.tensor(lengths))
    for what, state in zip("hc", first):
        tensor(what, state)
        tensor(f"d{what}", state.grad)
    hidden = y.reshape(T, N, directions, H).permute(0, 2, 1, 3)
    tensor("y", hidden)
    for what, l in zip(("last", "last_cell"), last):
        tensor(what, l)
    d_states = torch.zeros(len(last), T, directions, N, H, dtype=torch.float64)
    d_states[0] = dy.reshape(T, N, directions, H).permute(0, 2, 1, 3)
    for example, length in enumerate(lengths or []):
        d_states[0, length:, :, example] = 0
    for kind_, d in enumerate(d_last):
        for direction in range(directions):
            d_states[kind_, 0 if direction else T - 1, direction] += d[direction]
    tensor("dy", d_states)


for kind in ORDER:
    case(kind)
    case(kind, both_ways=True, states=True)
    case(kind, states=True, both_ways=True, lengths=[4, 1, 3])
case("RNN", nonlinearity="relu", states=True)
(pathlib.Path(__file__).parent / "recurrent.txt").write_text("\n".join(lines) + "\n")
