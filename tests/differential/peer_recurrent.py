"""LSTM, GRU and RNN in PyTorch, step by step, from their definitions."""

import torch
import torch.nn.functional as F

from peer import operator

# Each takes as many of alpha and beta as it has.
FUNCTIONS = {
    "Sigmoid": (torch.sigmoid, []), "Tanh": (torch.tanh, []), "Relu": (torch.relu, []), "Softsign": (F.softsign, []), "Softplus": (F.softplus, []),
    "LeakyRelu": (lambda x, a: F.leaky_relu(x, a), [0.01]), "Elu": (lambda x, a: F.elu(x, a), [1.0]),
    "Affine": (lambda x, a, b: a * x + b, [1.0, 0.0]), "ScaledTanh": (lambda x, a, b: a * torch.tanh(b * x), [1.0, 1.0]),
    "HardSigmoid": (lambda x, a, b: torch.clamp(a * x + b, 0, 1), [0.2, 0.5]),
}
STANDARD = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def functions(op, attrs, directions):
    names = [name.decode() if isinstance(name, bytes) else name for name in attrs.get("activations", STANDARD[op] * directions)]
    given = [list(attrs.get("activation_alpha", [])), list(attrs.get("activation_beta", []))]
    made = []
    for name in names:
        function, defaults = FUNCTIONS[name]
        numbers = [given[i].pop(0) if given[i] else default for i, default in enumerate(defaults)]
        made.append(lambda x, function=function, numbers=numbers: function(x, *numbers))
    return made


@operator("LSTM", "GRU", "RNN")
def recurrent(run, node, attrs, x, w, r, b=None, lengths=None, first=None, first_cell=None, p=None):
    op, hidden = node.op_type, r.shape[2]
    if attrs.get("layout", 0):
        x = x.transpose(0, 1)
        first, first_cell = (state if state is None else state.transpose(0, 1) for state in (first, first_cell))
    directions, (steps, batch, _) = w.shape[0], x.shape
    names, clip = functions(op, attrs, directions), attrs.get("clip", 0)
    each = len(names) // directions
    all_states, last, last_cells = [], [], []
    for d in range(directions):
        gate = [lambda v, f=f: f(torch.clamp(v, -clip, clip) if clip else v) for f in names[d * each:(d + 1) * each]]
        bias = torch.zeros(2, w.shape[1], dtype=x.dtype) if b is None else b[d].reshape(2, -1)
        h = torch.zeros(batch, hidden, dtype=x.dtype) if first is None else first[d]
        c = torch.zeros(batch, hidden, dtype=x.dtype) if first_cell is None else first_cell[d]
        peepholes = torch.zeros(3, hidden, dtype=x.dtype) if p is None else p[d].reshape(3, -1)
        states = [None] * steps
        reverse = d == 1 or attrs.get("direction", "forward") == "reverse"
        for t in reversed(range(steps)) if reverse else range(steps):
            before = h, c
            of_x, of_h = x[t] @ w[d].T + bias[0], h @ r[d].T + bias[1]
            if op == "RNN":
                h = gate[0](of_x + of_h)
            elif op == "GRU":
                (xz, xr, xn), (hz, hr, hn) = of_x.chunk(3, 1), of_h.chunk(3, 1)
                z, reset = gate[0](xz + hz), gate[0](xr + hr)
                if not attrs.get("linear_before_reset", 0):
                    hn = (reset * h) @ r[d, 2 * hidden:].T + bias[1, 2 * hidden:]
                else:
                    hn = reset * hn
                h = (1 - z) * gate[1](xn + hn) + z * h
            else:
                i, o, f, g = (of_x + of_h).chunk(4, 1)
                i = gate[0](i + peepholes[0] * c)
                f = 1 - i if attrs.get("input_forget", 0) else gate[0](f + peepholes[2] * c)
                c = f * c + i * gate[1](g)
                h = gate[0](o + peepholes[1] * c) * names[d * each + 2](c)
            states[t] = h
            if lengths is not None:
                # An example that has ended keeps its states, and gives zeros.
                goes_on = (t < lengths)[:, None]
                states[t] = torch.where(goes_on, h, torch.zeros_like(h))
                h, c = (torch.where(goes_on, new, old) for new, old in zip((h, c), before))
        all_states.append(torch.stack(states))
        last.append(h)
        last_cells.append(c)
    y, last, last_cells = torch.stack(all_states, 1), torch.stack(last), torch.stack(last_cells)
    if attrs.get("layout", 0):
        y, last, last_cells = y.permute(2, 0, 1, 3), last.transpose(0, 1), last_cells.transpose(0, 1)
    return (y, last, last_cells)[: len(node.output)]
