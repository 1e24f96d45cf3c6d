"""Losses and their gradients by PyTorch in double precision: writes losses.txt, which tests/losses.rs reads.

python losses.py (needs torch). A line holds the loss with its numbers, the shape of the network's result, the results, the targets, the
loss, and the gradient of the results; numbers of a list have commas between them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

SMOOTH = {"label_smoothing": 0.2}
WEIGHTS = {"weight": torch.tensor([0.5, 2.0, 1.25, 0.0], dtype=torch.float64)}


def text(numbers):
    return ",".join(repr(x) for x in torch.as_tensor(numbers, dtype=torch.float64).flatten().tolist())


def line(name, numbers, function, x, target):
    x = x.clone().requires_grad_()
    loss = function(x, target)
    (gradient,) = torch.autograd.grad(loss, x)
    shape = ",".join(map(str, x.shape))
    return " ".join([name, numbers or "-", shape, text(x.detach()), text(target), repr(loss.item()), text(gradient)])


def scores(shape):
    return torch.randn(shape, dtype=torch.float64) * 2


def cross_entropy(options, shape, labels, axis):
    """Scores whose classes lie along an axis; PyTorch wants them second."""
    numbers = [f"smoothing={options['label_smoothing']}"] if "label_smoothing" in options else []
    numbers += [f"weights={text(options['weight'])}"] if "weight" in options else []

    def loss(x, target):
        return F.cross_entropy(x.movedim(axis, 1), target, ignore_index=-100, **options)

    return line("cross-entropy", ";".join(numbers), loss, scores(shape), torch.tensor(labels))


def lines():
    example, token, pixel = [1, 0, 3, 2, 1], [[0, -100, 2], [1, 1, -100]], [[[0, 1], [-100, 2]], [[3, 1], [1, 0]]]
    for options in [{}, SMOOTH, WEIGHTS, SMOOTH | WEIGHTS]:
        yield cross_entropy(options, (5, 4), example, 1)
        yield cross_entropy(options, (2, 3, 4), token, 2)
        yield cross_entropy(options, (2, 4, 2, 2), pixel, 1)
    truth = torch.tensor([1, 0, 1, 0, 1, 0, 0.25, 1], dtype=torch.float64)
    extreme = torch.tensor([100, -100, -100, 100, 0, 0, 1.5, -20], dtype=torch.float64)
    for x, target in [(extreme, truth), (scores((4, 2)), truth.reshape(4, 2))]:
        yield line("bce", "", F.binary_cross_entropy_with_logits, x.reshape(-1, *target.shape[1:]), target)
    x, target = scores((3, 2)), scores((3, 2))
    target[0, 0] = x[0, 0]
    yield line("mse", "", F.mse_loss, x, target)
    yield line("l1", "", F.l1_loss, x, target)
    for delta in [1.0, 0.25, 3.0]:
        yield line("huber", f"delta={delta}", lambda x, y, delta=delta: F.huber_loss(x, y, delta=delta), x, target)
    yield line("mse", "", F.mse_loss, scores((2, 1, 3, 2)), scores((2, 1, 3, 2)))


torch.manual_seed(0)
Path(__file__).with_suffix(".txt").write_text("\n".join(lines()) + "\n")
