"""The table of forms: each takes a network and a tensor whose first dimension is the batch, and returns a new such tensor."""

from collections import namedtuple

Form = namedtuple("Form", "function ranks weight since")
FORMS = []


def form(ranks=(2, 3, 4), weight=1.0, since=7):
    """Registers a form for tensors of some numbers of dimensions, from an operator set on."""

    def register(function):
        FORMS.append(Form(function, ranks, weight, since))
        return function

    return register


def grow(net, x):
    """The result of a random form on `x`; `x` itself if none of a few fits."""
    fitting = [f for f in FORMS if net.rank(x) in f.ranks and f.since <= net.opset]
    weights = [f.weight for f in fitting]
    for _ in range(6):
        chosen = fitting[net.random.choice(len(fitting), p=[w / sum(weights) for w in weights])]
        y = net.attempt(chosen.function, x)
        if y is not None and y != x and net.shape(y)[0] == net.batch and net.rank(y) in (2, 3, 4):
            return y
    return x
